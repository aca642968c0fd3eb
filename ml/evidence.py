"""What findings mean for the leaves of the diagnosis tree, as numbers: evidence and posterior.

    evidence   e(leaf) = log( s · p(y∋leaf)/π(y∋leaf) + 1 − s )    for the leaves that a modality sees, 0 for the others
    posterior  P(leaf) ∝ prior(leaf) · exp( Σ w · e(leaf) )

p, π: calibrated probability and training share, each summed over the labels that contain the leaf; s: in-scope score.
Dividing by π turns a posterior into a likelihood ratio (Saerens et al. 2002, doi:10.1162/089976602753284446); s mixes
it with "says nothing". All arrays are float64; leaves are in the tree's order, L of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.diagnosis_tree import load_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ml.findings import Finding

Array = npt.NDArray[np.float64]


def membership(leaves: Mapping[str, Sequence[str]]) -> Array:
    """(k, L): 1 where the label (row, in the mapping's order) contains the leaf. ValueError for what is no leaf."""
    order = load_tree().leaves
    if unknown := sorted({leaf for ids in leaves.values() for leaf in ids} - set(order)):
        raise ValueError(f"No leaves of the diagnosis tree: {unknown}")
    return np.array([[float(leaf in ids) for leaf in order] for ids in leaves.values()]).reshape(-1, len(order))


def leaf_evidence(p: Array, in_scope: Array | float, member: Array, share: Array, cap: float) -> Array:
    """The evidence e of (…, k) label probabilities for the leaves: (…, L), in nats, always finite.

    ``member`` (k, L), ``share`` (k,) above 0. ``in_scope`` (…) is capped at ``cap`` < 1, so that no single modality can
    rule a leaf out: the strongest word against one is log(1 − cap).
    """
    seen = member.any(axis=0)
    ratio = (p @ member) / np.where(seen, share @ member, 1.0)
    trust = np.minimum(np.asarray(in_scope, dtype=np.float64), cap)[..., None]
    return np.where(seen, np.log(trust * ratio + (1.0 - trust)), 0.0)


def posterior(prior: Array, evidence: Array) -> Array:
    """Prior (L,) · exp(evidence (…, L)), normalised over the leaves."""
    logits = np.log(prior) + evidence
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


@lru_cache(maxsize=1)
def node_matrix() -> Array:
    """(N, L): 1 where the node (row, in the tree's order) has the leaf under it."""
    tree = load_tree()
    return np.array([[float(leaf in tree.leaves_under(node)) for leaf in tree.leaves] for node in tree.nodes])


@lru_cache(maxsize=256)
def columns(node: str) -> npt.NDArray[np.int64]:
    """The positions of a node's leaves."""
    tree = load_tree()
    return np.array([tree.leaves.index(leaf) for leaf in tree.leaves_under(node)])


def seen(member: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(member.any(axis=0))


def separates(member: Array, one: str, other: str) -> bool:
    """Whether a modality sees both nodes and its labels do not fall on them alike: only then can it tell them apart."""
    return _separates(member.tobytes(), len(member), one, other)


@lru_cache(maxsize=4096)
def _separates(member: bytes, k: int, one: str, other: str) -> bool:
    labels = np.frombuffer(member).reshape(k, -1)
    kinds = [{tuple(column) for column in labels[:, columns(node)].T if column.any()} for node in (one, other)]
    return bool(kinds[0] and kinds[1] and kinds[0] != kinds[1])


@dataclass(frozen=True)
class Reading:
    """One usable finding in the leaves' terms: ``evidence`` (L,) times its weight, ``member`` (k, L)."""

    finding: Finding
    evidence: Array
    member: Array

    @property
    def modality(self) -> str:
        return self.finding.modality


def read(finding: Finding, rules: Mapping[str, Any]) -> Reading:
    labels = list(finding.leaves)
    p = np.array([finding.probabilities[label] for label in labels])
    share = np.array([finding.training_share[label] for label in labels])
    if not (np.isfinite(p).all() and (p >= 0).all() and (share > 0).all() and 0 <= finding.in_scope <= 1):
        raise ValueError(f"{finding.bundle}: probabilities, training shares or in-scope score out of range")
    member = membership(finding.leaves)
    evidence = leaf_evidence(p, finding.in_scope, member, share, rules["scope_cap"])
    return Reading(finding, rules["weights"][finding.modality] * evidence, member)


def total(readings: Iterable[Reading]) -> Array:
    return sum((r.evidence for r in readings), start=np.zeros(len(load_tree().leaves)))


def told_apart(readings: Iterable[Reading], one: str, other: str) -> bool:
    return any(r.evidence.any() and separates(r.member, one, other) for r in readings)
