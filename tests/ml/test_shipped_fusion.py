"""The shipped fusion bundle fits the tree and the bundles beside it; a change of either asks for a new training."""

from __future__ import annotations

import numpy as np
import pytest

from ml.bundle import find_bundle, load_bundle
from ml.diagnosis_tree import load_tree
from ml.findings import BUNDLE_OF_MODALITY, Finding
from ml.fusion import fuse

TREE = load_tree()
MODALITIES = {m: load_bundle(find_bundle(name)) for m, name in BUNDLE_OF_MODALITY.items()}
FUSION = load_bundle(find_bundle("fusion"))


def sure_of(modality, label, probability=0.97):
    bundle = MODALITIES[modality]
    rest = (1 - probability) / (len(bundle.labels) - 1)
    return Finding(
        modality=modality,
        bundle=bundle.reference,
        bundle_sha256=bundle.sha256,
        label=label,
        probabilities={said: probability if said == label else rest for said in bundle.labels},
        in_scope=0.97,
        leaves=bundle.leaves,
        training_share=bundle.training_share,
    )


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_tree_says_of_every_leaf_who_sees_it(modality):
    seen = {leaf for leaves in MODALITIES[modality].leaves.values() for leaf in leaves}
    assert seen == {leaf for leaf in TREE.leaves if modality in TREE.nodes[leaf].seen_by}


def test_the_fusion_was_learned_with_the_bundles_that_are_here():
    learned_with = {m: said["sha256"] for m, said in FUSION.manifest["bundles"].items()}
    assert learned_with == {m: bundle.sha256 for m, bundle in MODALITIES.items()}
    assert FUSION.manifest["tree_version"] == TREE.version


def test_its_weights_were_learned_and_none_is_negative():
    weights = FUSION.manifest["weights"]
    assert set(weights) == set(MODALITIES)
    assert min(weights.values()) >= 0
    assert weights["expression"] > 0.5


def test_its_set_covers_what_it_promises_on_people_it_has_not_learned_from():
    sets = FUSION.manifest["metrics"]["virtual patients: all combinations"]["sets"]
    for promise in FUSION.manifest["conformal"]["promises"]:
        said = sets[f"{promise['coverage']:.0%}"]["covers"]
        assert said["value"] == pytest.approx(promise["coverage"], abs=0.02)
        assert said["n"] >= 1000


def test_it_finds_apl_at_a_stated_rate_of_alerts():
    said = FUSION.manifest["metrics"]["virtual patients: all combinations"]
    assert said["apl_alert_in_apl"]["value"] >= 0.99
    assert said["apl_alert_in_others"]["value"] < 0.25


def compared():
    metrics = FUSION.manifest["metrics"]
    return {name: said["against_best"] for name, said in metrics.items() if "against_best" in said}


def test_no_combination_is_worse_than_its_best_modality_and_real_pairs_are_better():
    for name, against in compared().items():
        assert against["accuracy"]["value"] >= -0.01, name
        assert against["log_loss"]["value"] <= 0.001, name
    assert compared()["real pairs: labs and expression of the same person"]["log_loss"]["value"] < 0
    assert compared()["virtual patients: expression+labs"]["log_loss"]["high"] < 0


def labels_of(modality):
    return [(modality, label) for label in MODALITIES[modality].labels]


@pytest.mark.parametrize(("modality", "label"), labels_of("expression"))
def test_a_sure_expression_is_answered_with_a_node_that_its_label_means(modality, label):
    said = fuse([sure_of(modality, label)], FUSION)
    answer = set(TREE.leaves_under(said.answer["node"]))
    meant = set(MODALITIES[modality].leaves[label])
    assert answer & meant
    assert said.answer["node"] != "acute_leukaemia"
    covered = {leaf for node in said.prediction_set for leaf in TREE.leaves_under(node)}
    assert meant <= covered


def test_labs_alone_never_say_more_than_all_aml_or_apl():
    said = [fuse([sure_of(*label)], FUSION).answer for label in labels_of("labs")]
    answers = {answer["node"] for answer in said if answer}
    assert answers
    assert answers <= {"all", "aml", "apl", "acute_leukaemia"}


def test_a_promyelocytic_smear_raises_the_alarm_before_anything_else_is_known():
    said = fuse([sure_of("smear_cell", "APL")], FUSION)
    assert [alert["code"] for alert in said.urgent] == ["apl_not_excluded"]


def test_the_same_findings_give_the_same_bytes():
    findings = [sure_of("expression", "T-ALL"), sure_of("labs", "ALL")]
    assert fuse(findings, FUSION).as_dict() == fuse(findings[::-1], FUSION).as_dict()
    assert np.isclose(sum(fuse(findings, FUSION).probabilities[leaf] for leaf in TREE.leaves), 1, atol=1e-9)
