"""Fit the two members, their temperature and their cut-off from one set of rows: whatever is chosen, is chosen inside.

The same function fits the shipped model and that of every fold that reports, so that no figure has seen a choice made
on its own rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from genomics.labs.features import BASE, CLASSES
from genomics.labs.members import Members, even_weights, fit_members
from ml.calibration import apply_temperature, fit_temperature

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TREES = {"full": 300, "sparse": 400}
COPIES = 4  # of every row, with values taken away, to teach the sparse model
INNER = 5
ALWAYS = ("wbc",)
TCGA_VALUES = ("age", "wbc", "platelets", "monocytes_percent", "monocytes")
AIM = 0.95  # share of right answers above the cut-off
LEAST = 20  # answers above a cut-off, below which nothing can be said of them


@dataclass(frozen=True)
class Fitted:
    """Members, their temperature, and the least probability at which an answer stands (2: none was good enough)."""

    members: Members
    temperature: float
    cut_off: float

    def predict(self, X: Array) -> Array:
        """(n, BASE) → (n, 3) calibrated, the three taken to be equally common."""
        return apply_temperature(self.members.margins(X), self.temperature)


def fit(X: Array, y: Rows, which: str, seed: int) -> Fitted:
    """A model of complete panels (``full``), or one that has learned to do without values (``sparse``)."""
    margins = np.empty((len(y), len(CLASSES)))
    asked = X if which == "full" else as_tcga(X)
    for train, test in StratifiedKFold(INNER, shuffle=True, random_state=1000 + seed).split(X, y):
        margins[test] = _members(X[train], y[train], which, seed).margins(asked[test])
    temperature = fit_temperature(margins, y, even_weights(y))
    cut_off = least_sure(apply_temperature(margins, temperature), y)
    return Fitted(_members(X, y, which, seed), temperature, cut_off)


def _members(X: Array, y: Rows, which: str, seed: int) -> Members:
    if which == "sparse":
        X, y = thinned(X, y, np.random.default_rng(seed))
    return fit_members(X, y, TREES[which], seed)


def thinned(X: Array, y: Rows, rng: np.random.Generator) -> tuple[Array, Rows]:
    """The rows, and COPIES of them with up to 80 % of the values (never WBC) taken away."""
    copies = [X]
    keep = [BASE.index(key) for key in ALWAYS]
    for _ in range(COPIES):
        gone = rng.random(X.shape) < rng.uniform(0.2, 0.8, (len(X), 1))
        gone[:, keep] = False
        copies.append(np.where(gone, np.nan, X))
    return np.vstack(copies), np.tile(y, COPIES + 1)


def as_tcga(X: Array) -> Array:
    """Only what TCGA-LAML's table has."""
    return np.where(np.isin(BASE, TCGA_VALUES), X, np.nan)


def least_sure(p: Array, y: Rows) -> float:
    """The least probability of the answer such that, of all answers as sure or surer, AIM are right.

    One more wrong answer is counted than was seen, so that a lucky few do not set it. 2.0 where none is good enough.
    """
    order = np.argsort(-p.max(axis=1), kind="stable")
    sure, right = p.max(axis=1)[order], np.cumsum(p.argmax(axis=1)[order] == y[order])
    answered = np.arange(1, len(y) + 1)
    last_as_sure = np.append(np.diff(sure) < 0, True)  # answers that are equally sure stand or fall together
    good = np.flatnonzero((right / (answered + 1) >= AIM) & (answered >= LEAST) & last_as_sure)
    return float(sure[good[-1]]) if len(good) else 2.0
