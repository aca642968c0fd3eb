from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ml import fusion_training, virtual_patients
from ml.bundle import Bundle, load_bundle, seal_bundle
from ml.diagnosis_tree import load_tree
from ml.fusion import fuse
from ml.fusion_calibration import LEAST_IN_SCOPE
from ml.stacking import Stack, ensemble
from ml.virtual_patients import FOLDS

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
    return fusion_training.train(made_up / "oof", out, made_up / "bundles", seed=3, n=150)


@pytest.fixture(scope="module")
def sources(made_up):
    return virtual_patients.read_sources(made_up / "oof", made_up / "bundles", LEAST_IN_SCOPE, seed=3)


def test_nobody_is_in_two_folds_and_every_label_is_in_each(sources):
    for source in sources.values():
        people = [set(source.group[source.fold == fold]) for fold in range(FOLDS)]
        assert sum(map(len, people)) == len(set.union(*people))
        kinds = [{tuple(means) for means in source.means[source.fold == fold]} for fold in range(FOLDS)]
        assert all(kind == kinds[0] for kind in kinds)


def test_what_is_out_of_scope_is_left_out_and_counted(sources):
    assert all((source.in_scope >= LEAST_IN_SCOPE[m]).all() for m, source in sources.items())
    assert sources["smear_field"].usable == pytest.approx(0.5, abs=0.1)  # in scope is drawn from 0.6 to 1, least is 0.8
    assert sources["labs"].usable == 1


def test_a_virtual_patient_has_results_of_one_diagnosis_and_of_its_folds(sources):
    some = ("expression", "labs")
    patients = virtual_patients.draw_patients(sources, some, [1, 2], 400, np.random.default_rng(1))
    assert patients.modalities == some
    for modality, rows in patients.rows.items():
        assert sources[modality].means[rows, patients.leaf].all()
        assert set(sources[modality].fold[rows]) == {1, 2}
    assert patients.truth[np.arange(400), patients.leaf].all()


def test_combinations_that_no_diagnosis_has_are_none(sources):
    combinations = virtual_patients.combinations_of(sources)
    assert ("expression", "labs") in combinations
    assert ("smear_field", "smear_cell") not in combinations
    assert len(combinations) == 11


def test_who_knows_something_is_heard_and_who_knows_nothing_is_less(trained):
    weights = trained.manifest["weights"]
    assert weights["expression"] > 0.5
    assert weights["smear_field"] > 0.5
    assert weights["labs"] < 0.5 * min(weights["expression"], weights["smear_field"])


def test_the_sealed_bundle_fuses_and_its_card_is_of_it(trained, sources):
    assert load_bundle(trained.path).sha256 == trained.sha256
    said = fuse([sources["expression"].finding(0)], trained)
    assert said.versions["fusion"].startswith("fusion@1.2.3#")
    assert [entry["calibrated"] for entry in said.prediction_sets] == [True, True]
    assert {entry["modality"] for entry in said.next_tests} == {"smear_field", "smear_cell", "labs"}
    card = trained.file("card.md").read_text("utf-8")
    assert f"{trained.manifest['weights']['expression']:.2f}" in card
    assert "real pairs" in card
    assert {"risk_coverage.png", "log_loss.png", "stack.safetensors"} <= set(trained.manifest["files"])


def test_promises_are_kept_on_people_it_has_not_learned_from(trained):
    figures = trained.manifest["metrics"]["virtual patients: all combinations"]
    for promise, least in (("90%", 0.9), ("95%", 0.95)):
        assert abs(figures["sets"][promise]["covers"]["value"] - least) <= 0.04
    assert figures["apl_alert_in_apl"]["value"] >= 0.97
    assert figures["apl_alert_in_others"]["value"] < figures["apl_alert_in_apl"]["value"]
    risk = figures["risk_coverage"]["risk"]
    assert risk[0] <= risk[-1]


def test_mixed_up_results_are_noticed_more_often_than_those_of_one_person(trained):
    metrics = trained.manifest["metrics"]
    mixed = metrics["virtual patients: results of two people mixed up"]["smear_field+expression"]
    assert mixed["contradiction"]["value"] > 3 * mixed["usual"]["value"] + 0.1


def test_labs_that_know_nothing_do_not_worsen_the_real_pairs_much(trained):
    pairs = trained.manifest["metrics"]["real pairs: labs and expression of the same person"]
    assert 100 <= pairs["n"] <= 150
    loss = {name: figures["log_loss"]["value"] for name, figures in pairs["alone"].items()}
    assert pairs["figures"]["log_loss"]["value"] <= loss["expression"] + 0.1
    assert pairs["figures"]["log_loss"]["value"] < loss["labs"]


def test_the_method_with_less_held_out_loss_is_active(trained):
    chosen = trained.manifest["calibration"]["chosen"]
    assert trained.manifest["method"] == min(chosen["mean_log_loss"], key=chosen["mean_log_loss"].get)
    assert set(chosen["mean_log_loss"]) == {"evidence", "stacking"}


def test_the_stacked_ensemble_as_arrays_says_what_scikit_learn_says():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(400, 20)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    y = rng.integers(0, 5, 400)
    fitted = ensemble(0).fit(X, y)
    assert Stack.of(fitted).predict(X) == pytest.approx(fitted.predict_proba(X), abs=1e-6)


def test_a_bundle_may_have_the_ensemble_active_and_keeps_what_it_must(trained, sources):
    stacked = Bundle(trained.path, trained.sha256, {**trained.manifest, "method": "stacking"})
    given = [sources["expression"].finding(0), sources["labs"].finding(5)]
    said, by_evidence = fuse(given, stacked), fuse(given, trained)
    assert said.method == "stacking"
    assert sum(said.probabilities[leaf] for leaf in TREE.leaves) == pytest.approx(1, abs=1e-9)
    assert fuse(given[::-1], stacked).as_dict() == said.as_dict()
    assert said.probabilities["mpal"] == pytest.approx(by_evidence.probabilities["mpal"])
    assert fuse([], stacked).probabilities == pytest.approx(fuse([], trained).probabilities)
    inside = [said.probabilities[leaf] / by_evidence.probabilities[leaf] for leaf in UNDER("t_all")]
    assert inside[0] == pytest.approx(inside[1])


def test_training_again_gives_the_same(made_up, trained):
    again = fusion_training.train(made_up / "oof", made_up / "again" / "1.2.3", made_up / "bundles", seed=3, n=150)
    for key in ("weights", "thresholds", "conformal", "metrics"):
        assert again.manifest[key] == trained.manifest[key]
    json.dumps(again.manifest, allow_nan=False)


def test_predictions_that_do_not_fit_the_bundle_are_refused(made_up, tmp_path):
    table = pd.read_csv(made_up / "oof" / "labs.csv").assign(y="CML")
    table.to_csv(tmp_path / "labs.csv", index=False)
    with pytest.raises(ValueError, match="no row with a label of labs"):
        virtual_patients.read_sources(tmp_path, made_up / "bundles", LEAST_IN_SCOPE, seed=0)
