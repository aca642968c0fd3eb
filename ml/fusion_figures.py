"""Accuracy, log-loss, Brier and calibration error with intervals; the difference of two methods on the same people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ml import evidence as ev

ROUNDS = 300
ECE_BINS = 15


def classes(p: ev.Array, common: npt.NDArray[np.bool_], member: ev.Array) -> ev.Array:
    """(n, L) → (n, k): the probabilities of the rows of ``member``, given that it is one of the ``common`` leaves."""
    inside = (p * common) @ member.T
    return np.asarray(inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-300))


def figures(p: ev.Array, y: npt.NDArray[np.int64], people: npt.NDArray[np.str_], seed: int = 0) -> dict[str, Any]:
    """Accuracy, log-loss, Brier and ECE, each with its 95 % interval."""
    columns = _columns(p, y)
    draws = _resampled(columns, people, seed)
    values = _values(columns.sum(axis=0, keepdims=True), np.array([len(y)]))
    return {
        name: {
            "value": round(float(values[name][0]), 4),
            "low": round(float(np.quantile(draws[name], 0.025)), 4),
            "high": round(float(np.quantile(draws[name], 0.975)), 4),
        }
        for name in values
    }


def difference(
    p: ev.Array, q: ev.Array, y: npt.NDArray[np.int64], people: npt.NDArray[np.str_], seed: int = 0
) -> dict[str, Any]:
    """Of log-loss and accuracy: p's minus q's on the same patients, with the interval of the difference."""
    found = {}
    one, other = (_resampled(_columns(x, y), people, seed) for x in (p, q))
    at_p, at_q = (_values(_columns(x, y).sum(axis=0, keepdims=True), np.array([len(y)])) for x in (p, q))
    for name in ("log_loss", "accuracy"):
        low, high = np.quantile(one[name] - other[name], [0.025, 0.975])
        value = float(at_p[name][0] - at_q[name][0])
        found[name] = {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
    return found


def _columns(p: ev.Array, y: npt.NDArray[np.int64]) -> ev.Array:
    """(n, 3 + bins): hit, log-loss, Brier, and confidence minus hit in the bin of the confidence."""
    top, hit = p.max(axis=1), p.argmax(axis=1) == y
    loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12))
    brier = np.square(p - np.eye(p.shape[1])[y]).sum(axis=1)
    bins = np.eye(ECE_BINS)[np.minimum((top * ECE_BINS).astype(int), ECE_BINS - 1)]
    return np.column_stack([hit, loss, brier, bins * (top - hit)[:, None]])


def _resampled(columns: ev.Array, people: npt.NDArray[np.str_], seed: int) -> dict[str, ev.Array]:
    _, at = np.unique(people, return_inverse=True)
    g = int(at.max()) + 1
    sums = np.zeros((g, columns.shape[1]))
    np.add.at(sums, at, columns)
    counts = np.random.default_rng(seed).multinomial(g, np.full(g, 1 / g), ROUNDS)
    return _values(counts @ sums, counts @ np.bincount(at))


def _values(sums: ev.Array, n: npt.NDArray[Any]) -> dict[str, ev.Array]:
    means = sums / n[:, None]
    names = ("accuracy", "log_loss", "brier")
    return dict(zip(names, means[:, :3].T, strict=True)) | {"ece": np.abs(means[:, 3:]).sum(axis=1)}


def share(hits: Any) -> dict[str, float] | None:
    """A share with its 95 % Wilson interval."""
    said = list(hits)
    if not said:
        return None
    n, p, z = len(said), float(np.mean(said)), 1.96
    centre, spread = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    return {"n": n, "value": round(p, 4), "low": round(float(max(low, 0)), 4), "high": round(float(min(high, 1)), 4)}


def log_loss(p: ev.Array, y: npt.NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())
