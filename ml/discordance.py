"""Which findings contradict each other, at which node, and how strongly.

The unit is the label, not the group above it: what a finding speaks for is its own most probable label, a set of
leaves. APL in one finding and T-ALL in another contradict each other at "acute leukaemia", although the first says
little of AML as a whole; AML in one and NPM1 in the other do not, because the one contains the other.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.findings import MODALITY_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence


class Contradiction(NamedTuple):
    """Two findings that favour disjoint sets of leaves (positions), below ``node``.

    ``strength`` (nats): the smaller of the two findings' evidence for its own favourite over the other's, taken where
    the other's is strongest. ``odds`` of each are exp of its own.
    """

    node: str
    strength: float
    favours: tuple[frozenset[int], frozenset[int]]
    odds: tuple[float, float]


def favourite(reading: ev.Reading, prior: ev.Array, among: npt.NDArray[np.bool_]) -> frozenset[int]:
    """The leaves of the label that this finding alone makes most probable, of those ``among``; labels alike are one."""
    p = np.where(among, ev.posterior(prior, reading.evidence), 0.0)
    _, kind = np.unique(reading.member, axis=1, return_inverse=True)
    best = int(np.argmax(np.bincount(kind.ravel(), p)))
    return frozenset(np.flatnonzero((kind.ravel() == best) & among).tolist())


def contradiction(a: ev.Reading, b: ev.Reading, prior: ev.Array) -> Contradiction | None:
    """None where the two agree, where one is contained in the other, or where one does not mind the other's.

    Only leaves that both see count: what one does not see it cannot contradict.
    """
    both = ev.seen(a.member) & ev.seen(b.member)
    if not both.any() or not (a.evidence.any() and b.evidence.any()):
        return None
    for_a, for_b = favourite(a, prior, both), favourite(b, prior, both)
    if for_a & for_b:
        return None
    margins = (_margin(a, for_a, for_b), _margin(b, for_b, for_a))
    if min(margins) <= 0:
        return None
    leaves = load_tree().leaves
    node = load_tree().lowest_common_ancestor(leaves[i] for i in (*for_a, *for_b))
    return Contradiction(node, min(margins), (for_a, for_b), (math.exp(margins[0]), math.exp(margins[1])))


def _margin(reading: ev.Reading, own: frozenset[int], others: frozenset[int]) -> float:
    return float(reading.evidence[list(own)].max() - reading.evidence[list(others)].max())


def strongest(readings: Sequence[ev.Reading], prior: ev.Array) -> float:
    found = (contradiction(a, b, prior) for a, b in combinations(readings, 2))
    return max((said.strength for said in found if said), default=0.0)


def discordance(readings: Sequence[ev.Reading], prior: ev.Array, threshold: float) -> list[dict[str, Any]]:
    """Every pair that contradicts each other at least so strongly, the strongest first."""
    pairs = [(a, b, contradiction(a, b, prior)) for a, b in combinations(readings, 2)]
    said = [_said(a, b, found) for a, b, found in pairs if found and found.strength >= threshold]
    return sorted(said, key=lambda entry: -entry["strength"])


def _said(a: ev.Reading, b: ev.Reading, found: Contradiction) -> dict[str, Any]:
    tree = load_tree()
    names = [_name(a, found.favours[0]), _name(b, found.favours[1])]
    message = (
        f"{MODALITY_NAMES[a.modality].capitalize()} and {MODALITY_NAMES[b.modality]} contradict each other at "
        f"{tree.nodes[found.node].name}: {names[0]} against {names[1]}, each by at least "
        f"{math.exp(found.strength):.0f} to 1. Check that both are of this patient."
    )
    sides = zip((a, b), names, found.favours, found.odds, strict=True)
    return {
        "modalities": [a.modality, b.modality],
        "node": found.node,
        "strength": found.strength,
        "message": message,
        "sides": [
            {
                "modality": r.modality,
                "label": r.finding.label,
                "favours": name,
                "leaves": [tree.leaves[i] for i in sorted(leaves)],
                "odds": odds,
            }
            for r, name, leaves, odds in sides
        ],
    }


def _name(reading: ev.Reading, favours: frozenset[int]) -> str:
    """The node with exactly these leaves; "AML other than …" where a node has them but for a few; else the label."""
    tree = load_tree()
    meant = {tree.leaves[i] for i in favours}
    node = tree.lowest_common_ancestor(meant)
    rest = set(tree.leaves_under(node)) - meant
    if not rest:
        return tree.nodes[node].name
    if len(rest) == 1:
        return f"{tree.nodes[node].name} other than {tree.nodes[rest.pop()].name}"
    return f"{tree.nodes[node].name}, {reading.finding.label}"
