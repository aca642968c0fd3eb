"""Normalisation: a sample alone is what it is in a batch, and the numbers are those of the published methods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from genomics.expression.heads import panel_ranks
from genomics.expression.normalise import LogCPM, TMMLogCPM, WithinSampleRank, trimmed_mean
from genomics.expression.reader import ExpressionTable
from ml.findings import InputRejected
from tests.genomics.make import counts

EMPTY_SAMPLES = ("check_estimators_dtypes", "check_fit2d_1feature")
ALL = (WithinSampleRank(floor=0.2), LogCPM(), TMMLogCPM())


@pytest.fixture(scope="module")
def cohort():
    """20 samples × 500 genes of negative binomial counts, of which some are shallow."""
    rng = np.random.default_rng(3)
    mean = rng.lognormal(3, 2, 500)
    depth = rng.lognormal(0, 1, (20, 1))
    return rng.poisson(mean * depth * rng.gamma(5, 0.2, (20, 500))).astype(float)


@pytest.mark.parametrize("transformer", ALL, ids=lambda t: type(t).__name__)
class TestEach:
    def test_a_sample_alone_is_what_it_is_in_a_batch(self, cohort, transformer):
        fitted = clone(transformer).fit(cohort[:12])
        for batch in (cohort[12:], cohort[::-1], cohort[12:14] * 50):
            together = fitted.transform(batch)
            alone = np.vstack([fitted.transform(row[None]) for row in batch])
            assert np.abs(together - alone).max() <= 1e-9

    def test_the_batch_teaches_nothing(self, cohort, transformer):
        fitted = clone(transformer).fit(cohort[:12])
        before = fitted.transform(cohort[12:])
        fitted.transform(cohort[:3] * 1000)
        assert np.array_equal(before, fitted.transform(cohort[12:]))

    def test_it_follows_scikit_learn(self, transformer):
        refused = dict.fromkeys(EMPTY_SAMPLES, "a sample without one count is refused") if transformer != ALL[0] else {}
        check_estimator(clone(transformer), on_skip=None, expected_failed_checks=refused)

    def test_it_works_within_a_pipeline(self, cohort, transformer):
        both = make_pipeline(clone(transformer), WithinSampleRank()).fit(cohort)
        assert both.transform(cohort).shape == cohort.shape


class TestRank:
    def test_ranks_are_those_that_the_heads_use(self):
        values = counts()
        genes = tuple(values)[:300]
        table = ExpressionTable(("S",), genes, np.array([[values[g] for g in genes]]), ("counts",))
        expected = panel_ranks(table, genes, per_length=False, floor=0.2)
        assert WithinSampleRank(floor=0.2).fit_transform(table.values) == pytest.approx(expected, abs=1e-12)

    def test_a_missing_gene_stays_missing_and_is_not_counted(self):
        said = WithinSampleRank().fit_transform([[5.0, np.nan, 1.0, 5.0]])
        assert said[0, [0, 2, 3]].tolist() == pytest.approx([2.5 / 3, 1 / 3, 2.5 / 3])
        assert np.isnan(said[0, 1])

    def test_a_monotone_scale_changes_nothing(self, cohort):
        ranks = WithinSampleRank().fit(cohort)
        assert np.array_equal(ranks.transform(cohort), ranks.transform(np.log2(cohort + 1)))
        assert np.array_equal(ranks.transform(cohort[:1])[0], rankdata(cohort[0]) / cohort.shape[1])


# Four samples × 12 genes and their factors as the package rnanorm 2.2.0 gives them, which is checked against edgeR.
TOY = np.array(
    [
        [10, 25, 40, 80, 120, 300, 500, 15, 60, 0, 900, 33],
        [12, 20, 44, 70, 150, 280, 560, 11, 55, 3, 5000, 30],
        [5, 13, 18, 45, 55, 160, 240, 9, 28, 1, 430, 20],
        [30, 70, 140, 230, 390, 880, 1600, 50, 200, 8, 40, 95],
    ],
    dtype=float,
)
FACTORS = [1.129520160685, 0.394526642234, 1.142846040346, 1.963549928320]


class TestCounts:
    def test_log_cpm_has_its_definition(self):
        fitted = LogCPM(prior_count=2).fit(TOY)
        library, prior = TOY[1].sum(), 2 * TOY[1].sum() / TOY.sum(axis=1).mean()
        expected = np.log2((TOY[1] + prior) / (library + 2 * prior) * 1e6)
        assert fitted.transform(TOY[1:2])[0] == pytest.approx(expected, abs=1e-12)

    def test_the_factors_are_those_of_edger(self):
        assert TMMLogCPM().fit(TOY).factors(TOY) == pytest.approx(FACTORS, abs=1e-9)

    def test_one_gene_that_takes_most_reads_moves_no_other(self, cohort):
        fitted, plain = TMMLogCPM().fit(cohort), LogCPM().fit(cohort)
        flooded = cohort[:1].copy()
        flooded[0, 7] += 20 * flooded.sum()
        rest = np.arange(500) != 7
        seen = rest & (cohort[0] > 20)
        moved = np.abs(fitted.transform(flooded) - fitted.transform(cohort[:1]))[0, seen]
        assert np.median(moved) < 0.2
        assert np.median(np.abs(plain.transform(flooded) - plain.transform(cohort[:1]))[0, seen]) > 3

    def test_the_reference_against_itself_needs_no_scaling(self, cohort):
        assert trimmed_mean(cohort[0], cohort[0], 0.3, 0.05) == 1
        assert trimmed_mean(cohort[0], 7 * cohort[0], 0.3, 0.05) == pytest.approx(1, abs=1e-12)

    def test_what_are_no_counts_is_refused(self):
        with pytest.raises(ValueError, match="Negative"):
            LogCPM().fit(-TOY)
        with pytest.raises(InputRejected, match="row 2") as caught:
            LogCPM().fit(TOY).transform(TOY * np.array([[1], [0], [1], [1]]))
        assert caught.value.code == "all_zero"
