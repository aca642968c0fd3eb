"""Normalisation of samples × genes as scikit-learn transformers, so that a sample alone is what it is in a batch.

Whatever a method usually takes from the batch (the reference sample and the mean factor of TMM, the mean library of
log-CPM's prior) is learned from the training samples and kept; a sample is then transformed from itself alone.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.stats import gmean, rankdata
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from genomics.tables import Array
from ml.findings import InputRejected


class WithinSampleRank(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Ranks within each sample, over the genes that it has: in (0, 1], ties shared, everything below ``floor`` alike.

    A gene that is absent is NaN and stays so. Any monotone scale gives the same (counts, CPM and their logarithms).
    Foroutan et al. 2018, doi:10.1186/s12859-018-2435-4.
    """

    def __init__(self, floor: float = 0.0) -> None:
        self.floor = floor

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 (scikit-learn's signature)
        """``X`` (n, g): only its width is learned."""
        validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        return self

    def transform(self, X: Any) -> Array:
        """(n, g) ranks. ValueError for another number of genes or an infinite value."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        present = np.maximum(np.isfinite(X).sum(axis=1, keepdims=True), 1)
        ranks = rankdata(X, axis=1, nan_policy="omit") / present
        return np.where(np.isnan(X), np.nan, np.maximum(ranks, self.floor))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.requires_fit = True
        return tags


class LogCPM(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """log2 counts per million with a prior count in proportion to the library, as ``cpm(log=TRUE)`` of edgeR.

    ``prior_count`` is added to a library of the mean size of training (``mean_library_``). Robinson et al. 2010,
    doi:10.1093/bioinformatics/btp616.
    """

    def __init__(self, prior_count: float = 2.0) -> None:
        self.prior_count = prior_count

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 (scikit-learn's signature)
        """``X`` (n, g) counts of the training samples. ValueError for negative ones, InputRejected for all zero."""
        X = self._counts(X, reset=True)
        self._learn(X)
        self.mean_library_ = float(self._libraries(X).mean())
        return self

    def transform(self, X: Any) -> Array:
        """(n, g) log2 CPM. Errors as of ``fit``, and ValueError for another number of genes."""
        check_is_fitted(self)
        X = self._counts(X, reset=False)
        library = self._libraries(X)[:, None]
        prior = self.prior_count * library / self.mean_library_
        return np.asarray(np.log2((X + prior) / (library + 2 * prior) * 1e6))

    def _learn(self, X: Array) -> None:
        """What a subclass takes from the training samples."""

    def _libraries(self, X: Array) -> Array:
        """(n,) size of each library."""
        return np.asarray(X.sum(axis=1))

    def _counts(self, X: Any, *, reset: bool) -> Array:
        X = validate_data(self, X, dtype=np.float64, reset=reset)
        check_non_negative(X, f"{type(self).__name__} (counts)")
        if (empty := np.flatnonzero(X.sum(axis=1) == 0)).size:
            raise InputRejected(
                "all_zero",
                place=f"row {empty[0] + 1}",
                problem="Every count of this sample is zero.",
                remedy="Check the quantification, or leave the sample out.",
            )
        return X

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class TMMLogCPM(LogCPM):
    """LogCPM with libraries scaled by the trimmed mean of M-values against a reference sample of the training set.

    The reference is the training sample whose upper quartile is nearest to the mean (``reference_``, (g,) counts). As
    edgeR's ``calcNormFactors``, whose factors multiply to one within a batch; here within training. ``m_trim`` and
    ``a_trim`` are trimmed off either end of the log ratios and of the mean expression. Robinson and Oshlack 2010,
    doi:10.1186/gb-2010-11-3-r25.
    """

    def __init__(self, prior_count: float = 2.0, m_trim: float = 0.3, a_trim: float = 0.05) -> None:
        super().__init__(prior_count)
        self.m_trim = m_trim
        self.a_trim = a_trim

    def factors(self, X: Any) -> Array:
        """(n,) factors by which the libraries of counts ``X`` (n, g) are scaled."""
        check_is_fitted(self)
        return self._factors(self._counts(X, reset=False))

    def _learn(self, X: Array) -> None:
        quartile = np.quantile(X[:, X.any(axis=0)], 0.75, axis=1) / X.sum(axis=1)
        self.reference_ = X[int(np.argmin(np.abs(quartile - quartile.mean())))].copy()
        self.mean_factor_ = 1.0
        self.mean_factor_ = float(gmean(self._factors(X)))

    def _factors(self, X: Array) -> Array:
        return np.array([trimmed_mean(row, self.reference_, self.m_trim, self.a_trim) for row in X]) / self.mean_factor_

    def _libraries(self, X: Array) -> Array:
        return super()._libraries(X) * self._factors(X)


def trimmed_mean(counts: Array, reference: Array, m_trim: float, a_trim: float) -> float:
    """The factor of one sample (g,) against ``reference`` (g,); 1 where they share too few genes to tell."""
    both = (counts > 0) & (reference > 0)
    here, there = counts[both], reference[both]
    share, share_there = here / counts.sum(), there / reference.sum()
    m, a = np.log2(share / share_there), np.log2(share * share_there) / 2
    variance = (1 - share) / here + (1 - share_there) / there
    kept = _within(m, m_trim) & _within(a, a_trim) & (variance > 0)
    if not kept.any() or np.abs(m).max() < 1e-6:
        return 1.0
    return float(2 ** (np.sum(m[kept] / variance[kept]) / np.sum(1 / variance[kept])))


def _within(values: Array, trim: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of ``values`` are left when a share ``trim`` is cut off at either end."""
    ranks, cut = rankdata(values), np.floor(len(values) * trim) + 1
    return (ranks >= cut) & (ranks <= len(values) - cut + 1)
