from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ml import fusion_report, fusion_training, virtual_patients
from ml.bundle import load_bundle, seal_bundle
from ml.diagnosis_tree import load_tree
from ml.fusion import fuse

TREE = load_tree()
UNDER = TREE.leaves_under
OTHER_AML = [leaf for leaf in UNDER("aml") if leaf != "apl"]
LABELS = {
    "smear-field": {"haematogones": ["haematogones"], "B-ALL": UNDER("b_all")},
    "smear-cell": {"APL": ["apl"], "AML": OTHER_AML},
    "labs": {"ALL": UNDER("all"), "AML": OTHER_AML, "APL": ["apl"]},
    "expression": {
        "Normal": UNDER("no_leukaemia"),
        "B-ALL": UNDER("b_all"),
        "T-ALL": UNDER("t_all"),
        "APL": ["apl"],
        "AML": OTHER_AML,
    },
}
STRENGTH = {
    "smear-field": 2.5,
    "smear-cell": 2.0,
    "expression": 4.0,
    "labs": 0.0,
}  # 0: knows nothing, and is sure of it


def predictions(name, n, rng):
    """Held-out predictions of n made-up people, two rows each: right on average as far as STRENGTH says."""
    labels = list(LABELS[name])
    truth = np.repeat(rng.integers(0, len(labels), n), 2)
    logits = STRENGTH[name] * np.eye(len(labels))[truth] + rng.normal(
        0, 1.5 if STRENGTH[name] else 3, (2 * n, len(labels))
    )
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    people = np.repeat([f"{name}-{i}" for i in range(n)], 2)
    table = pd.DataFrame({f"p:{label}": p[:, k] for k, label in enumerate(labels)})
    return table.assign(
        id=[f"{name}-row-{i}" for i in range(2 * n)],
        group=people,
        cohort="made up",
        y=[labels[k] for k in truth],
        in_scope=rng.uniform(0.6, 1, 2 * n),
    )


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("made-up"), np.random.default_rng(5)
    oof, bundles = root / "oof", root / "bundles"
    oof.mkdir()
    for name, labels in LABELS.items():
        table = predictions(name, 150, rng)
        table.to_csv(oof / f"{name}.csv", index=False)
        folder = bundles / name / "1.0.0"
        folder.mkdir(parents=True)
        said = {label: {"leaves": list(ids), "training_share": 1 / len(labels)} for label, ids in labels.items()}
        manifest = {
            "name": name,
            "version": "1.0.0",
            "labels": said,
            "thresholds": {"in_scope": 0.3},
            "data": [{"name": "made up"}],
            "licence": "none",
        }
        seal_bundle(folder, manifest)
    write_pairs(oof)
    return root


def write_pairs(oof):
    """The people of expression.csv, once each, with labs that know nothing."""
    expression = pd.read_csv(oof / "expression.csv").drop_duplicates("group")
    renamed = {column: column.replace("p:", "p:expression:") for column in expression if column.startswith("p:")}
    pairs = expression.rename(columns={**renamed, "in_scope": "in_scope:expression"})
    labs = {"p:labs:ALL": 0.01, "p:labs:AML": 0.98, "p:labs:APL": 0.01, "in_scope:labs": 1.0}
    pairs.assign(id=expression["group"], **labs).drop(columns=["group", "cohort"]).to_csv(
        oof / "pairs.csv", index=False
    )


@pytest.fixture(scope="module")
def trained(made_up):
    out = made_up / "bundles" / "fusion" / "1.2.3"
    with pytest.MonkeyPatch.context() as few:
        few.setattr(fusion_report, "ROUNDS", 10)
        return fusion_training.train(made_up / "oof", out, made_up / "bundles", seed=3, n=350)


@pytest.fixture(scope="module")
def sources(made_up):
    return virtual_patients.read_sources(made_up / "oof", made_up / "bundles", seed=3)


def test_nobody_is_in_both_halves_and_every_label_is_in_each(sources):
    for source in sources.values():
        people = [set(source.group[source.half == half]) for half in (0, 1)]
        assert not people[0] & people[1]
        kinds = [{tuple(means) for means in source.means[source.half == half]} for half in (0, 1)]
        assert kinds[0] == kinds[1]


def test_a_virtual_patient_has_results_of_one_diagnosis_and_of_one_half(sources):
    patients = virtual_patients.draw_patients(sources, 1, 400, seed=1)
    for modality, rows in patients.rows.items():
        drawn = rows >= 0
        assert sources[modality].means[rows[drawn], patients.leaf[drawn]].all()
        assert (sources[modality].half[rows[drawn]] == 1).all()
    combinations = {patients.modalities(i) for i in range(len(patients))}
    assert () not in combinations
    assert {("expression",), ("labs",), ("expression", "labs"), ("smear_cell", "expression", "labs")} <= combinations


def test_who_knows_something_is_heard_and_who_knows_nothing_is_not(trained):
    weights = trained.manifest["weights"]
    assert weights["expression"] > 0.5
    assert weights["smear_field"] > 0.5
    assert weights["labs"] < 0.15


def test_the_sealed_bundle_fuses_and_its_card_is_of_it(trained, sources):
    assert load_bundle(trained.path).sha256 == trained.sha256
    said = fuse([sources["expression"].finding(0)], trained)
    assert said.versions["fusion"].startswith("fusion@1.2.3#")
    card = trained.file("card.md").read_text("utf-8")
    assert f"{trained.manifest['weights']['expression']:.2f}" in card
    assert "virtual patients" in card
    assert "real pairs" in card


def test_promises_are_kept_on_people_it_has_not_learned_from(trained):
    figures = trained.manifest["metrics"]["virtual patients: all combinations"]["fusion"]
    assert figures["set_covers"]["value"] >= 0.88
    assert figures["right_when_assessed"]["value"] >= 0.88
    assert figures["contradiction"]["value"] <= 0.1
    assert figures["apl_alert_in_apl"]["value"] >= 0.9


def test_mixed_up_results_are_noticed_more_often_than_those_of_one_person(trained):
    metrics = trained.manifest["metrics"]
    mixed = metrics["virtual patients: results of two people mixed up"]["smear_field+expression"]
    usual = metrics["virtual patients: smear_field+expression"]["fusion"]
    assert mixed["contradiction"]["value"] > 3 * usual["contradiction"]["value"] + 0.1


def test_labs_that_know_nothing_do_not_worsen_the_real_pairs(trained):
    pairs = trained.manifest["metrics"]["real pairs: labs and expression of the same person"]
    assert 60 <= pairs["n"] <= 90
    assert pairs["fusion"]["log_loss"] <= pairs["alone"]["expression"]["log_loss"] + 0.05
    assert pairs["fusion"]["log_loss"] < pairs["alone"]["labs"]["log_loss"]


def test_training_again_gives_the_same(made_up, trained, monkeypatch):
    monkeypatch.setattr(fusion_training, "report", lambda *_: {})
    again = fusion_training.train(made_up / "oof", made_up / "again" / "1.2.3", made_up / "bundles", seed=3, n=350)
    for key in ("weights", "thresholds", "conformal"):
        assert again.manifest[key] == trained.manifest[key]
    json.dumps(again.manifest, allow_nan=False)


def test_predictions_that_do_not_fit_the_bundle_are_refused(made_up, tmp_path):
    table = pd.read_csv(made_up / "oof" / "labs.csv").assign(y="CML")
    table.to_csv(tmp_path / "labs.csv", index=False)
    with pytest.raises(ValueError, match="no row with a label of labs"):
        virtual_patients.read_sources(tmp_path, made_up / "bundles", seed=0)
