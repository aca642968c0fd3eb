"""The answer: the deepest node that is probable enough and that some finding can tell from its siblings.

- The walk goes down from the root and takes a step only if the child passes the threshold of its level **and** some
  finding can tell it from each of its siblings, the rare ones excepted (by the tree). So a prior never answers what no
  result has looked at: labs alone never say B-ALL, though most ALL is.
- One step may be presumed, because the referral asks just that: that there is an acute leukaemia at all. An answer
  below says that it presumes; the presumption alone is no answer.
- The walk stops where two modalities contradict each other. The root is no answer: staying there is to abstain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.posterior import by_node, for_combination

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

PRESUMED = "acute_leukaemia"


def answer(
    p: ev.Array, readings: Sequence[ev.Reading], stops: Collection[str], thresholds: Mapping[str, Any]
) -> dict[str, Any] | None:
    """``stops``: the nodes at which findings contradict each other. None where the walk ends where it may not."""
    tree, shares = load_tree(), by_node(p)
    node: str = tree.root
    while readings and node not in stops and (child := _next_step(node, shares, readings, thresholds)):
        node = child
    if node == tree.root or (node == PRESUMED and not is_told_apart(node, readings, thresholds)):
        return None
    return {"node": node, "name": tree.nodes[node].name, "probability": shares[node]}


def _next_step(
    node: str, shares: dict[str, float], readings: Sequence[ev.Reading], thresholds: Mapping[str, Any]
) -> str | None:
    tree = load_tree()
    if not tree.children(node):
        return None
    child = max(tree.children(node), key=shares.__getitem__)
    passes = shares[child] >= for_combination(thresholds["level"], readings)[str(tree.depth(child))]
    return child if passes and (child == PRESUMED or is_told_apart(child, readings, thresholds)) else None


def obstacle(p: ev.Array, readings: Sequence[ev.Reading], thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """Of a walk that found no answer: the step that it would have had to take next, and what kept it from that."""
    tree, shares = load_tree(), by_node(p)
    first = _next_step(tree.root, shares, readings, thresholds)
    child = max(tree.children(first or tree.root), key=shares.__getitem__)
    limit = for_combination(thresholds["level"], readings)[str(tree.depth(child))]
    told_apart = is_told_apart(child, readings, thresholds)
    return {"node": child, "value": shares[child], "threshold": limit, "told_apart": told_apart}


def is_told_apart(node: str, readings: Sequence[ev.Reading], thresholds: Mapping[str, Any]) -> bool:
    """From each sibling that is not rare beside it."""
    tree = load_tree()
    siblings = [s for s in tree.children(tree.path(node)[-2]) if s != node]
    common = [s for s in siblings if tree.nodes[s].prior > thresholds["rare_sibling"] * tree.nodes[node].prior]
    return all(ev.told_apart(readings, node, sibling) for sibling in common)
