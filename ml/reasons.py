"""Why there is no answer, what was left out, and what an answer rests on: codes for machines, sentences for people.

Every reason has ``code`` and ``message``; where a number decided, also ``value`` and ``threshold`` (from the bundle),
and ``modality`` or ``node`` where it is about one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml import evidence as ev
from ml.answers import PRESUMED, obstacle
from ml.diagnosis_tree import load_tree
from ml.findings import MODALITY_NAMES, Finding, percent
from ml.posterior import by_node
from ml.urgent import is_looked_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Reason = dict[str, Any]

ABSTENTIONS = ("no_modality", "low_quality", "all_out_of_scope", "conflicting", "no_node_passes")
LEFT_OUT = {
    "low_quality": "was left out: the quality of the input does not allow a reading.",
    "out_of_scope": "was left out: the input does not resemble what the model was trained on.",
}


def unusable(finding: Finding, thresholds: Mapping[str, Any]) -> str | None:
    """The code of why this finding is not used; None where it is."""
    if finding.label is None:
        return "low_quality" if any(q.blocking for q in finding.quality) else "out_of_scope"
    return "out_of_scope" if finding.in_scope < thresholds["in_scope"][finding.modality] else None


def usable(findings: Iterable[Finding], rules: Mapping[str, Any]) -> list[ev.Reading]:
    return [ev.read(f, rules) for f in findings if unusable(f, rules["thresholds"]) is None]


def reasons(
    findings: Sequence[Finding],
    readings: Sequence[ev.Reading],
    answer: Mapping[str, Any] | None,
    p: ev.Array,
    discordance: Sequence[Mapping[str, Any]],
    thresholds: Mapping[str, Any],
) -> list[Reason]:
    left_out = [_left_out(f, code, thresholds) for f in findings if (code := unusable(f, thresholds))]
    why = [] if answer else [_why_abstained(findings, left_out, readings, p, discordance, thresholds)]
    return [*why, *left_out, *_caveats(readings, answer)]


def _left_out(finding: Finding, code: str, thresholds: Mapping[str, Any]) -> Reason:
    said = " ".join(q.message for q in finding.quality if q.blocking) or " ".join(finding.reasons)
    name = MODALITY_NAMES[finding.modality].removeprefix("the ").capitalize()
    measured = {"value": finding.in_scope, "threshold": thresholds["in_scope"][finding.modality]}
    return {
        "code": f"{finding.modality}_{code}",
        "message": f"{name}: it {LEFT_OUT[code]} {said}".strip(),
        "modality": finding.modality,
        **(measured if code == "out_of_scope" else {}),
    }


def _why_abstained(
    findings: Sequence[Finding],
    left_out: Sequence[Reason],
    readings: Sequence[ev.Reading],
    p: ev.Array,
    discordance: Sequence[Mapping[str, Any]],
    thresholds: Mapping[str, Any],
) -> Reason:
    tree, shares = load_tree(), by_node(p)
    if not findings:
        return {
            "code": "no_modality",
            "message": "There is nothing to assess: no image, expression or laboratory result.",
        }
    if len(left_out) == len(findings):
        poor = all(said["code"].endswith("low_quality") for said in left_out)
        return {
            "code": "low_quality" if poor else "all_out_of_scope",
            "message": "No result could be used; see the reason of each. Repeat them, or add another kind.",
        }
    if at_root := [said for said in discordance if said["node"] in {tree.root, PRESUMED}]:
        worst = {"value": at_root[0]["strength"], "threshold": thresholds["discordance"], "node": at_root[0]["node"]}
        return {"code": "conflicting", "message": at_root[0]["message"], **worst}
    best = sorted(tree.children(tree.root), key=lambda node: -shares[node])
    odds = ", ".join(f"{tree.nodes[node].name} {percent(shares[node])}" for node in best)
    return {
        "code": "no_node_passes",
        "message": f"The results leave it open ({odds}). Add another kind of result.",
        **obstacle(p, readings, thresholds),
    }


def _caveats(readings: Sequence[ev.Reading], answer: Mapping[str, Any] | None) -> list[Reason]:
    caveats: list[Reason] = []
    presumes = answer and PRESUMED in load_tree().path(answer["node"])
    if presumes and not ev.told_apart(readings, PRESUMED, "no_leukaemia"):
        message = "No result here can tell acute leukaemia from none. The answer holds if there is an acute leukaemia."
        caveats.append({"code": "leukaemia_presumed", "message": message, "node": PRESUMED})
    if readings and not is_looked_at(readings):
        message = "No result here can tell APL from other acute leukaemia: APL is neither found nor excluded."
        caveats.append({"code": "apl_not_assessed", "message": message, "node": "apl"})
    return caveats


def not_assessed(readings: Sequence[ev.Reading], p: ev.Array) -> list[Reason]:
    """The highest nodes of which no result here sees a leaf: in no set, and excluded by nothing."""
    tree, shares = load_tree(), by_node(p)
    seen = {leaf for r in readings for leaves in r.finding.leaves.values() for leaf in leaves}
    blind = [node for node in tree.nodes if not seen & set(tree.leaves_under(node))]
    highest = [node for node in blind if tree.parent(node) not in blind]
    return [{"node": node, "name": tree.nodes[node].name, "probability": shares[node]} for node in highest]
