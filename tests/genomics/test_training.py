"""Training: what it writes, and that what it writes can be loaded. The cohorts here are made up and small."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genomics import __main__ as cli
from genomics.expression.genes import load_genes
from genomics.expression.heads import ROLES, similarity
from genomics.expression.reader import ExpressionTable
from genomics.expression.train import Samples as Cohorts
from genomics.expression.train import class_statistics, fit_head, fit_scope, logits, shuffled
from genomics.labs import fitting, judge
from genomics.labs import train as labs_train
from genomics.labs.features import BASE, CLASSES
from ml.bundle import load_bundle


@pytest.fixture
def data(tmp_path):
    """A labs folder with 60 made-up patients whose class is plain from their white cells and platelets."""
    rng = np.random.default_rng(0)
    y = np.repeat(CLASSES, 20)
    frame = pd.DataFrame({labs_train.COLUMNS[key]: rng.lognormal(3, 0.2, 60) for key in BASE})
    frame["WBC_G_L"] *= np.repeat([1.0, 4.0, 0.2], 20)
    frame["Platelets_G_L"] *= np.repeat([1.0, 4.0, 0.2], 20)
    frame["Response"], frame["centre"] = y, np.where(np.arange(60) % 2, "north", "south")
    frame.loc[3, "Lymphocytes_percent"] = 130.0
    (tmp_path / "labs").mkdir()
    frame.to_csv(tmp_path / "labs" / labs_train.FILE, index=False)
    return tmp_path


@pytest.mark.usefixtures("few_rounds")
def test_labs_are_trained_from_the_command_line(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fitting, "TREES", {"full": 15, "sparse": 15})
    monkeypatch.setattr(judge, "ROUNDS", 5)
    words = ["train", "labs", "--data", str(data), "--out", str(tmp_path / "out"), "--oof", str(tmp_path / "oof")]
    assert cli.main(words) == 0
    assert "# labs" in capsys.readouterr().out
    bundle = load_bundle(tmp_path / "out" / "labs" / labs_train.VERSION)
    assert bundle.manifest["metrics"]["5-fold"]["figures"]["accuracy"]["value"] > 0.8
    assert bundle.manifest["thresholds"]["low_scope"] == 0.5
    assert {"other centre", "other centre, 40 local cases", "few values"} <= set(bundle.manifest["metrics"])
    assert list(bundle.training_share.values()) == pytest.approx([1 / 3] * 3)
    assert "Surest answers first" in (bundle.path / "card.md").read_text("utf-8")
    held = pd.read_csv(tmp_path / "oof" / "labs.csv")
    assert list(held.columns) == ["id", "group", "cohort", "y", "in_scope", *(f"p:{name}" for name in CLASSES)]
    assert len(held) == 60
    assert held[[f"p:{name}" for name in CLASSES]].sum(axis=1).to_numpy() == pytest.approx(np.ones(60))
    assert not (tmp_path / "oof" / "pairs.csv").exists()


def test_an_impossible_share_is_missing_and_never_wbc_is_taken_away(data):
    labs = labs_train.load_labs(data)
    assert np.isnan(labs.X[3, BASE.index("lymphocytes_percent")])
    X, y = labs_train.thinned(labs.X, labs.y, np.random.default_rng(0))
    assert len(X) == len(y) == 60 * (labs_train.COPIES + 1)
    assert np.isfinite(X[:, BASE.index("wbc")]).all()
    assert 0.2 < np.isnan(X[60:]).mean() < 0.8


def test_the_cut_off_counts_one_more_wrong_than_was_seen():
    sure = np.array([0.99] * 30 + [0.6] * 30)
    p = np.column_stack([sure, 1 - sure, np.zeros(60)])
    y = np.array([0] * 30 + [0, 1] * 15)
    assert fitting.least_sure(p, y) == 0.99
    assert fitting.least_sure(p[:15], y[:15]) == 2.0
    assert fitting.least_sure(p, np.ones(60, int)) == 2.0


def test_rare_classes_weigh_as_much_as_common_ones():
    y = np.array([0] * 8 + [1] * 2 + [2] * 2)
    weights = fitting.even_weights(y)
    assert [weights[y == k].sum() for k in range(3)] == pytest.approx([4, 4, 4])


@pytest.fixture(scope="module")
def cohorts():
    """40 samples of two B-ALL subtypes and 20 of AML, each with its own genes on top."""
    rng, panels = np.random.default_rng(1), load_genes().panels
    label = np.repeat(["DUX4-r", "iAMP21", "NPM1"], 20).astype(object)
    ranks = {}
    for role, panel in (
        ("lineage", "lineage_panel"),
        ("kind", "all_panel"),
        ("b_all", "all_panel"),
        ("aml", "aml_panel"),
    ):
        genes = len(panels[panel])
        centre = {name: rng.random(genes) for name in set(label)}
        ranks[role] = np.array([0.6 * centre[name] + 0.4 * rng.random(genes) for name in label])
    lineage = np.where(label == "NPM1", "AML", "B-ALL").astype(object)
    kind = np.where(label == "NPM1", "", np.where(np.arange(60) % 2, "B-ALL", "T-ALL")).astype(object)
    name = np.array([f"s{k}" for k in range(60)], dtype=object)
    return Cohorts(ranks, name, label, lineage, kind, name, np.full(60, "made up", dtype=object))


def test_a_head_learns_its_classes(cohorts):
    assert set(cohorts.ranks) == set(ROLES)
    even = np.arange(0, 60, 2)
    head = fit_head("lineage", cohorts, even)
    assert head.classes == ("not_aml", "aml")
    said = logits(head, cohorts.ranks["lineage"][1::2]).argmax(axis=1)
    assert (said == (cohorts.lineage[1::2] == "AML")).all()
    b_all = fit_head("b_all", cohorts, even)
    assert b_all.classes == ("DUX4-r", "iAMP21")
    assert b_all.share == (0.5, 0.5)


def test_the_scope_lies_between_real_and_shuffled(cohorts):
    head, ranks = fit_head("lineage", cohorts, np.arange(60)), cohorts.ranks["lineage"]
    alike = similarity(ranks, head.centroids)
    scope = fit_scope(head, ranks, alike, seed=0)
    broken = similarity(shuffled(ranks, 1.0, np.random.default_rng(2)), head.centroids)
    assert broken.max() < scope["middle"] < np.median(alike)
    assert scope["width"] > 0


def test_class_statistics_are_in_the_order_of_the_gene_table():
    genes = load_genes().ids[:4]
    values = np.array([[1.0, 3.0, 7.0, 15.0]])
    shuffled_table = ExpressionTable(("s",), genes[::-1], values, ("cpm",))
    said = class_statistics(shuffled_table, np.array(["x"], dtype=object))
    assert said["x.mean"].tolist() == [4, 3, 2, 1]
    assert said["x.sd"].tolist() == [0, 0, 0, 0]
