"""The profile as a whole: its evidence for B-ALL, how it counts, and classes that were never learned."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import logit

from genomics.expression import whole
from genomics.expression.joint import Novelty, combine, judge, load_whole, named_margin, save_whole
from genomics.expression.thresholds import LEAST, MOST, answer_figures, cross_fitted, fit_thresholds
from genomics.expression.train import even_weights, telling
from ml.bundle import seal_bundle
from tests.genomics.make import bundle, counts
from tests.genomics.test_models import sample

RNG = np.random.default_rng(0)
BASIS = RNG.normal(size=(3, 200))
LEAVES = {
    "BCR::ABL1": ("b_all_bcr_abl1",),
    "BCR::ABL1-like": ("b_all_bcr_abl1_like",),
    "T-ALL": ("t_all_etp", "t_all_nos"),
}


@pytest.fixture(scope="module")
def fitted():
    return whole.fit_axes(RNG.normal(size=(60, 3)) @ BASIS + 0.1 * RNG.normal(size=(60, 200)))


class TestWhole:
    def test_what_lies_in_the_space_is_rebuilt_and_noise_is_not(self, fitted):
        within = RNG.normal(size=(10, 3)) @ BASIS
        assert fitted.unlike(within).max() < 0.1 < fitted.unlike(RNG.normal(size=(10, 200))).min()

    def test_missing_genes_are_left_out_of_the_fit(self, fitted):
        row = RNG.normal(size=(1, 3)) @ BASIS
        few = row.copy()
        few[0, ::4] = np.nan
        assert fitted.unlike(few) == pytest.approx(fitted.unlike(row), abs=0.05)
        assert np.isnan(fitted.unlike(np.full((1, 200), np.nan))).all()

    def test_evidence_is_bounded_and_silent_where_nothing_is_known(self):
        middle, slope = whole.fit_evidence(np.array([0.1, 0.15, 0.2, 0.45]), np.array([0.4, 0.6, 0.7]))
        one = whole.Whole(np.zeros(0), np.zeros(0), middle, slope)
        evidence = one.evidence(np.array([-9.0, 0.1, middle, 0.7, 9.0, np.nan]))
        assert (evidence[0], evidence[-2]) == (whole.MOST, -whole.MOST)
        assert np.isnan(evidence[-1])
        assert evidence[2] == pytest.approx(0)
        assert evidence[1] > 0 > evidence[3]

    def test_it_counts_against_aml_as_a_likelihood_ratio_and_for_nothing(self):
        kind = np.array([[0.5, 0.2, 0.3]])
        aml = whole.weigh(np.array([0.6]), kind, 0, np.array([2.0]))
        others = 0.4 * (0.5 * np.exp(2.0) + 0.2 + 0.3)
        assert aml == pytest.approx([0.6 / (0.6 + others)])
        assert logit(aml[0]) == pytest.approx(logit(0.6) + whole.lineage_push(kind[0], 0, 2.0))
        assert whole.weigh(np.array([0.6]), kind, 0, np.array([-6.0])) == pytest.approx([0.6])
        assert whole.lineage_push(kind[0], 0, -6.0) == pytest.approx(0)

    def test_called_b_all_against_the_whole_is_out_of_scope(self):
        p = {"lineage": np.array([[1.0, 0.0]]), "kind": np.array([[0.999999, 1e-6]])}
        scope = {role: np.ones(1) for role in ("lineage", "kind", "aml")}
        scopes = [combine(p, scope, np.array([evidence]), 0)[1][0] for evidence in (6.0, 0.0, -6.0, np.nan)]
        assert scopes[3] == pytest.approx(1)
        assert scopes[0] > 0.99
        assert scopes[1] > 0.8
        assert scopes[2] < 0.1


def test_a_bundle_that_has_it_counts_it_and_one_without_does_not(tmp_path):
    """Around a shipped bundle, with axes that rebuild this one sample: the answer moves by what the whole says."""
    shipped, one = bundle("expression"), sample(counts("DUX4-r"))
    plain = dataclasses.replace(shipped, manifest={k: v for k, v in shipped.manifest.items() if k != "whole"})
    assert load_whole(plain) == (None, {})
    before = judge(one, plain)
    assert not before.says["lineage"].pushes.any()
    ranks = before.says["kind"].ranks
    made = whole.Whole(ranks - 0.5, np.ones((1, len(ranks))) / np.sqrt(len(ranks)), middle=0.5, slope=20.0)
    facts = save_whole(made, {"b_all": Novelty((99.0, 1.0), (0.0, 1.0), 0.0, 3.0)}, tmp_path)
    for name in ("heads.json", "heads.safetensors"):
        (tmp_path / name).write_bytes(shipped.file(name).read_bytes())
    with_it = judge(one, seal_bundle(tmp_path, shipped.manifest | {"whole": facts}))
    push = whole.lineage_push(before.says["kind"].p, 0, whole.MOST)
    assert with_it.says["lineage"].pushes.tolist() == pytest.approx([0.0, push])
    assert with_it.says["lineage"].p[1] < before.says["lineage"].p[1]
    assert with_it.says["kind"].p == pytest.approx(before.says["kind"].p)
    assert with_it.novel == {"b_all": True}


class TestNovelty:
    def test_a_remainder_is_no_named_class(self):
        assert named_margin(np.array([[5.0, 1.0, 2.0]]), ("B-ALL other", "DUX4-r", "iAMP21")).tolist() == [2.0]

    def test_few_nats_and_a_strange_profile_are_novel(self):
        one = Novelty((5.0, 2.0), (0.3, 0.1), 0.5, 1.0)
        usual, faint, strange, unmeasured = one.score(np.array([5.0, 1.0, 5.0, 5.0]), np.array([0.3, 0.3, 0.6, np.nan]))
        assert usual == pytest.approx(0)
        assert faint > one.cut
        assert strange > one.cut
        assert unmeasured == pytest.approx(0)


class TestThresholds:
    def p(self, n=200):
        """BCR::ABL1 is right from 0.8 up and often wrong below; T-ALL is always right."""
        rng = np.random.default_rng(1)
        sure = np.where(np.arange(n) % 2, rng.uniform(0.8, 0.99, n), rng.uniform(0.5, 0.8, n))
        p = np.column_stack([sure, 0.99 - sure, np.full(n, 0.01)])
        truth = np.where((sure < 0.8) & (rng.random(n) < 0.5), "BCR::ABL1-like", "BCR::ABL1").tolist()
        return np.vstack([p, np.tile([0.05, 0.05, 0.9], (30, 1))]), truth + ["T-ALL"] * 30

    def test_the_class_that_errs_needs_more_and_its_group_does_not(self):
        p, truth = self.p()
        found = fit_thresholds(p, truth, LEAVES)
        assert 0.75 < found["BCR::ABL1"] < 0.9
        assert found["b_all_ph"] < 0.99
        assert all(LEAST <= threshold <= MOST for threshold in found.values())

    def test_answers_are_judged_under_thresholds_of_other_people(self):
        p, truth = self.p()
        yes = np.ones(len(truth), bool)
        answers = cross_fitted(p, truth, LEAVES, np.arange(len(truth)), yes, yes)
        said = answer_figures(answers, truth, LEAVES)
        assert said["answered_right"] > 0.95
        assert said["parent_sure_right"] == 1.0
        assert said["answered"] + said["parent_sure"] + said["unclassified"] == pytest.approx(1)
        none = cross_fitted(p, truth, LEAVES, np.arange(len(truth)), ~yes, yes)
        assert answer_figures(none, truth, LEAVES)["unclassified"] == 1.0


def test_genes_that_tell_a_class_are_found_and_weights_lie_in_between():
    y = np.repeat(["a", "b", "c"], [20, 20, 10])
    X = np.random.default_rng(0).normal(size=(50, 30))
    X[y == "c", 7] += 9
    assert 7 in telling(X, y, 1)
    assert len(telling(X, y, 1)) <= 3
    assert even_weights(y, 0.0) == pytest.approx(np.ones(50))
    assert even_weights(y, 1.0)[-1] == pytest.approx(2 * even_weights(y, 1.0)[0])
