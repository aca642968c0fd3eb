"""The figures of the labs model: five folds, one centre left out, cut-offs, recalibration, and simple models beside it.

Every choice (members' fit, temperature, cut-off) is made by ``fit`` inside the training rows of each fold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from genomics.cards import DATA_LABS
from genomics.labs.data import LabSet
from genomics.labs.features import CLASSES
from genomics.labs.fitting import as_tcga, fit
from genomics.labs.scope import transform
from genomics.labs.site import learn
from ml.calibration import metrics_report

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Parts = list[tuple[Rows, Rows]]

FOLDS = 5
ROUNDS = 500  # of the bootstrap
LOCAL = 40  # labelled cases with which a site is recalibrated in the figures
COVERAGES = (0.4, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Judged:
    """Held-out predictions (n, 3) of the five folds (``p``) and of the other centre; the rest is JSON."""

    p: Array
    across: Array
    metrics: dict[str, Any]
    baselines: dict[str, Any]
    coverage: dict[str, Any]
    cut_offs: dict[str, Any]


@dataclass(frozen=True)
class _HeldOut:
    """Predictions for rows that the fit has not seen: all values, TCGA's alone, and the cut-off of their fold."""

    p: Array
    few: Array
    cut_off: Array


def judge(labs: LabSet, seed: int) -> Judged:
    parts = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labs.X, labs.y))
    centres = [(np.flatnonzero(labs.centre != c), np.flatnonzero(labs.centre == c)) for c in labs.centres()]
    full, sparse = held_out(labs, "full", parts, seed), held_out(labs, "sparse", parts, seed)
    across = held_out(labs, "full", centres, seed)
    metrics = {
        "5-fold": _report(full.p, labs, "stratified 5-fold"),
        **_other_centre(across.p, labs, seed),
        "few values": _report(sparse.few, labs, "stratified 5-fold, age, WBC, platelets, monocytes"),
    }
    coverage = {
        "5-fold": coverage_of(full.p, labs.y, full.cut_off),
        "other centre": coverage_of(across.p, labs.y, across.cut_off),
        "few values": coverage_of(sparse.few, labs.y, sparse.cut_off),
    }
    stated = {"full": coverage["5-fold"]["above_cut_off"], "sparse": coverage["few values"]["above_cut_off"]}
    return Judged(full.p, across.p, metrics, _baselines(labs, parts, centres), coverage, stated)


def held_out(labs: LabSet, which: str, parts: Parts, seed: int) -> _HeldOut:
    """Predictions of every row by a model that was fitted, calibrated and cut off on the other rows of its part."""
    shape = (len(labs.y), len(CLASSES))
    p, few, cut_off = np.full(shape, np.nan), np.full(shape, np.nan), np.full(len(labs.y), np.nan)
    for train, test in tqdm(parts, desc=f"labs: {which}"):
        model = fit(labs.X[train], labs.y[train], which, seed)
        p[test], few[test], cut_off[test] = (
            model.predict(labs.X[test]),
            model.predict(as_tcga(labs.X[test])),
            model.cut_off,
        )
    return _HeldOut(p, few, cut_off)


def coverage_of(p: Array, y: Rows, cut_off: Array) -> dict[str, Any]:
    """Share right among the surest so many, and above the cut-off of each row's own fold."""
    order, right = np.argsort(-p.max(axis=1), kind="stable"), p.argmax(axis=1) == y
    above = p.max(axis=1) >= cut_off
    shares = {str(share): float(right[order[: max(int(share * len(y)), 1)]].mean()) for share in COVERAGES}
    stated = {
        "n": int(above.sum()),
        "coverage": float(above.mean()),
        "accuracy": float(right[above].mean()) if above.any() else None,
    }
    return {"accuracy": shares, "above_cut_off": stated}


# --- another centre ---------------------------------------------------------------------------------------------------


def _other_centre(p: Array, labs: LabSet, seed: int) -> dict[str, Any]:
    """As it is, with the centre's class shares known, and recalibrated with LOCAL cases of its own."""
    known, local = p.copy(), p.copy()
    for name in labs.centres():
        rows = np.flatnonzero(labs.centre == name)
        known[rows] = _with_shares(p[rows], labs.y[rows])
        local[rows] = cross_recalibrated(p[rows], labs.y[rows], LOCAL, np.random.default_rng(seed))
    split = "leave one centre out"
    return {
        "other centre": _report(p, labs, split),
        **{f"{c} held out": _report(p, labs, split, c) for c in labs.centres()},
        "other centre, class shares known": _report(known, labs, f"{split}; the centre's true shares as prior"),
        f"other centre, {LOCAL} local cases": _report(local, labs, f"{split}; recalibrated with {LOCAL} others of it"),
    }


def _with_shares(p: Array, y: Rows) -> Array:
    scaled = p * (np.bincount(y, minlength=len(CLASSES)) / len(y))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def cross_recalibrated(p: Array, y: Rows, cases: int, rng: np.random.Generator) -> Array:
    """Each half of the rows, recalibrated with ``cases`` drawn from the other half."""
    out, order = p.copy(), rng.permutation(len(y))
    halves = order[: len(y) // 2], order[len(y) // 2 :]
    for mine, other in (halves, halves[::-1]):
        drawn = other[:cases]
        out[mine] = learn(p[drawn], y[drawn]).apply(p[mine])
    return out


# --- reports ----------------------------------------------------------------------------------------------------------


def _report(p: Array, labs: LabSet, split: str, centre: str | None = None) -> dict[str, Any]:
    rows = np.ones(len(labs.y), bool) if centre is None else labs.centre == centre
    data = DATA_LABS["name"] if centre is None else f"centre {centre}"
    said = metrics_report(p[rows], labs.y[rows], CLASSES)
    for k, name in enumerate(CLASSES):
        said["per_class"][name] |= _auc_interval(p[rows, k], labs.y[rows] == k)
    return {"data": data, "split": split} | said


def _auc_interval(score: Array, positive: npt.NDArray[np.bool_]) -> dict[str, float]:
    """95 % percentile bootstrap over patients, within each class, so that a rare class never is empty."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    drawn = []
    for _ in range(ROUNDS):
        rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
        drawn.append(roc_auc_score(positive[rows], score[rows]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"auc_low": float(low), "auc_high": float(high)}


def _baselines(labs: LabSet, parts: Parts, centres: Parts) -> dict[str, Any]:
    """The majority of the training rows, and a plain logistic regression, in the same splits."""
    out: dict[str, Any] = {}
    for split, rows in (("5-fold", parts), ("other centre", centres)):
        out[f"majority, {split}"] = {"accuracy": float((_predicted(labs, rows, _majority).argmax(1) == labs.y).mean())}
        figures = metrics_report(_predicted(labs, rows, _logistic), labs.y, CLASSES)["figures"]
        said = {name: figures[name]["value"] for name in ("accuracy", "auc_macro")}
        out[f"logistic regression, {split}"] = said
    return out


def _predicted(labs: LabSet, parts: Parts, by: Callable[[Array, Rows, Array], Array]) -> Array:
    p = np.empty((len(labs.y), len(CLASSES)))
    for train, test in parts:
        p[test] = by(labs.X[train], labs.y[train], labs.X[test])
    return p


def _majority(_: Array, y: Rows, X: Array) -> Array:
    return np.tile(np.bincount(y, minlength=len(CLASSES)) / len(y), (len(X), 1))


def _logistic(X: Array, y: Rows, new: Array) -> Array:
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=2000))
    return np.asarray(model.fit(transform(X), y).predict_proba(transform(new)))
