import math
from dataclasses import replace

import numpy as np
import pytest

from ml.bundle import find_bundle, load_bundle
from ml.diagnosis_tree import load_tree
from ml.evidence import columns
from ml.findings import Finding
from ml.site_fusion import (
    LEAST_CASES,
    SignedCase,
    TooLittle,
    learned_prior,
    localised,
    recalibrate,
    safe_threshold,
    said_by,
)

CALIBRATED = {"pooled": 0.4, "lineage": {"apl": 0.7}, "always": [], "n": 50, "people": 50}
LABELS = ("ALL", "AML", "APL")


@pytest.fixture(scope="module")
def fusion():
    return load_bundle(find_bundle("fusion"))


@pytest.fixture(scope="module")
def leaves():
    tree = load_tree()
    aml = tree.leaves_under("aml")
    return {"ALL": tree.leaves_under("all"), "AML": tuple(x for x in aml if x != "apl"), "APL": ("apl",)}


def labs(p, leaves):
    shares = dict.fromkeys(LABELS, 1 / 3)
    label = LABELS[int(np.argmax(p))]
    return Finding("labs", "labs@1.0.0", "0" * 64, label, dict(zip(LABELS, p, strict=True)), 0.95, leaves, shares)


def drawn(n, leaves, seed, *, share=(0.1, 0.2, 0.7), boldness=4.0):
    """Cases of a site where most have APL, read by labs that claim ``boldness`` times the log-odds that they have."""
    rng, cases, tree = np.random.default_rng(seed), [], load_tree()
    for truth in rng.choice(3, n, p=share):
        logits = boldness * (rng.normal(0, 1, 3) + 1.0 * (np.arange(3) == truth))
        p = np.exp(logits - logits.max())
        shares = np.array([tree.prior[leaf] for leaf in leaves[LABELS[truth]]])
        node = rng.choice(leaves[LABELS[truth]], p=shares / shares.sum())
        cases.append(SignedCase((labs((p / p.sum()).tolist(), leaves),), str(node)))
    return cases


@pytest.fixture(scope="module")
def learned(fusion, leaves):
    return recalibrate(drawn(80, leaves, 0), fusion)


def like_the_tree():
    """Shares of the three labels as the tree expects them among acute leukaemias."""
    tree = load_tree()
    of = [sum(tree.prior[x] for x in tree.leaves_under(node)) for node in ("all", "aml", "apl")]
    shares = np.array([of[0], of[1] - of[2], of[2]])
    return shares / shares.sum()


def test_a_site_unlike_the_tree_gains_on_cases_it_has_not_learned_from(fusion, leaves, learned):
    said = learned
    assert said["temperature"] > 1.5
    assert said["prior"]["apl"] > 3 * load_tree().prior["apl"]
    assert math.isclose(sum(said["prior"].values()), 1)
    local, loss = localised(fusion, said), {"before": 0.0, "after": 0.0}
    for case in drawn(200, leaves, 1):
        for when, bundle, prior in (("before", fusion, None), ("after", local, said["prior"])):
            loss[when] -= math.log(said_by(case, bundle, None, prior).p[columns(case.node)].sum())
    assert loss["after"] < 0.8 * loss["before"]


def test_its_prediction_sets_hold_the_signed_diagnosis_as_often_as_promised(fusion, leaves, learned):
    said = learned
    local, tree, held = localised(fusion, said), load_tree(), []
    for case in drawn(300, leaves, 2):
        nodes = said_by(case, local, None, said["prior"]).sets[0]["nodes"]
        held.append(any(n in tree.path(case.node) or case.node in tree.path(n) for n in nodes))
    assert np.mean(held) >= 0.88


def test_thresholds_and_sets_are_never_lowered(fusion, leaves):
    neutral = {"temperature": 1.0, "prior": {}, "threshold": 0.0, "scores": {}}
    rules = fusion.manifest | {"conformal": {"promises": [{"coverage": 0.9, "by": {"labs": CALIBRATED}}]}}
    fusion = replace(fusion, manifest=rules)
    local = localised(fusion, neutral)
    assert local.manifest["thresholds"] == rules["thresholds"]
    assert local.manifest["conformal"] == rules["conformal"]
    stricter = localised(fusion, neutral | {"threshold": 0.98, "scores": {"0.9": 0.6}}).manifest
    assert min(t for of in stricter["thresholds"]["level"].values() for t in of.values()) >= 0.98
    [promise] = stricter["conformal"]["promises"]
    assert promise["by"]["labs"] == CALIBRATED | {"pooled": 0.6, "lineage": {"apl": 0.7}}


@pytest.mark.parametrize(
    ("cases", "code"),
    [
        (lambda leaves: drawn(LEAST_CASES - 1, leaves, 0), "too_few_cases"),
        (lambda leaves: drawn(60, leaves, 0, share=(0, 0, 1)), "one_diagnosis"),
        (lambda leaves: drawn(60, leaves, 0, share=like_the_tree(), boldness=1.0), "no_gain"),
    ],
)
def test_what_does_not_carry_a_recalibration_is_refused_with_its_reason(fusion, leaves, cases, code):
    with pytest.raises(TooLittle) as refusal:
        recalibrate(cases(leaves), fusion)
    assert refusal.value.code == code


def test_a_signed_node_counts_for_its_leaves_in_proportion_to_the_prior():
    tree = load_tree()
    few = learned_prior([SignedCase((), "aml")] * 30, tree.prior)
    aml, all_ = tree.leaves_under("aml"), tree.leaves_under("all")
    assert sum(few[x] for x in aml) > sum(tree.prior[x] for x in aml)
    assert few[all_[0]] / few[all_[1]] == pytest.approx(tree.prior[all_[0]] / tree.prior[all_[1]])


def test_the_threshold_is_the_least_from_which_errors_are_rare():
    assert safe_threshold([]) == 0.0
    assert safe_threshold([(0.9, True)] * 40) == 0.0
    assert safe_threshold([(0.6, False)] * 10 + [(0.9, True)] * 40) == pytest.approx(0.61)
    assert safe_threshold([(0.98, False)] * 10) == 0.99
