"""The alternative to the evidence formula: a stacked ensemble over what each modality says of the lineages.

A soft vote of a multinomial logistic regression and extremely randomised trees (scikit-learn), whose features are each
modality's evidence for each lineage, with an indicator of what is missing. It is kept as plain arrays: nothing is ever
unpickled. It speaks only of lineages that every finding present sees, and shares out among them the probability that
the evidence gives them together; within a lineage, and for what one finding cannot see, the evidence stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy.special import softmax
from sklearn.ensemble import ExtraTreesClassifier, VotingClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

from ml import evidence as ev
from ml.findings import MODALITIES
from ml.lineages import LINEAGES, lineage_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sklearn.pipeline import Pipeline

STACK_FILE = "stack.safetensors"
LEARNED = tuple(name for name in LINEAGES if name != "mpal")  # of mixed phenotype there is nobody to learn from


def features(evidence: Mapping[str, ev.Array], prior: ev.Array) -> npt.NDArray[np.float32]:
    """Modality → (…, L) evidence, as (…, modalities · lineages); NaN for what is missing. Rows that are NaN stay so.

    Of a lineage: the log of the prior-weighted mean of exp(evidence) over its leaves.
    """
    of = lineage_matrix()[[LINEAGES.index(name) for name in LEARNED]] * prior
    shares = of / of.sum(axis=1, keepdims=True)
    shape = np.broadcast_shapes(*(e.shape[:-1] for e in evidence.values())) if evidence else ()
    missing = np.full((*shape, len(LEARNED)), np.nan)
    parts = [np.log(np.exp(evidence[m]) @ shares.T) if m in evidence else missing for m in MODALITIES]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def ensemble(seed: int) -> Pipeline:
    """The scikit-learn estimator, as it is fitted."""
    inputs = make_union(
        SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True), MissingIndicator(features="all")
    )
    members = [
        ("linear", LogisticRegression(C=1.0, max_iter=2000)),
        ("trees", ExtraTreesClassifier(40, max_depth=7, min_samples_leaf=10, random_state=seed)),
    ]
    return make_pipeline(inputs, VotingClassifier(members, voting="soft"))


@dataclass(frozen=True)
class Stack:
    """A fitted ensemble as arrays. ``classes`` (K,) are positions in LEARNED; trees are padded to (T, nodes)."""

    classes: npt.NDArray[np.int64]
    coef: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]

    @classmethod
    def of(cls, fitted: Pipeline) -> Stack:
        vote = fitted[-1]
        linear, forest = vote.named_estimators_["linear"], vote.named_estimators_["trees"]
        trees = [member.tree_ for member in forest.estimators_]
        size = max(tree.node_count for tree in trees)

        def padded(name: str) -> npt.NDArray[Any]:
            rows = [getattr(tree, name) for tree in trees]
            return np.stack([np.pad(row, [(0, size - len(row))] + [(0, 0)] * (row.ndim - 1)) for row in rows])

        value = padded("value")[:, :, 0, :]
        return cls(
            classes=np.asarray(vote.classes_, np.int64),
            coef=linear.coef_,
            intercept=linear.intercept_,
            left=padded("children_left"),
            right=padded("children_right"),
            feature=padded("feature"),
            threshold=padded("threshold"),
            value=value / np.maximum(value.sum(axis=-1, keepdims=True), 1e-12),
        )

    def save(self, path: Path) -> None:
        save_file({name: np.ascontiguousarray(array) for name, array in vars(self).items()}, path)

    @classmethod
    def load(cls, path: Path) -> Stack:
        return cls(**load_file(path))

    def predict(self, X: npt.NDArray[np.float32]) -> ev.Array:
        """(n, F) features, NaN where missing → (n, K) probabilities, as the ensemble's own ``predict_proba``."""
        inputs = np.hstack([np.nan_to_num(X, nan=0.0), np.isnan(X)]).astype(np.float32)
        linear = softmax(inputs.astype(np.float64) @ self.coef.T + self.intercept, axis=1)
        return np.asarray((linear + self._forest(inputs)) / 2)

    def _forest(self, X: npt.NDArray[np.float32]) -> ev.Array:
        rows, trees = np.arange(len(X))[:, None], np.arange(len(self.left))[None, :]
        at = np.zeros((len(X), len(self.left)), np.int64)
        while (inner := self.left[trees, at] > 0).any():
            goes_left = X[rows, np.maximum(self.feature[trees, at], 0)] <= self.threshold[trees, at]
            at = np.where(inner, np.where(goes_left, self.left[trees, at], self.right[trees, at]), at)
        return np.asarray(self.value[trees, at].mean(axis=1))

    def reweigh(self, p: ev.Array, readings: Sequence[ev.Reading], prior: ev.Array) -> ev.Array:
        """The evidence's (L,) posterior ``p`` with the lineages that all ``readings`` see weighed by the ensemble."""
        if not readings:
            return p
        X = features({r.modality: r.evidence for r in readings}, prior)[None]
        common = np.all([ev.seen(r.member) for r in readings], axis=0)
        return self.reweigh_many(p[None], X, common[None])[0]

    def reweigh_many(self, p: ev.Array, X: npt.NDArray[np.float32], common: npt.NDArray[np.bool_]) -> ev.Array:
        """``p`` (n, L), ``X`` (n, F), ``common`` (n, L): the leaves that all findings of the row see."""
        rows = [LINEAGES.index(LEARNED[k]) for k in self.classes]
        of = lineage_matrix()[rows]
        inside = np.where(common, p, 0.0)
        held = inside @ of.T
        said = self.predict(X) * (held > 0)
        shares = said / np.maximum(said.sum(axis=1, keepdims=True), 1e-300) * held.sum(axis=1, keepdims=True)
        factor = (shares / np.maximum(held, 1e-300)) @ of
        touched = common & of.any(axis=0)
        return np.asarray(np.where(touched, p * factor, p))
