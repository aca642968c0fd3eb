"""The two members of the model: boosted trees and a logistic regression on logarithms. Their margins are averaged.

Both are trained as if the classes were equally common, so that they say what the values speak for, and nothing of how
many ALL or APL a hospital sees. With a hundred cases the line is the better of the two, with several hundred the
trees; their mean is as good as either (see the card). A mean of margins keeps contributions exact: they add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from genomics.labs.features import CLASSES, FEATURES, LINES, lines, with_ratios

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

PARAMETERS = {
    "objective": "multiclass",
    "num_class": len(CLASSES),
    "num_leaves": 10,
    "learning_rate": 0.05,
    "min_child_samples": 5,
    "lambda_l2": 5.0,
    "extra_trees": True,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "verbose": -1,
}
STRENGTH = 0.1  # C of the logistic regression


@dataclass(frozen=True)
class Line:
    """A logistic regression on standardised lines: ``mean``, ``scale`` (f,), ``weight`` (3, f), ``bias`` (3,).

    A missing value stands at its mean and so contributes nothing.
    """

    mean: Array
    scale: Array
    weight: Array
    bias: Array

    def parts(self, X: Array) -> Array:
        """(n, BASE) → (n, 3, FEATURES + 1): contributions to the margins, the last of them the intercept."""
        z = np.nan_to_num((lines(X) - self.mean) / self.scale)
        out = np.zeros((len(X), len(CLASSES), len(FEATURES) + 1))
        for k, (key, _) in enumerate(LINES):
            out[:, :, FEATURES.index(key)] += z[:, k, None] * self.weight[:, k]
        out[:, :, -1] = self.bias
        return out

    def margins(self, X: Array) -> Array:
        return np.asarray(np.nan_to_num((lines(X) - self.mean) / self.scale) @ self.weight.T + self.bias)

    def as_dict(self) -> dict[str, list[float]]:
        return {name: value.tolist() for name, value in vars(self).items()}


@dataclass(frozen=True)
class Members:
    trees: lgb.Booster
    line: Line

    def margins(self, X: Array) -> Array:
        """(n, BASE) → (n, 3): the mean of both members' log-odds, before calibration."""
        of_trees = np.asarray(self.trees.predict(with_ratios(X), raw_score=True, num_threads=1))
        return (_centred(of_trees) + _centred(self.line.margins(X))) / 2

    def parts(self, X: Array) -> Array:
        """(n, 3, FEATURES + 1): what each feature adds to the margins, exactly; the last one is the intercept.

        Trees: SHAP (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9). Line: weight times standardised value.
        """
        each = np.asarray(self.trees.predict(with_ratios(X), pred_contrib=True, num_threads=1))
        of_trees = each.reshape(len(X), len(CLASSES), len(FEATURES) + 1)
        return (_centred(of_trees) + _centred(self.line.parts(X))) / 2


def _centred(margins: Array) -> Array:
    """Margins of one member whose mean over the classes is zero: only differences mean anything."""
    return np.asarray(margins - margins.mean(axis=1, keepdims=True))


def even_weights(y: Rows) -> Array:
    """(n,) weights with which all classes of ``y`` weigh the same, and 1 on average."""
    count = np.bincount(y, minlength=len(CLASSES))
    return np.asarray(len(y) / (np.count_nonzero(count) * np.maximum(count, 1)))[y]


def fit_line(X: Array, y: Rows) -> Line:
    """From (n, BASE) values and (n,) classes, each of which must be there."""
    raw = lines(X)
    mean, scale = np.nanmean(raw, axis=0), np.nanstd(raw, axis=0) + 1e-9
    z = np.nan_to_num((raw - mean) / scale)
    fitted = LogisticRegression(C=STRENGTH, max_iter=3000).fit(z, y, sample_weight=even_weights(y))
    return Line(mean, scale, np.asarray(fitted.coef_), np.asarray(fitted.intercept_))


def fit_members(X: Array, y: Rows, trees: int, seed: int) -> Members:
    data = lgb.Dataset(with_ratios(X), y, weight=even_weights(y))
    return Members(lgb.train({**PARAMETERS, "seed": seed}, data, trees), fit_line(X, y))
