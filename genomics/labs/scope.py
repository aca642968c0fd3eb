"""Whether a panel is of the kind that the model has learned from: an adult with newly found acute leukaemia."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from genomics.labs.analytes import load_analytes

Array = npt.NDArray[np.float64]

ADULT = 16.0  # years; below it the training set has a dozen patients
CHILD_SCORE, NO_AGE_SCORE = 0.2, 0.8
OF_ABNORMAL = (0.05, 0.3, 0.8)  # score with none, one, two values outside the reference interval; 1 with more
CORE = ("wbc", "anc", "lymphocytes", "monocytes", "platelets", "mcv", "mchc", "pt_percent", "fibrinogen", "ldh")
ALARM = 0.999  # quantile of the training distances at which the score is one half


def transform(row: Array) -> Array:
    """Counts and enzymes on a logarithmic scale, where they are roughly symmetric."""
    return np.asarray(np.log1p(np.clip(row, 0, None)))


def fit_scope(X: Array) -> dict[str, Any]:
    """Mean and covariance of the transformed training rows (NaN: pairwise), and the quantiles of their distances."""
    Z = np.ma.masked_invalid(transform(X))
    mean = np.asarray(Z.mean(axis=0))
    covariance = np.asarray(np.ma.cov(Z, rowvar=False)) + 1e-3 * np.eye(Z.shape[1])
    said: dict[str, Any] = {"mean": mean.tolist(), "covariance": covariance.tolist()}
    distances = [distance(row, said) for row in X]
    return said | {"middle": float(np.quantile(distances, ALARM)), "usual": float(np.median(distances))}


def distance(row: Array, scope: dict[str, Any]) -> float:
    """Mahalanobis distance over the values present, divided by the root of their number."""
    here = np.isfinite(row)
    gap = transform(row)[here] - np.array(scope["mean"])[here]
    covariance = np.array(scope["covariance"])[np.ix_(here, here)]
    return float(np.sqrt(gap @ np.linalg.solve(covariance, gap) / max(here.sum(), 1)))


def judge_scope(values: dict[str, float], row: Array, scope: dict[str, Any]) -> tuple[float, list[str]]:
    """(score in [0, 1], reasons in words). ``values`` by analyte, ``row`` as features."""
    score, reasons = 1.0, []
    given = [key for key in CORE if key in values]
    abnormal = [key for key in given if not _usual(key, values[key])]
    if len(abnormal) < min(len(OF_ABNORMAL), len(given) / 2):
        score *= OF_ABNORMAL[len(abnormal)]
        reasons.append(
            f"{len(abnormal) or 'None'} of the values is outside the adult reference interval; the model has never "
            "seen healthy people, and names a leukaemia whatever it is given."
        )
    age = values.get("age")
    if age is None:
        score *= NO_AGE_SCORE
        reasons.append("The age is missing; it matters to the model.")
    elif age < ADULT:
        score *= CHILD_SCORE
        reasons.append(f"Age {age:g}: the model has learned from adults; children behave differently.")
    far = distance(row, scope)
    score *= float(1 / (1 + np.exp((far - scope["middle"]) / (0.1 * scope["middle"]))))
    if far > scope["middle"]:
        reasons.append("The combination of values is unlike any in the training set: check units and decimal points.")
    return score, reasons


def _usual(key: str, value: float) -> bool:
    low_high = load_analytes()[key].reference
    return low_high is not None and low_high[0] <= value <= low_high[1]
