"""Calibration and the figures that every card names: with their intervals, from out-of-fold probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def fit_temperature(logits: Array, y: Labels, weights: Array | None = None) -> float:
    """The temperature T that minimises the log-loss of softmax(logits / T) (Guo et al. 2017, arXiv:1706.04599).

    ``logits`` (n, k), held out from the fit of the model; ``y`` (n,) in 0..k-1; ``weights`` (n,) of the rows, all equal
    where none are given.
    """

    def loss(log_t: float) -> float:
        said = -log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(y)), y]
        return float(np.average(said, weights=weights))

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 4.0), method="bounded").x))


def apply_temperature(logits: Array, temperature: float) -> Array:
    return np.asarray(softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1))


def expected_calibration_error(p: Array, y: Labels, bins: int = 15) -> float:
    """ECE of the top label: Σ (bin share)·|accuracy − confidence|, equal-width bins."""
    top, hit = p.max(axis=1), p.argmax(axis=1) == y
    which = np.minimum((top * bins).astype(int), bins - 1)
    gaps = [abs(hit[which == b].mean() - top[which == b].mean()) * (which == b).mean() for b in np.unique(which)]
    return float(np.sum(gaps))


def brier_score(p: Array, y: Labels) -> float:
    """Multi-class Brier score: mean squared distance of the probability vector to the one-hot truth (0 to 2)."""
    return float(np.square(p - np.eye(p.shape[1])[y]).sum(axis=1).mean())


def log_loss(p: Array, y: Labels) -> float:
    return float(-np.log(np.clip(p[np.arange(len(y)), y], 1e-15, 1)).mean())


def macro_auc(p: Array, y: Labels) -> float:
    """Mean one-vs-rest AUC-ROC over the classes that have both members and non-members in ``y``; NaN if none has."""
    able = [k for k in range(p.shape[1]) if 0 < int((y == k).sum()) < len(y)]
    return float(np.mean([roc_auc_score(y == k, p[:, k]) for k in able])) if able else float("nan")


def _macro(score: Callable[..., Any], p: Array, y: Labels) -> float:
    return float(score(y, p.argmax(axis=1), average="macro", labels=np.unique(y), zero_division=0))


FIGURES: dict[str, Callable[[Array, Labels], float]] = {
    "accuracy": lambda p, y: float((p.argmax(axis=1) == y).mean()),
    "balanced_accuracy": lambda p, y: _macro(recall_score, p, y),
    "f1_macro": lambda p, y: _macro(f1_score, p, y),
    "auc_macro": macro_auc,
    "log_loss": log_loss,
    "brier": brier_score,
    "ece": expected_calibration_error,
}


@dataclass(frozen=True)
class Figure:
    """A measured figure with its 95 % interval."""

    value: float
    low: float
    high: float


def resamples(groups: npt.NDArray[Any], rounds: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """``rounds`` times the rows of as many groups (n,) as there are, drawn with replacement: a bootstrap by group."""
    rng = np.random.default_rng(seed)
    _, of_row = np.unique(groups, return_inverse=True)
    rows_of = [np.flatnonzero(of_row == g) for g in range(of_row.max() + 1)]
    for _ in range(rounds):
        yield np.concatenate([rows_of[g] for g in rng.integers(0, len(rows_of), len(rows_of))])


def interval_text(figure: Mapping[str, float]) -> str:
    """A figure with its interval, for people."""
    return f"{figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"


def measure(
    p: Array, y: Labels, groups: npt.NDArray[Any] | None = None, rounds: int = 500, seed: int = 0
) -> dict[str, Figure]:
    """Every figure of FIGURES with a 95 % percentile bootstrap over ``groups`` (patients), or rows where none are.

    ``p`` (n, k) probabilities; ``y`` (n,) true class indices. Resampling whole groups keeps the interval honest where
    one patient gave many rows.
    """
    draws: dict[str, list[float]] = {name: [] for name in FIGURES}
    for rows in resamples(np.arange(len(y)) if groups is None else groups, rounds, seed):
        for name, figure in FIGURES.items():
            draws[name].append(figure(p[rows], y[rows]))
    low_high = {name: np.nanpercentile(values, [2.5, 97.5]) for name, values in draws.items()}
    return {n: Figure(f(p, y), float(low_high[n][0]), float(low_high[n][1])) for n, f in FIGURES.items()}


def metrics_report(
    p: Array, y: Labels, labels: tuple[str, ...], groups: npt.NDArray[Any] | None = None
) -> dict[str, Any]:
    """JSON for a card: n, every figure with its interval, sensitivity and specificity per class, confusion matrix."""
    matrix = confusion_matrix(y, p.argmax(axis=1), labels=range(len(labels)))
    total, diagonal = matrix.sum(), np.diag(matrix)
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    per_class = {
        label: {
            "n": int(rows[k]),
            "sensitivity": float(diagonal[k] / rows[k]) if rows[k] else None,
            "specificity": float((total - rows[k] - columns[k] + diagonal[k]) / (total - rows[k]))
            if total > rows[k]
            else None,
            "auc": float(roc_auc_score(y == k, p[:, k])) if 0 < rows[k] < total else None,
        }
        for k, label in enumerate(labels)
    }
    figures = {name: vars(figure) for name, figure in measure(p, y, groups).items()}
    return {
        "n": len(y),
        "figures": figures,
        "per_class": per_class,
        "confusion": matrix.tolist(),
        "labels": list(labels),
    }
