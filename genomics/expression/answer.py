"""From probabilities to an answer in the diagnosis tree: as deep as it is sure, and no deeper.

An answer is a label of the model; where that is not sure enough, the deepest group of the tree that is (its parent is
sure, the rest is not); where not even a lineage is, there is none. Each node has its own threshold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml.diagnosis_tree import load_tree
from ml.findings import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWERED, PARENT_SURE, UNCLASSIFIED = "answered", "parent_sure", "unclassified"
LINEAGES = ("no_leukaemia", "b_all", "t_all", "aml")
OTHERWISE = "otherwise"
SURE = {OTHERWISE: 0.9}  # of bundles that have no thresholds of their own


def place_of(leaves: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Label → the deepest node of the tree that holds all its leaves: a leaf, or where the label is a remainder."""
    return {label: load_tree().lowest_common_ancestor(ids) for label, ids in leaves.items()}


def node_probabilities(p: Mapping[str, float], leaves: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """Node → the probability of the labels that lie wholly under it, for every node from the labels' up to the root."""
    tree, out = load_tree(), dict[str, float]()
    for label, node in place_of(leaves).items():
        for above in tree.path(node):
            out[above] = out.get(above, 0.0) + p[label]
    return out


def answer(
    p: Mapping[str, float],
    leaves: Mapping[str, tuple[str, ...]],
    thresholds: Mapping[str, float] = SURE,
    *,
    in_scope: bool = True,
    known: bool = True,
) -> dict[str, Any]:
    """JSON: ``status``, ``node``, ``name``, ``label``, ``probability``, ``path``, ``why``.

    ``thresholds``: node or label → least probability, ``otherwise`` for those that have none. ``in_scope`` False: no
    answer at all. ``known`` False: the sample is like no class that was learned, so that only the lineage can stand.
    ``path`` has every step from the lineage to the most probable label, with whether it is sure.
    """
    best = max(p, key=p.__getitem__)
    path = _path(best, p, leaves, thresholds)
    sure = 0
    for step in path:
        if not (in_scope and step["sure"] and (known or step["node"] in LINEAGES)):
            break
        sure += 1
    if not sure:
        return _said(UNCLASSIFIED, None, path, _why_none(path, in_scope=in_scope))
    status = ANSWERED if sure == len(path) else PARENT_SURE
    return _said(status, path[sure - 1], path, _why(path, sure, known=known))


def steps_to(
    best: str, p: Mapping[str, float], leaves: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, str | None, float]]:
    """(node, label, probability) from the lineage down to the label ``best``; groups have no label."""
    tree, of_node = load_tree(), node_probabilities(p, leaves)
    nodes = tree.path(place_of(leaves)[best])
    start = next((k for k, node in enumerate(nodes) if node in LINEAGES), len(nodes) - 1)
    *above, last = nodes[start:]
    if last not in tree.leaves and of_node[last] > p[best]:  # a remainder: its node holds other labels too
        above.append(last)
    return [*((node, None, of_node[node]) for node in above), (last, best, p[best])]


def _path(
    best: str, p: Mapping[str, float], leaves: Mapping[str, tuple[str, ...]], thresholds: Mapping[str, float]
) -> list[dict[str, Any]]:
    path: list[dict[str, Any]] = []
    for node, label, probability in steps_to(best, p, leaves):
        needed = thresholds.get(label or node, thresholds[OTHERWISE])
        name = label if any(step["node"] == node for step in path) else load_tree().nodes[node].name
        step = {"node": node, "name": name, "label": label, "probability": probability, "needed": needed}
        path.append(step | {"sure": probability >= needed})
    return path


def _said(status: str, step: dict[str, Any] | None, path: list[dict[str, Any]], why: str) -> dict[str, Any]:
    named = {key: step[key] if step else None for key in ("node", "name", "label", "probability")}
    return {"status": status, **named, "path": path, "why": why}


def _why(path: list[dict[str, Any]], sure: int, *, known: bool) -> str:
    here = path[sure - 1]
    said = f"{here['name']} is sure enough ({percent(here['probability'])}, {percent(here['needed'])} needed)"
    if sure == len(path):
        return f"{said}."
    if not known:
        return f"{said}; the profile is like no subtype that was learned."
    below = path[sure]
    return f"{said}; {below['name']} is not ({percent(below['probability'])}, {percent(below['needed'])} needed)."


def _why_none(path: list[dict[str, Any]], *, in_scope: bool) -> str:
    if not in_scope:
        return "The profile is unlike those that the model has learned from."
    first = path[0]
    return f"{first['name']} is the most probable, and not sure enough ({percent(first['probability'])})."
