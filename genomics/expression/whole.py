"""Whether a profile as a whole lies among those of B-ALL, whatever single genes say.

A linear head weighs genes one by one; a sample of another lineage, or one whose genes were moved by batch correction,
can pass for B-ALL in all of them and still be put together like none. What of a profile the main components of B-ALL
cannot rebuild (a share of its squared distance from the mean of B-ALL) tells that: as a likelihood ratio that counts
against AML and in the scope, and, for subtypes, in whether a sample is like any that was learned. Missing genes are
left out of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

Array = npt.NDArray[np.float64]

COMPONENTS = 40
MOST = 6.0  # nats: the profile as a whole never says more than this
FEWEST = 100  # genes, below which nothing is said
RIDGE = 1e-9


@dataclass(frozen=True)
class Whole:
    """``mean`` (g,) and ``axes`` (k, g) of ranks; log-likelihood ratio = slope · (middle − share not rebuilt)."""

    mean: Array
    axes: Array
    middle: float = 0.0
    slope: float = 0.0

    def unlike(self, ranks: Array) -> Array:
        """(n, g) ranks, NaN where absent → (n,) share of the distance from the mean that the components do not give."""
        return np.array([self._unlike(row - self.mean) for row in ranks])

    def _unlike(self, away: Array) -> float:
        here = np.isfinite(away)
        if here.sum() < FEWEST:
            return float("nan")
        axes, away = self.axes[:, here], away[here]
        along: Array = axes @ away
        if not here.all():
            along = np.asarray(np.linalg.solve(axes @ axes.T + RIDGE * np.eye(len(axes)), along), dtype=np.float64)
        return float(1 - np.square(along @ axes).sum() / max(np.square(away).sum(), 1e-12))

    def evidence(self, unlike: Array) -> Array:
        """(n,) shares → (n,) nats for B-ALL and against all else, at most MOST either way; NaN where none are known."""
        return np.asarray(np.clip(self.slope * (self.middle - unlike), -MOST, MOST))


def fit_axes(ranks: Array) -> Whole:
    """Mean and main components of the samples (n, g) of B-ALL; what they are worth is still unset."""
    mean = ranks.mean(axis=0)
    axes = np.linalg.svd(ranks - mean, full_matrices=False)[2][:COMPONENTS]
    return Whole(mean.astype(np.float16).astype(float), axes.astype(np.float16).astype(float))


def fit_evidence(inside: Array, outside: Array) -> tuple[float, float]:
    """(middle, slope) from shares of held-out B-ALL and of others, both taken to be equally common."""
    x = np.concatenate([inside, outside])
    y = np.concatenate([np.ones(len(inside)), np.zeros(len(outside))])
    model = LogisticRegression(C=1e4, class_weight="balanced").fit(x[:, None] * 10, y)
    slope = -float(model.coef_[0, 0]) * 10
    return float(model.intercept_[0]) / slope, slope


def weigh(p_aml: Array, p_kind: Array, b_all: int, evidence: Array) -> Array:
    """Probability of AML (n,) once ``evidence`` (n,) for the kind ``b_all`` among ``p_kind`` (n, k) has counted.

    Only what speaks for B-ALL counts. That a profile is put together unlike the B-ALL that was learned makes it no AML
    and no T-ALL: with a cohort left out, counting it called B-ALL of other laboratories T-ALL. It goes into the scope.
    """
    for_b = np.exp(np.maximum(np.nan_to_num(evidence), 0.0))
    others = (1 - p_aml) * (p_kind.sum(axis=1) - p_kind[:, b_all] + p_kind[:, b_all] * for_b)
    return np.asarray(p_aml / np.maximum(p_aml + others, 1e-300))


def lineage_push(p_kind: Array, b_all: int, evidence: float) -> float:
    """What evidence for B-ALL adds to the log-odds of AML against all else; 0 where there is none."""
    if not evidence > 0:
        return 0.0
    return -float(np.log(p_kind.sum() - p_kind[b_all] + p_kind[b_all] * np.exp(evidence)))
