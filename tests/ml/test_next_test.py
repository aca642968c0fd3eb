"""The next best test, on tables where the right answer is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.fusion import fuse
from ml.next_test import Statistics, entropy, expected_reduction, outcomes
from tests.ml.test_fusion import BUNDLE, certain, finding, findings

TREE = load_tree()


def over(**shares):
    """A posterior with all its mass on a few leaves."""
    return np.array([float(shares.get(leaf, 0.0)) for leaf in TREE.leaves])


def binary(error, usable=1.0):
    """A test that tells T-ALL from APL and errs this often on either side."""
    return Statistics(
        labels=("t", "apl"),
        leaves={"t": ("t_all_nos",), "apl": ("apl",)},
        share=(0.5, 0.5),
        reads=np.array([[1 - error, error], [error, 1 - error]]),
        usable=usable,
    )


def bits(error):
    return -sum(p * np.log2(p) for p in (error, 1 - error) if p > 0)


@pytest.mark.parametrize("error", [0.0, 0.01, 0.1, 0.3, 0.5])
def test_a_binary_symmetric_test_gives_its_capacity(error):
    assert expected_reduction(binary(error), over(t_all_nos=0.5, apl=0.5)) == pytest.approx(1 - bits(error), abs=1e-9)


def test_a_perfect_test_gives_the_whole_entropy_that_there_is():
    assert expected_reduction(binary(0.0), over(t_all_nos=0.2, apl=0.8)) == pytest.approx(bits(0.2))


def test_a_test_that_is_unusable_half_the_time_is_worth_half():
    p = over(t_all_nos=0.5, apl=0.5)
    assert expected_reduction(binary(0.1, usable=0.5), p) == pytest.approx(expected_reduction(binary(0.1), p) / 2)


@pytest.mark.parametrize(
    "p", [over(t_all_nos=1.0), over(aml_npm1=0.5, aml_tp53=0.5)], ids=["nothing open", "it sees none of what is open"]
)
def test_where_it_can_tell_nothing_it_is_worth_nothing(p):
    assert expected_reduction(binary(0.0), p) == pytest.approx(0, abs=1e-12)


def test_what_it_cannot_see_keeps_its_probability_whatever_is_said():
    p = over(t_all_nos=0.3, apl=0.3, aml_npm1=0.4)
    chances, after = outcomes(binary(0.1), p)
    npm1 = TREE.leaves.index("aml_npm1")
    assert after[:, npm1] == pytest.approx([0.4, 0.4])
    assert chances == pytest.approx([0.5, 0.5])
    assert expected_reduction(binary(0.1), p) == pytest.approx(0.6 * (1 - bits(0.1)))


def test_three_labels_by_hand():
    """Uniform over three leaves; the third is read as either of the others: log2(3) − 1/3 · 0 …, by the definition."""
    leaves = {"t": ("t_all_nos",), "apl": ("apl",), "n": ("aml_npm1",)}
    reads = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], float)
    statistics = Statistics(tuple(leaves), leaves, (1 / 3, 1 / 3, 1 / 3), reads, 1.0)
    p = over(t_all_nos=1 / 3, apl=1 / 3, aml_npm1=1 / 3)
    assert expected_reduction(statistics, p) == pytest.approx(np.log2(3) - bits(1 / 3))


@given(st.lists(st.floats(0.001, 1), min_size=len(TREE.leaves), max_size=len(TREE.leaves)), st.floats(0, 1))
def test_it_is_never_negative_never_more_than_there_is_and_keeps_the_average(weights, error):
    p = np.array(weights) / sum(weights)
    chances, after = outcomes(binary(error), p)
    assert chances.sum() == pytest.approx(1)
    assert chances @ after == pytest.approx(p, abs=1e-12)
    assert 0 <= expected_reduction(binary(error), p) <= entropy(p) + 1e-9


def test_the_missing_modalities_are_ranked_and_those_present_are_not_named():
    said = fuse([certain("smear_cell", "AML")], BUNDLE).next_tests
    assert {entry["modality"] for entry in said} == {"smear_field", "expression", "labs"}
    reductions = [entry["entropy_reduction"] for entry in said]
    assert reductions == sorted(reductions, reverse=True)
    assert said[0]["modality"] == "expression"
    assert all(0 <= entry["answer_changes"] <= 1 for entry in said)


def test_what_it_expects_of_the_answer_is_what_the_walk_then_says():
    """Nothing known: expression is expected to end the abstention, single cells alone cannot."""
    said = {entry["modality"]: entry for entry in fuse([], BUNDLE).next_tests}
    assert said["expression"]["answer_changes"] > 0.8
    assert said["smear_cell"]["answer_changes"] == 0
    assert said["smear_cell"]["likely_answers"] == [{"node": "abstained", "probability": pytest.approx(1.0)}]
    assert {entry["node"] for entry in said["expression"]["likely_answers"]} & set(TREE.nodes)


@given(findings())
def test_what_is_expected_holds_of_any_findings(given_):
    said = fuse(given_, BUNDLE)
    p = np.array([said.probabilities[leaf] for leaf in TREE.leaves])
    assert all(0 <= one["entropy_reduction"] <= entropy(p) + 1e-9 for one in said.next_tests)
    assert {one["modality"] for one in said.next_tests}.isdisjoint(said.used)


def test_an_unusable_result_can_be_the_next_test_again():
    said = fuse([certain("labs", "APL", in_scope=0.0), finding("smear_cell")], BUNDLE)
    assert "labs" in {entry["modality"] for entry in said.next_tests}
    assert ev.total([]).shape == (len(TREE.leaves),)
