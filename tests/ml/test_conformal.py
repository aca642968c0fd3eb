"""Prediction sets: what is promised is kept on people drawn alike, by lineage too; unknown leaves have their rule."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ml import conformal
from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.lineages import LINEAGES, lineage_index

TREE = load_tree()
PRIOR = np.array(list(TREE.prior.values()))
KNOWN = lineage_index() != LINEAGES.index("mpal")


def people(n, seed):
    """Patients whose evidence tells their lineage from the others, more or less well."""
    rng = np.random.default_rng(seed)
    leaf = rng.choice(len(PRIOR), n, p=PRIOR * KNOWN / (PRIOR * KNOWN).sum())
    of_lineage = rng.normal(0, 1.5, (n, len(LINEAGES))) + 2.5 * np.eye(len(LINEAGES))[lineage_index()[leaf]]
    evidence = of_lineage[:, lineage_index()]
    return leaf, evidence, ev.posterior(PRIOR, evidence)


def calibrated(coverage, n=4000):
    leaf, evidence, p = people(n, 0)
    of_truth = conformal.scores(p, evidence)[np.arange(n), leaf]
    return conformal.calibrate(of_truth, leaf, np.arange(n).astype(str), KNOWN, coverage, 30)


@pytest.mark.parametrize("coverage", [0.9, 0.95])
def test_a_set_covers_what_it_promises_and_each_lineage_as_well(coverage):
    thresholds = calibrated(coverage)
    leaf, evidence, p = people(4000, 1)
    held = np.array([conformal.inside(a, b, thresholds)[k] for a, b, k in zip(p, evidence, leaf, strict=True)])
    aim = coverage if thresholds["always"] else coverage / (1 - PRIOR[~KNOWN].sum())
    assert held.mean() == pytest.approx(aim, abs=0.02)
    for lineage in ("b_all", "aml_other", "no_leukaemia"):
        assert held[lineage_index()[leaf] == LINEAGES.index(lineage)].mean() == pytest.approx(aim, abs=0.04)


def test_what_nobody_calibrated_is_paid_for_where_it_is_rare_and_stays_in_where_it_is_not():
    assert calibrated(0.9)["always"] == []
    assert set(calibrated(0.95)["always"]) == set(TREE.leaves_under("mpal"))


def test_too_few_people_of_a_lineage_leave_it_to_the_quantile_of_all():
    leaf, evidence, p = people(500, 2)
    of_truth = conformal.scores(p, evidence)[np.arange(500), leaf]
    one = conformal.calibrate(of_truth, leaf, np.full(500, "the same person"), KNOWN, 0.9, 30)
    assert one["lineage"] == {}
    assert 0 < one["pooled"] < 1


@pytest.mark.parametrize(("n", "expected"), [(9, 0.9), (19, 0.9), (8, 1.0)])
def test_the_quantile_leaves_nothing_out_where_it_cannot_know(n, expected):
    values = np.arange(1, n + 1) / (n + 1)
    assert conformal.quantile(values, 0.9) == pytest.approx(expected)


def test_leaves_that_nothing_tells_apart_are_in_together():
    _, evidence, p = people(50, 3)
    thresholds = calibrated(0.9)
    for row, e in zip(p, evidence, strict=True):
        inside = conformal.inside(row, e, {**thresholds, "lineage": {}})
        for lineage in range(len(LINEAGES)):
            assert len(set(inside[lineage_index() == lineage])) == 1


def test_the_set_of_the_larger_promise_holds_that_of_the_smaller_whatever_their_quantiles():
    _, evidence, p = people(200, 3)
    few = {"lineage": {}, "always": [], "n": 9, "people": 9}
    pooled = {0.9: 0.8, 0.95: 0.3}
    promises = [{"coverage": at, "by": {"labs": {"pooled": q, **few}, "otherwise": None}} for at, q in pooled.items()]
    for row, one in zip(evidence, p, strict=True):
        said = conformal.prediction_sets(
            [SimpleNamespace(modality="labs", evidence=row)], one, (), {"conformal": {"promises": promises}}
        )
        small, large = ({leaf for node in of["nodes"] for leaf in TREE.leaves_under(node)} for of in said)
        assert small <= large
