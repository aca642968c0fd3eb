"""A site's recalibration: few cases change little, what does not help is not adopted, and it is bound to its bundle."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import softmax

from genomics import __main__ as cli
from genomics import labs
from genomics.labs import recalibrate as made
from genomics.labs.features import CLASSES
from genomics.labs.site import UNCHANGED, Site, learn, read_site
from genomics.synthetic import write_labs
from ml.bundle import BundleError
from ml.calibration import log_loss
from ml.findings import InputRejected
from tests.genomics.make import bundle, read_labs, wide, write

EVEN = np.full(3, 1 / 3)


def cases(n, shares, seed=0, sharp=1.0, lean=(0.0, 0.0, 0.0)):
    """Probabilities (equal priors) and truths of a site with these class shares, whose log-odds are ``sharp`` times as
    large and lean as they should not.
    """
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=shares)
    logits = rng.normal(0, 1, (n, 3)) + 2.0 * np.eye(3)[y]
    return softmax(2.0 * sharp * logits / 1.0 + np.array(lean), axis=1), y


class TestLearning:
    def test_what_was_wrong_is_found_and_undone(self):
        p, y = cases(400, (0.2, 0.7, 0.1), sharp=3.0, lean=(1.5, 0.0, -1.5))
        site, (new, truth) = learn(p, y), cases(4000, (0.2, 0.7, 0.1), 1, sharp=3.0, lean=(1.5, 0.0, -1.5))
        assert log_loss(site.apply(new), truth) < 0.6 * log_loss(new, truth)
        assert site.temperature > 1.5
        assert site.bias[0] < 0 < site.bias[2]
        assert site.prior == pytest.approx((0.2, 0.7, 0.1), abs=0.06)
        assert sum(site.prior) == pytest.approx(1)

    def test_few_cases_change_little_and_none_changes_nothing(self):
        p, y = cases(400, (0.2, 0.7, 0.1), sharp=3.0)
        changes = [abs(np.log(learn(p[:n], y[:n], picked=True).temperature)) for n in (2, 20, 400)]
        assert changes[0] < changes[1] < changes[2]
        assert learn(p[:0], y[:0]).apply(p) == pytest.approx(p)
        assert UNCHANGED.apply(p) == pytest.approx(p)

    def test_no_class_is_ever_ruled_out(self):
        p, y = cases(60, (0.5, 0.5, 0.0))
        assert min(learn(p, y).prior) > 0.02

    def test_the_shares_of_picked_cases_say_nothing(self):
        p, y = cases(200, (0.1, 0.8, 0.1))
        assert learn(p, y, picked=True).prior == pytest.approx(tuple(EVEN))
        assert learn(p, y).prior[1] > 0.7


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """36 synthetic panels with their labels, two thirds of them AML."""
    folder, rows = tmp_path_factory.mktemp("labelled"), []
    for label in ("ALL", "AML", "AML", "AML", "AML", "APL"):
        for seed in range(6):
            frame = pd.read_csv(write_labs(folder / "one.csv", label, 10 * len(rows) + seed), comment="#")
            rows.append({"Response": label, **{f"{r.code} [{r.unit}]": r.value for r in frame.itertuples()}})
    pd.DataFrame(rows).to_csv(folder / "local.csv", index=False)
    return folder / "local.csv"


@pytest.fixture(scope="module")
def site_folder(labelled):
    out = labelled.parent / "site"
    made.recalibrate(bundle("labs"), labelled, out)
    return out


class TestCommand:
    def test_it_writes_a_small_hashed_bundle_and_two_pictures(self, site_folder):
        site = read_site(site_folder, bundle("labs"))
        said = json.loads((site_folder / "bundle.json").read_text("utf-8"))
        assert set(said["files"]) == {"card.md", "before.png", "after.png"}
        assert said["cases"]["n"] + said["cases"]["out_of_scope"] == 36
        assert said["adopted"] == (said["gain_in_log_loss"]["value"] > 0)
        assert site.cases == said["cases"]["n"]
        drawn = [io.BytesIO((site_folder / name).read_bytes()) for name in ("before.png", "after.png")]
        assert all(Image.open(picture).size[0] > 100 for picture in drawn)
        card = (site_folder / "card.md").read_text("utf-8")
        assert all(word in card for word in ("cross-validated", "Gain in log-loss", "research use", "consecutive"))

    def test_predict_uses_it(self, site_folder, tmp_path, capsys):
        panel = write_labs(tmp_path / "a.csv", "ALL", 3)
        answers = []
        for more in ([], ["--site", str(site_folder)]):
            assert cli.main(["predict", "labs", str(panel), "--json", *more]) == 0
            answers.append(json.loads(capsys.readouterr().out)["probabilities"])
        site = read_site(site_folder, bundle("labs"))
        expected = site.apply(np.array([[answers[0][name] for name in CLASSES]]))[0]
        assert list(answers[1].values()) == pytest.approx(expected, abs=1e-9)

    def test_contributions_still_add_up_and_the_evidence_is_relative_to_the_site(self, site_folder, tmp_path):
        site = read_site(site_folder, bundle("labs"))
        _, read = read_labs(write_labs(tmp_path / "a.csv", "APL", 1), tmp_path)
        finding = labs.predict(read, bundle("labs"), site=site)
        said, p = finding.explanation, finding.probabilities
        assert sum(r["contribution"] for r in said["labs"]) + said["intercept"] == pytest.approx(said["log_odds"])
        assert np.log(p[said["answer"]] / p[said["against"]]) == pytest.approx(said["log_odds"], abs=1e-6)
        assert finding.training_share == site.shares()
        assert said["site"]["reference"].startswith("labs-site@")

    def test_a_changed_or_foreign_recalibration_is_refused(self, site_folder, tmp_path):
        copy = tmp_path / "copy"
        copy.mkdir()
        for file in site_folder.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        (copy / "card.md").write_text("better", "utf-8")
        with pytest.raises(BundleError, match="SHA-256"):
            read_site(copy, bundle("labs"))
        with pytest.raises(InputRejected, match="no recalibration"):
            read_site(bundle("labs").path, bundle("labs"))
        with pytest.raises(BundleError):
            read_site(tmp_path / "gone", bundle("labs"))

    @pytest.mark.parametrize(
        ("keep", "code"),
        [(lambda frame: frame.head(12), "too_few_cases"), (lambda frame: frame[frame.Response == "AML"], "one_class")],
    )
    def test_too_little_to_learn_from(self, labelled, tmp_path, keep, code):
        keep(pd.read_csv(labelled)).to_csv(tmp_path / "few.csv", index=False)
        with pytest.raises(InputRejected) as caught:
            made.read_cases(bundle("labs"), tmp_path / "few.csv")
        assert caught.value.code == code
        assert "few.csv" in caught.value.place

    def test_it_never_writes_over_anything(self, labelled, site_folder, capsys):
        assert cli.main(["recalibrate", "labs", "--data", str(labelled), "--out", str(site_folder)]) == 2
        assert "holds files" in capsys.readouterr().err

    def test_it_is_of_labs_alone(self, site_folder, tmp_path, capsys):
        source = write(tmp_path / "a.csv", wide({"a": 1}))
        assert cli.main(["predict", "expression", str(source), "--site", str(site_folder)]) == 2
        assert "Only labs" in capsys.readouterr().err


def test_what_does_not_help_is_not_adopted(monkeypatch, labelled, tmp_path):
    monkeypatch.setattr(made, "learn", lambda *_, **__: Site(0.2, (3.0, -3.0, 0.0), (0.98, 0.01, 0.01), 36))
    kept = made.recalibrate(bundle("labs"), labelled, tmp_path / "site")
    assert not kept.manifest["adopted"]
    site = read_site(tmp_path / "site", bundle("labs"))
    assert (site.temperature, site.bias, site.cases) == (1.0, (0.0, 0.0, 0.0), kept.manifest["cases"]["n"])
    assert "Not adopted" in (tmp_path / "site" / "card.md").read_text("utf-8")
