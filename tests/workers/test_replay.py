"""An analysis made again from what was kept: the same comes out, and whatever was changed since is named."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from clinic.audit import immutable
from clinic.audit.models import Action, AuditEvent
from clinic.cases import files
from clinic.cases.models import Analysis, Assessment, Finding, StudyItem
from clinic.cases.reports import draft_report, sign
from clinic.registry.services import sync_bundles
from genomics import synthetic
from ml import synthetic as drawn
from tests.factories import PASSWORD, member
from workers.replay import differing, near, told

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


@pytest.fixture
def analysis(tmp_path, capsys):
    """A real one: labs by the shipped model, fused by the shipped fusion."""
    sync_bundles()
    synthetic.write_labs(tmp_path / "labs.csv", "ALL", 1)
    call_command("assess", "--labs", str(tmp_path / "labs.csv"), "--json")
    immutable.remove(connection)
    return Analysis.objects.get(pk=json.loads(capsys.readouterr().out)["analysis"])


def again(analysis, capsys):
    status = 0
    try:
        call_command("replay", str(analysis.pk), "--json")
    except SystemExit as error:
        status = error.code
    return status, json.loads(capsys.readouterr().out)


def test_the_same_comes_out_and_the_log_alone_says_of_what(analysis, capsys):
    doctor = member(analysis.case.patient.site, "clinician", username="reviewer")
    sign(report=draft_report(assessment=analysis.assessment, by=doctor), by=doctor, password=PASSWORD, decision="agree")
    status, said = again(analysis, capsys)
    assert (status, said["same"], said["differences"]) == (0, True, [])
    item = StudyItem.objects.get()
    log = told(str(analysis.pk))
    assert log.items == {str(item.pk): item.sha256}
    assert log.bundles == analysis.bundles
    assert log.assessment == analysis.assessment.digest
    assert [(review["reviewer"], review["decision"]) for review in log.reviews] == [
        (f"{doctor.get_full_name()} (reviewer)", "agree")
    ]
    assert json.loads(AuditEvent.objects.get(action=Action.ANALYSIS_REPLAY).body)["detail"]["same"]


def test_images_cells_and_expression_come_out_the_same_too(tmp_path, capsys):
    sync_bundles()
    fields = drawn.write_case(tmp_path / "fields", "Pre-B", 2, 1)
    cell = drawn.write_cell(tmp_path / "cell.png", "Blast", 1)
    table = synthetic.write_expression(tmp_path / "counts.tsv", "T-ALL", 1)
    labs = synthetic.write_labs(tmp_path / "labs.csv", "ALL", 1)
    said = ["--image", *map(str, fields), "--cell", str(cell), "--expression", str(table), "--labs", str(labs)]
    call_command("assess", *said, "--json")
    made = Analysis.objects.get(pk=json.loads(capsys.readouterr().out)["analysis"])
    assert set(made.findings.values_list("modality", flat=True)) == {"smear_field", "smear_cell", "expression", "labs"}
    status, found = again(made, capsys)
    assert (status, found["same"], found["differences"]) == (0, True, [])
    assert len(told(str(made.pk)).items) == 5


def test_a_changed_assessment_is_named(analysis, capsys):
    body = analysis.assessment.body
    Assessment.objects.update(body=body | {"reasons": [{"code": "x", "message": "forged"}]})
    status, said = again(analysis, capsys)
    assert (status, said["differences"]) == (1, ["assessment: what is stored is not what the log says came out"])


def test_a_changed_finding_is_named(analysis, capsys):
    row = Finding.objects.get()
    Finding.objects.update(body=row.body | {"in_scope": 0.123})
    assert again(analysis, capsys)[1]["differences"] == ["labs: what is stored is not what the log says came out"]


def test_changed_bytes_are_named(analysis, capsys):
    item = StudyItem.objects.get()
    other = files.store_bytes(b"hb_g_l,wbc_10e9_l\n80,12\n")
    files.place_of(item.sha256).write_bytes(files.place_of(other).read_bytes())
    status, said = again(analysis, capsys)
    assert status == 1
    assert str(item.pk) in said["differences"][0]


def test_other_options_of_reading_make_another_finding_and_the_place_is_named(analysis, capsys, monkeypatch):
    monkeypatch.setattr(
        "workers.analysis._with_leftovers", lambda finding, *_: type(finding)(**{**vars(finding), "in_scope": 0.5})
    )
    status, said = again(analysis, capsys)
    assert status == 1
    assert any(line.startswith("labs.in_scope: 0.5 instead of ") for line in said["differences"])


def test_an_analysis_that_there_is_not_is_said_so(analysis):
    with pytest.raises(CommandError, match="There is no analysis"):
        call_command("replay", "00000000-0000-4000-8000-000000000000")


def test_differences_are_leaves_and_rounding_is_told_apart():
    one, other = {"a": [1.0, {"b": "x"}], "c": 1}, {"a": [1.0 + 1e-9, {"b": "y"}], "d": 2}
    assert [place for place, *_ in differing(one, other)] == [".a[0]", ".a[1].b", ".c", ".d"]
    assert near(1.0, 1.0 + 1e-9)
    assert not near(1.0, 1.1)
    assert not near("x", "y")
