"""What the worker knows beside the file: the record's sex, and the site's own recalibration of labs."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict

import pytest

from clinic.cases import files, services
from clinic.cases.models import ItemStatus
from clinic.patients.services import register_patient
from genomics import labs
from genomics.labs.site import NAME, VERSION
from ml.bundle import find_bundle, load_bundle, seal_bundle
from workers.labs_site import UNFIT, recalibration, used_by, with_flag
from workers.tasks import _options

pytestmark = pytest.mark.django_db
PANEL = "age,sex,WBC_G_L,Platelets_G_L,LDH_UI_L,Fibrinogen_g_L\n40,,30,40,700,3\n"


@pytest.fixture
def case(site, clinician):
    patient = register_patient(site=site, mrn="S-1", name="Site", sex="female", by=clinician)
    return services.open_case(patient=patient, by=clinician)


@pytest.fixture
def item(case, clinician, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        item = services.receive_item(
            case=case, file=[PANEL.encode()], filename="labs.csv", kind="labs", options={}, by=clinician
        )
    item.refresh_from_db()
    assert item.status == ItemStatus.VALID, item.rejection
    return item


def recalibrated(folder, bundle, cases=40):
    """A recalibration of ``bundle`` as the command writes it, without its pictures."""
    folder.mkdir(parents=True)
    learned = {"temperature": 1.5, "bias": {"ALL": 0.4, "AML": -0.2, "APL": -0.2}}
    manifest = {
        "name": NAME,
        "version": VERSION,
        "recalibrates": {"reference": bundle.reference, "sha256": bundle.sha256},
        "calibration": learned | {"prior": {"ALL": 0.5, "AML": 0.4, "APL": 0.1}},
        "cases": {"n": cases},
    }
    return seal_bundle(folder, manifest)


@pytest.mark.parametrize("kind", ["labs", "expression"])
def test_the_reader_is_told_the_records_sex(item, kind):
    item.kind = kind
    assert _options(item)["sex"] == "female"
    item.kind = "smear_field"
    assert "sex" not in _options(item)


class TestRecalibration:
    @pytest.fixture
    def bundle(self):
        return load_bundle(find_bundle("labs"))

    @pytest.fixture(autouse=True)
    def folder(self, settings, tmp_path):
        settings.LABS_SITES = tmp_path / "sites"
        return settings.LABS_SITES

    def test_a_site_without_one_gets_the_shipped_answer(self, item, site, bundle):
        assert recalibration(site, bundle) == ({}, None)

    def test_a_site_with_one_gets_its_own_which_the_finding_names(self, item, site, bundle, folder):
        kept = recalibrated(folder / site.code, bundle)
        told, flag = recalibration(site, bundle)
        assert flag is None
        with files.plain_canonical(item) as made:
            panels = labs.load_canonical(made)
        own, shipped = labs.predict(panels, bundle, **told), labs.predict(panels, bundle)
        assert own.probabilities != shipped.probabilities
        assert own.training_share == {"ALL": 0.5, "AML": 0.4, "APL": 0.1}
        assert own.explanation["site"]["reference"] == f"{kept.reference}#{kept.sha256}"

    def test_one_of_another_bundle_is_not_used_and_the_finding_says_so(self, item, site, bundle, folder):
        recalibrated(folder / site.code, load_bundle(find_bundle("expression")))
        told, flag = recalibration(site, bundle)
        assert told == {}
        with files.plain_canonical(item) as made:
            finding = with_flag(labs.predict(labs.load_canonical(made), bundle), flag)
        assert UNFIT in [quality.code for quality in finding.quality]
        assert site.code in finding.quality[-1].message

    def test_one_that_was_changed_is_not_used(self, site, bundle, folder):
        recalibrated(folder / site.code, bundle)
        manifest = folder / site.code / "bundle.json"
        (folder / site.code / "more.txt").write_text("x")
        told, flag = recalibration(site, bundle)
        assert told == {}
        assert flag.code == UNFIT
        assert json.loads(manifest.read_text())["cases"]["n"] == 40

    def test_what_has_spoken_is_kept_and_speaks_again_after_the_site_has_another(self, item, site, bundle, folder):
        recalibrated(folder / site.code, bundle)
        first = recalibration(site, bundle)[0]["site"]
        with files.plain_canonical(item) as made:
            named = used_by(asdict(labs.predict(labs.load_canonical(made), bundle, site=first)))
        shutil.rmtree(folder / site.code)
        recalibrated(folder / site.code, bundle, cases=90)
        assert recalibration(site, bundle)[0]["site"].cases == 90
        assert recalibration(site, bundle, named)[0]["site"] == first
        assert recalibration(site, bundle, "") == ({}, None)
        assert recalibration(site, bundle, "labs-site@1.0.0#" + "0" * 64)[1].code == UNFIT


def test_an_analysis_uses_it(item, site, settings, tmp_path, monkeypatch):
    from workers import analysis

    bundle, saved = load_bundle(find_bundle("labs")), {}
    settings.LABS_SITES = tmp_path / "sites"
    recalibrated(settings.LABS_SITES / site.code, bundle)
    monkeypatch.setattr(analysis, "bundle_of", lambda sha256: bundle)
    monkeypatch.setattr(analysis.runs, "renew", lambda *a, **k: None)
    monkeypatch.setattr(analysis.runs, "save_finding", lambda run, body, artefacts: saved.update(body))
    run = type("Run", (), {"bundles": {"labs": bundle.sha256}, "case": item.case})()
    analysis._find(run, "labs", [item])
    assert saved["explanation"]["site"]["cases"] == 40
