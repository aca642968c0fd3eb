"""Late fusion: the findings of one case become one Assessment, or an Abstention with its reason.

A pure function of the findings, the fusion bundle and the prior. The formula is in ``ml.evidence``. On top of it:

- The answer walks down from the root and takes a step only if the child passes the threshold of its level **and** some
  finding can tell it from each of its siblings, the rare ones excepted (at most a tenth as common, by the tree). So a
  prior never answers what no result has looked at: labs alone never say B-ALL, though most ALL is.
- One step may be presumed, because the referral asks just that: that there is an acute leukaemia at all. An answer
  below says that it presumes; the presumption alone is no answer.
- The walk also stops where two modalities contradict each other.
- The root is no answer: staying there is to abstain.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.findings import MODALITIES, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ml.bundle import Bundle
    from ml.findings import Finding

PRESUMED = "acute_leukaemia"
RARE = 0.1
NAMES = {
    "smear_field": "the smear fields",
    "smear_cell": "the single cells",
    "expression": "gene expression",
    "labs": "the laboratory values",
}
APL_MESSAGE = (
    "Acute promyelocytic leukaemia is not excluded (probability {p}). Treat as an emergency: check coagulation "
    "(PT, aPTT, fibrinogen, D-dimer, platelets) now. PML::RARA by FISH or RT-PCR, or PML antibody immunofluorescence, "
    "excludes it. The ELN guideline starts ATRA on suspicion, before these are back (doi:10.1182/blood-2019-01-894980)."
)


@dataclass(frozen=True)
class Assessment:
    """What the fusion says. ``status`` is assessed or abstained; ``answer`` is None where it abstains.

    ``probabilities`` has every node of the tree. ``prediction_set`` holds the diagnosis with probability ``coverage``.
    ``evidence`` is the share of each modality in the change from prior to posterior log-odds of a node (Shapley values:
    they add up exactly). ``without`` is the answer had a modality been missing.
    """

    status: str
    answer: dict[str, Any] | None
    probabilities: dict[str, float]
    prior: dict[str, float]
    prediction_set: list[str]
    coverage: float
    reasons: list[dict[str, str]]
    discordance: list[dict[str, Any]] = field(default_factory=list)
    urgent: list[dict[str, str]] = field(default_factory=list)
    evidence: dict[str, dict[str, float]] = field(default_factory=dict)
    maturation: dict[str, Any] | None = None
    without: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def fuse(findings: Sequence[Finding], bundle: Bundle, *, prior: Mapping[str, float] | None = None) -> Assessment:
    """Fuse the findings of one case, at most one a modality, in any order.

    ``prior`` leaf → share, all leaves, above 0, sums to 1; by default the tree's. Raises ValueError for findings or
    priors that break these rules: a caller's bug, never a patient's property.
    """
    rules, before = bundle.manifest, _prior(prior)
    ordered = _ordered(findings, rules)
    readings = usable(ordered, rules)
    p = ev.posterior(before, ev.total(readings))
    discordance = _discordance(readings, before, rules)
    answer = _answer(readings, before, rules)
    reasons = _reasons(ordered, readings, rules, answer, p, discordance)
    nodes = list(load_tree().nodes)
    return Assessment(
        status="assessed" if answer else "abstained",
        answer=answer,
        probabilities=_by_node(p),
        prior=_by_node(before),
        prediction_set=_prediction_set(readings, p, rules),
        coverage=rules["conformal"]["coverage"],
        reasons=reasons,
        discordance=discordance,
        urgent=_urgent(readings, p, rules),
        evidence=_shapley(readings, before, nodes),
        maturation=_maturation(readings, p, rules),
        without=_without(readings, before, rules),
        used=[r.modality for r in readings],
        versions=_versions(ordered, bundle),
    )


def _prior(prior: Mapping[str, float] | None) -> ev.Array:
    tree = load_tree()
    said = tree.prior if prior is None else prior
    if (
        set(said) != set(tree.leaves)
        or min(said.values()) <= 0
        or not math.isclose(sum(said.values()), 1, abs_tol=1e-6)
    ):
        raise ValueError("A prior gives every leaf of the diagnosis tree a share above 0, and they sum to 1")
    shares = np.array([said[leaf] for leaf in tree.leaves], dtype=np.float64)
    return shares / shares.sum()


def _ordered(findings: Sequence[Finding], rules: dict[str, Any]) -> list[Finding]:
    """In the fixed order of modalities, so that the order in which findings arrive cannot change a byte."""
    if rules["tree_version"] != load_tree().version:
        raise ValueError(f"The fusion bundle is for tree {rules['tree_version']}, this is {load_tree().version}")
    names = [f.modality for f in findings]
    if len(set(names)) != len(names) or set(names) - set(rules["weights"]):
        raise ValueError(f"One finding for each of {sorted(rules['weights'])} at most, not {names}")
    return sorted(findings, key=lambda f: MODALITIES.index(f.modality))


def usable(findings: Iterable[Finding], rules: dict[str, Any]) -> list[ev.Reading]:
    return [ev.read(f, rules) for f in findings if _unusable(f, rules) is None]


def _unusable(finding: Finding, rules: dict[str, Any]) -> str | None:
    if finding.label is None:
        return "low_quality" if any(q.blocking for q in finding.quality) else "out_of_scope"
    return "out_of_scope" if finding.in_scope < rules["thresholds"]["in_scope"][finding.modality] else None


def _by_node(p: ev.Array) -> dict[str, float]:
    return dict(zip(load_tree().nodes, (ev.node_matrix() @ p).tolist(), strict=True))


def _answer(readings: list[ev.Reading], prior: ev.Array, rules: dict[str, Any]) -> dict[str, Any] | None:
    """The deepest node reached from the root; None where that is the root, or no more than presumed."""
    tree = load_tree()
    stops = {said["node"] for said in _discordance(readings, prior, rules)}
    p = _by_node(ev.posterior(prior, ev.total(readings)))
    node: str = tree.root
    while readings and node not in stops and (child := _next_step(node, p, readings, rules)):
        node = child
    if node == tree.root or (node == PRESUMED and not _is_told_apart(node, readings)):
        return None
    return {"node": node, "name": tree.nodes[node].name, "probability": p[node]}


def _without(readings: list[ev.Reading], prior: ev.Array, rules: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    if len(readings) < 2:
        return {}
    return {r.modality: _answer([other for other in readings if other is not r], prior, rules) for r in readings}


def _next_step(node: str, p: dict[str, float], readings: list[ev.Reading], rules: dict[str, Any]) -> str | None:
    tree = load_tree()
    if not tree.children(node):
        return None
    child = max(tree.children(node), key=p.__getitem__)
    passes = p[child] >= for_combination(rules["thresholds"]["level"], readings)[str(tree.depth(child))]
    return child if passes and (child == PRESUMED or _is_told_apart(child, readings)) else None


def for_combination(calibrated: dict[str, Any], readings: Iterable[ev.Reading]) -> Any:
    """What was calibrated for this combination of modalities, or the most careful value where it was too rare."""
    return calibrated.get("+".join(r.modality for r in readings), calibrated["otherwise"])


def _is_told_apart(node: str, readings: list[ev.Reading]) -> bool:
    """From each sibling that is not rare beside it."""
    tree = load_tree()
    siblings = [s for s in tree.children(tree.path(node)[-2]) if s != node]
    common = [s for s in siblings if tree.nodes[s].prior > RARE * tree.nodes[node].prior]
    return all(ev.told_apart(readings, node, sibling) for sibling in common)


def _discordance(readings: list[ev.Reading], prior: ev.Array, rules: dict[str, Any]) -> list[dict[str, Any]]:
    found = (_contradiction(a, b, prior, rules["thresholds"]["discordance"]) for a, b in combinations(readings, 2))
    return [said for said in found if said]


def _contradiction(a: ev.Reading, b: ev.Reading, prior: ev.Array, threshold: float) -> dict[str, Any] | None:
    """The highest node at which a and b contradict each other strongly enough."""
    tree = load_tree()
    strong = {node: said for node, said in ev.contradictions(a, b, prior).items() if said[0] >= threshold}
    if not strong:
        return None
    node = min(strong, key=tree.depth)
    strength, for_a, for_b = strong[node]
    message = (
        f"{NAMES[a.modality].capitalize()} and {NAMES[b.modality]} contradict each other at {tree.nodes[node].name}: "
        f"{_named(for_a, for_b)} against {_named(for_b, for_a)}, each by at least {math.exp(strength):.0f} to 1. "
        "Check that both are of this patient."
    )
    return {"modalities": [a.modality, b.modality], "node": node, "strength": strength, "message": message}


def _named(favourites: list[str], rivals: list[str]) -> str:
    nodes = load_tree().nodes
    return nodes[favourites[0]].name if len(favourites) == 1 else f"other than {nodes[rivals[0]].name}"


def _urgent(readings: list[ev.Reading], p: ev.Array, rules: dict[str, Any]) -> list[dict[str, str]]:
    """APL is raised only where some finding can see it: an alert that always sounds is none."""
    apl = float(p[ev.columns("apl")].sum())
    if not _apl_looked_at(readings) or apl < rules["thresholds"]["urgent_apl"]:
        return []
    return [{"code": "apl_not_excluded", "message": APL_MESSAGE.format(p=percent(apl))}]


def _apl_looked_at(readings: Iterable[ev.Reading]) -> bool:
    return ev.told_apart(readings, "apl", "aml_nos")


def _reasons(
    findings: list[Finding],
    readings: list[ev.Reading],
    rules: dict[str, Any],
    answer: dict[str, Any] | None,
    p: ev.Array,
    discordance: list[dict[str, Any]],
) -> list[dict[str, str]]:
    left_out = [_left_out(f, code) for f in findings if (code := _unusable(f, rules))]
    why = [] if answer else [_why_abstained(findings, left_out, p, discordance)]
    return [*why, *left_out, *_caveats(readings, answer)]


def _left_out(finding: Finding, code: str) -> dict[str, str]:
    what = {
        "low_quality": "was left out: the quality of the input does not allow a reading.",
        "out_of_scope": "was left out: the input does not resemble what the model was trained on.",
    }[code]
    said = " ".join(q.message for q in finding.quality if q.blocking) or " ".join(finding.reasons)
    name = NAMES[finding.modality].removeprefix("the ").capitalize()
    return {"code": f"{finding.modality}_{code}", "message": f"{name}: it {what} {said}".strip()}


def _why_abstained(
    findings: list[Finding], left_out: list[dict[str, str]], p: ev.Array, discordance: list[dict[str, Any]]
) -> dict[str, str]:
    tree, by_node = load_tree(), _by_node(p)
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
    if tree.root in {said["node"] for said in discordance}:
        return {"code": "conflicting", "message": discordance[0]["message"]}
    best = sorted(tree.children(tree.root), key=lambda node: -by_node[node])
    odds = ", ".join(f"{tree.nodes[node].name} {percent(by_node[node])}" for node in best)
    return {"code": "no_node_passes", "message": f"The results leave it open ({odds}). Add another kind of result."}


def _caveats(readings: list[ev.Reading], answer: dict[str, Any] | None) -> list[dict[str, str]]:
    caveats = []
    if (
        answer
        and PRESUMED in load_tree().path(answer["node"])
        and not ev.told_apart(readings, PRESUMED, "no_leukaemia")
    ):
        message = "No result here can tell acute leukaemia from none. The answer holds if there is an acute leukaemia."
        caveats.append({"code": "leukaemia_presumed", "message": message})
    if readings and not _apl_looked_at(readings):
        message = "No result here can tell APL from other acute leukaemia: APL is neither found nor excluded."
        caveats.append({"code": "apl_not_assessed", "message": message})
    return caveats


def _prediction_set(readings: list[ev.Reading], p: ev.Array, rules: dict[str, Any]) -> list[str]:
    """By the mass calibrated for this very combination of modalities.

    Never less than the promised coverage in probability: calibration has no patients whom none of the modalities knows.
    """
    enough = for_combination(rules["conformal"]["mass"], readings)
    return ev.prediction_set(p, ev.total(readings), max(enough, rules["conformal"]["coverage"]))


def _shapley(readings: list[ev.Reading], prior: ev.Array, nodes: list[str]) -> dict[str, dict[str, float]]:
    """Modality → node → its Shapley share of logit P(node | all) − logit prior(node), in nats; the root has none."""
    logits = {
        chosen: _logits(ev.posterior(prior, ev.total(readings[i] for i in chosen)))
        for size in range(len(readings) + 1)
        for chosen in combinations(range(len(readings)), size)
    }
    n, shares = len(readings), {}
    for i, reading in enumerate(readings):
        others = [chosen for chosen in logits if i not in chosen]
        total = sum(
            (logits[tuple(sorted((*chosen, i)))] - logits[chosen]) / (n * math.comb(n - 1, len(chosen)))
            for chosen in others
        )
        shares[reading.modality] = dict(zip(nodes[1:], np.asarray(total)[1:].tolist(), strict=True))
    return shares


def _logits(p: ev.Array) -> ev.Array:
    of_node = ev.node_matrix() @ p
    of_others = (1.0 - ev.node_matrix()) @ p
    return np.asarray(np.log(np.maximum(of_node, 1e-300)) - np.log(np.maximum(of_others, 1e-300)))


def _maturation(readings: list[ev.Reading], p: ev.Array, rules: dict[str, Any]) -> dict[str, Any] | None:
    """The maturation stage, if it is B-ALL: only where the smear says B-ALL and nothing has ruled it out."""
    smear = next((r.finding for r in readings if r.modality == "smear_field"), None)
    b_all = float(p[ev.columns("b_all")].sum())
    if smear is None or smear.label is None or b_all < rules["thresholds"]["maturation"]:
        return None
    if not set(smear.leaves[smear.label]) <= set(load_tree().leaves_under("b_all")):
        return None
    return {"given": "b_all", "probabilities": dict(smear.explanation.get("maturation", {}))}


def _versions(findings: Iterable[Finding], bundle: Bundle) -> dict[str, str]:
    of_findings = {f.modality: f"{f.bundle}#{f.bundle_sha256}" for f in findings}
    return {"tree": load_tree().version, "fusion": f"{bundle.reference}#{bundle.sha256}", **of_findings}
