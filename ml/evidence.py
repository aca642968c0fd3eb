"""What findings mean for the leaves of the diagnosis tree, as numbers: evidence, posterior, prediction set.

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
    kinds = [{tuple(column) for column in member[:, columns(node)].T if column.any()} for node in (one, other)]
    return bool(kinds[0] and kinds[1] and kinds[0] != kinds[1])


def group_evidence(prior: Array, evidence: Array, at: npt.NDArray[np.int64]) -> float:
    """The evidence for the leaves at these positions together: log of the prior-weighted mean of exp(evidence)."""
    return float(np.log(prior[at] @ np.exp(evidence[at]) / prior[at].sum()))


def mass_above(p: Array, evidence: Array) -> Array:
    """(…, L), (…, L) → (…, L): the probability of all leaves with stronger evidence than this one.

    The score of an adaptive prediction set (Romano et al. 2020, arXiv:2006.02544), but in the order of the evidence:
    the prior says how much a leaf weighs, never which comes first; leaves that nothing tells apart stay together.
    """
    is_above = evidence[..., None, :] > evidence[..., :, None] + 1e-9
    return np.asarray((is_above * p[..., None, :]).sum(axis=-1))


def prediction_set(p: Array, evidence: Array, mass: float) -> list[str]:
    """The fewest nodes that hold exactly the leaves with at most ``mass`` above them; the most probable node first."""
    held = {leaf for leaf, above in zip(load_tree().leaves, mass_above(p, evidence), strict=True) if above <= mass}
    return sorted(_cover(load_tree().root, held), key=lambda node: -p[columns(node)].sum())


def _cover(node: str, held: set[str]) -> Iterable[str]:
    tree = load_tree()
    under = set(tree.leaves_under(node))
    if under <= held:
        return [node]
    return [part for child in tree.children(node) for part in _cover(child, held)] if under & held else []


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


def contradictions(a: Reading, b: Reading, prior: Array) -> dict[str, tuple[float, list[str], list[str]]]:
    """Node → (strength, what a favours, what b favours), where both see several children and favour different ones.

    Strength (nats): the smaller of the two modalities' evidence for its own favourite over the other's. It is of the
    leaves that both see: what only one sees cannot be contradicted. Children favoured alike are listed together.
    """
    both, found = seen(a.member) & seen(b.member), {}
    for node in load_tree().nodes:
        seen_of = {child: columns(child)[both[columns(child)]] for child in load_tree().children(node)}
        of_a, of_b = (
            {c: group_evidence(prior, r.evidence, at) for c, at in seen_of.items() if at.size} for r in (a, b)
        )
        if len(of_a) < 2:
            continue
        for_a, for_b = _favourites(of_a), _favourites(of_b)
        margins = [max(of.values()) - max(of[c] for c in rivals) for of, rivals in ((of_a, for_b), (of_b, for_a))]
        if min(margins) > 0:
            found[node] = (min(margins), for_a, for_b)
    return found


def _favourites(of: Mapping[str, float]) -> list[str]:
    return [child for child, value in of.items() if value >= max(of.values()) - 1e-9]
