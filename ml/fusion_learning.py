"""What the fusion learns from patients: the weights of the evidence, and the stacked ensemble beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logsumexp

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.findings import MODALITIES
from ml.lineages import LINEAGES, lineage_index
from ml.stacking import LEARNED, Stack, ensemble, features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml.virtual_patients import Patients, Source

SCOPE_CAP = 0.99
MAX_WEIGHT = 1.5  # so that a fit on few people cannot run away
PAIRS_COUNT = 3.0  # real people count as much as so many combinations of virtual ones
ALONE_COUNTS = 0.25  # alone, a modality is calibrated by its own bundle; its weight is what it is worth beside others
SHRINKAGE = 2.0  # of each weight towards 1, its bundle's own calibration: a few people more or less must not move it


def tree_prior() -> ev.Array:
    return np.array(list(load_tree().prior.values()))


@dataclass(frozen=True)
class Lesson:
    """The evidence of n people (M, n, L), and two masks (n, L): the leaves that all their modalities see, the truth."""

    evidence: ev.Array
    common: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.bool_]
    counts: float = 1.0

    def loss(self, w: ev.Array) -> float:
        """The mean log-loss of the truth among the common leaves, under weights w (M,).

        Among those only: that no AML patient has a smear field here is a property of the data sets, and must not teach
        a smear field to speak against AML.
        """
        logits = np.log(tree_prior()) + np.tensordot(w, self.evidence, axes=1)
        masks = (self.common, self.truth & self.common)
        among, right = (logsumexp(np.where(mask, logits, -np.inf), axis=1) for mask in masks)
        return float((among - right).mean()) * self.counts


def lesson_of(
    modalities: Sequence[str], sources: Mapping[str, Source], patients: Patients, counts: float = 1.0
) -> Lesson:
    n, leaves = len(patients), len(load_tree().leaves)
    evidence = np.zeros((len(modalities), n, leaves))
    for m, rows in patients.rows.items():
        evidence[modalities.index(m)] = sources[m].evidence(SCOPE_CAP)[rows]
    common = np.broadcast_to(common_leaves(sources, patients), (n, leaves))
    can_teach = (common & patients.truth).any(axis=1)
    return Lesson(evidence[:, can_teach], common[can_teach], patients.truth[can_teach], counts)


def common_leaves(sources: Mapping[str, Source], patients: Patients) -> npt.NDArray[np.bool_]:
    """(L,): the leaves that all modalities of these patients see."""
    return np.asarray(np.all([sources[m].seen for m in patients.modalities], axis=0))


def learn_weights(modalities: Sequence[str], lessons: Sequence[Lesson]) -> dict[str, float]:
    """The weights in [0, MAX_WEIGHT] with the least log-loss over all lessons; a modality not here has none."""
    able = [lesson for lesson in lessons if len(lesson.truth)]

    def loss(w: ev.Array) -> float:
        return sum(lesson.loss(w) for lesson in able) + SHRINKAGE * float(((w - 1) ** 2).sum())

    found = minimize(loss, np.ones(len(modalities)), bounds=[(0.0, MAX_WEIGHT)] * len(modalities), method="L-BFGS-B")
    return dict.fromkeys(MODALITIES, 0.0) | dict(zip(modalities, found.x.round(4).tolist(), strict=True))


def weighed_evidence(
    sources: Mapping[str, Source], patients: Patients, weights: Mapping[str, float]
) -> dict[str, ev.Array]:
    """Modality → (n, L), times its weight."""
    return {m: weights[m] * sources[m].evidence(SCOPE_CAP)[rows] for m, rows in patients.rows.items()}


def learn_stack(
    sources: Mapping[str, Source], groups: Sequence[Patients], weights: Mapping[str, float], seed: int
) -> Stack:
    """The ensemble of ``ml.stacking`` fitted to the lineages of these patients, each combination counting alike."""
    X = np.vstack([features(weighed_evidence(sources, some, weights), tree_prior()) for some in groups])
    y = np.concatenate([lineage_index()[some.leaf] for some in groups])
    taught = np.isin(y, [LINEAGES.index(name) for name in LEARNED])
    return Stack.of(ensemble(seed).fit(X[taught], y[taught]))


def posteriors(
    sources: Mapping[str, Source], patients: Patients, weights: Mapping[str, float], stack: Stack | None = None
) -> ev.Array:
    """(n, L) of the patients, as the fusion would say them."""
    of = weighed_evidence(sources, patients, weights)
    p = ev.posterior(tree_prior(), sum(of.values(), start=np.zeros((len(patients), len(load_tree().leaves)))))
    if stack is None:
        return p
    common = np.broadcast_to(common_leaves(sources, patients), p.shape)
    return stack.reweigh_many(p, features(of, tree_prior()), common)


def validation_statistics(source: Source) -> dict[str, Any]:
    """How the bundle's validation read each true label, for the next best test (``ml.next_test.Statistics``).

    One further case per label, spread as the labels are said over all, keeps a rare label from being sure.
    """
    labels = source.bundle.labels
    truth = np.array([[set(np.flatnonzero(row)) for row in source.means]], dtype=object).ravel()
    meant = {
        label: frozenset(np.flatnonzero(ev.membership({label: ids})[0])) for label, ids in source.bundle.leaves.items()
    }
    counts = np.zeros((len(labels), len(labels)))
    for row, said in zip(truth, source.p.argmax(axis=1), strict=True):
        true = [k for k, label in enumerate(labels) if meant[label] == row]
        for k in true:  # labels with the same leaves (maturation stages) cannot be told apart here: shared
            counts[k, said] += 1 / len(true)
    usual = (counts.sum(axis=0) + 1 / len(labels)) / (counts.sum() + 1)
    reads = (counts + usual) / (counts.sum(axis=1, keepdims=True) + 1)
    return {
        "bundle": source.bundle.reference,
        "leaves": source.bundle.leaves,
        "share": list(source.bundle.training_share.values()),
        "reads": reads.round(6).tolist(),
        "usable": round(source.usable, 4),
        "n": len(source.p),
    }
