"""The case at one glance: what is there and what is missing, what to mind, what would help most, which models spoke.

Rows for the templates, out of stored JSON. Keys that an older assessment lacks are drawn as nothing.
"""

from clinic.cases.models import ItemKind, ItemStatus
from clinic.portal.templatetags.portal import modality_name
from ml.diagnosis_tree import load_tree
from ml.findings import BUNDLE_OF_MODALITY, MODALITIES


def presence(items, findings, used):
    """One row a kind of input: how many files, what they say, and whether that counted. ``used``: modalities fused."""
    said = {one["body"]["modality"]: one["body"] for one in findings}
    return [_present(kind, [i for i in items if i.kind == kind], said.get(kind), used) for kind in ItemKind.values]


def _present(kind, own, said, used):
    count = {status: sum(item.status == status for item in own) for status in ItemStatus.values}
    return {
        "kind": kind,
        "name": modality_name(kind),
        "accepted": count["valid"],
        "refused": count["rejected"],
        "checking": count["received"],
        "read": kind in BUNDLE_OF_MODALITY,
        "said": said,
        "counts": bool(said) and kind in used,
        "state": _state(count, said, counts=kind in used),
    }


def _state(count, said, *, counts):
    if said:
        return "counts" if counts else "left out"
    if count["valid"]:
        return "present"
    return "checking" if count["received"] else "refused" if count["rejected"] else "missing"


def warnings(findings):
    """What the quality of the inputs asks to be minded, the blocking first, each named by its modality."""
    flags = [
        {"modality": one["body"]["modality"], **flag}
        for one in findings
        for flag in [*one["body"].get("quality", []), *({"message": reason} for reason in one["reasons"])]
    ]
    return sorted(flags, key=lambda flag: not flag.get("blocking"))


def next_tests(body):
    """The missing kinds of result, the most informative first."""
    rows = []
    for said in body.get("next_tests", []):
        now = said.get("entropy_now") or 0.0
        share = min(max(said["entropy_reduction"] / now, 0.0), 1.0) if now else 0.0
        rows.append(
            {
                **said,
                "name": modality_name(said["modality"]),
                "share": share,
                "likely": [
                    {"name": _node(one["node"]), "probability": one["probability"]}
                    for one in said.get("likely_answers", [])
                ],
            }
        )
    return rows


def counterfactuals(body):
    """Had one kind of result been missing: what would have been answered, and whether that is another answer."""
    answer = (body.get("answer") or {}).get("node")
    said = body.get("counterfactual") or {name: {"answer": one} for name, one in body.get("without", {}).items()}
    return [
        {
            "name": modality_name(modality),
            "answer": one["answer"],
            "changes": one.get("changes_answer", (one["answer"] or {}).get("node") != answer),
            "probability_of_answer": one.get("probability_of_answer"),
            "set": [_node(node) for node in one.get("prediction_set", [])],
            "urgent": one.get("urgent", []),
        }
        for modality, one in sorted(said.items(), key=lambda pair: _order(pair[0]))
    ]


def sides(discordance):
    """What each of two contradicting results favours, where the fusion says it by label."""
    return [
        {**said, "name": modality_name(said["modality"]), "favours": said.get("favours") or said.get("label")}
        for said in discordance.get("sides", [])
    ]


def models(body):
    """Which versions spoke: the fusion, the tree, and the bundle of each finding with the start of its hash."""
    return [
        {"what": "Diagnosis tree" if name == "tree" else modality_name(name).capitalize(), **_version(text)}
        for name, text in sorted(body.get("versions", {}).items(), key=lambda pair: _order(pair[0]))
    ]


def _version(text):
    reference, _, sha256 = text.partition("#")
    return {"reference": reference, "sha256": sha256}


def _order(modality):
    return MODALITIES.index(modality) if modality in MODALITIES else len(MODALITIES)


def _node(node):
    known = load_tree().nodes.get(node)
    return known.name if known else "No answer" if node == "abstained" else node
