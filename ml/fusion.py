"""Late fusion: the findings of one case become one Assessment, or an Abstention with its reason.

A pure function of the findings, the fusion bundle and the prior: the same give the same bytes. The formula is in
``ml.evidence``, the alternative to it in ``ml.stacking``, what may be answered in ``ml.answers``, the sets in
``ml.conformal``, contradictions in ``ml.discordance``, the APL alert in ``ml.urgent``, what to do next in
``ml.next_test`` and how it came about in ``ml.explanation``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ml import evidence as ev
from ml import explanation as ex
from ml.answers import answer as answer_of
from ml.conformal import prediction_sets
from ml.diagnosis_tree import load_tree
from ml.discordance import discordance as discordance_of
from ml.findings import MODALITIES
from ml.next_test import next_tests
from ml.posterior import by_node, checked_prior, posterior_of
from ml.reasons import not_assessed, reasons, usable
from ml.urgent import urgent as urgent_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ml.bundle import Bundle
    from ml.findings import Finding
    from ml.posterior import Posterior

DIGITS = 12  # significant ones: more than any figure is worth, fewer than the last bits that differ between processors


@dataclass(frozen=True)
class Assessment:
    """What the fusion says. ``status`` is assessed or abstained; ``answer`` is None where it abstains.

    ``probabilities`` has every node of the tree. ``prediction_set`` holds the diagnosis with probability ``coverage``;
    ``prediction_sets`` has one such set for every coverage promised, and ``not_assessed`` what no result here can see.
    ``evidence`` is the share of each modality in the change from prior to posterior log-odds of a node (Shapley values:
    they add up exactly), ``waterfall`` the same as steps for the candidates. ``without`` is the answer had a modality
    been missing, ``counterfactual`` all that would be said then. ``next_tests`` has the missing modalities, the most
    informative first. ``trace`` names the finding and the bundle of every figure.
    """

    status: str
    answer: dict[str, Any] | None
    probabilities: dict[str, float]
    prior: dict[str, float]
    prediction_set: list[str]
    coverage: float
    reasons: list[dict[str, Any]]
    discordance: list[dict[str, Any]] = field(default_factory=list)
    urgent: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[str, dict[str, float]] = field(default_factory=dict)
    maturation: dict[str, Any] | None = None
    without: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    method: str = "evidence"
    prediction_sets: list[dict[str, Any]] = field(default_factory=list)
    not_assessed: list[dict[str, Any]] = field(default_factory=list)
    next_tests: list[dict[str, Any]] = field(default_factory=list)
    waterfall: list[dict[str, Any]] = field(default_factory=list)
    counterfactual: dict[str, dict[str, Any]] = field(default_factory=dict)
    trace: dict[str, dict[str, str]] = field(default_factory=dict)
    inputs_sha256: str = ""

    def as_dict(self) -> dict[str, Any]:
        return dict(rounded(asdict(self)))


def rounded(said: Any) -> Any:
    if isinstance(said, float):
        return float(f"{said:.{DIGITS}g}") + 0.0
    if isinstance(said, dict):
        return {key: rounded(value) for key, value in said.items()}
    return [rounded(value) for value in said] if isinstance(said, (list, tuple)) else said


@dataclass(frozen=True)
class Said:
    """The core of an assessment, of any subset of its readings."""

    p: ev.Array
    answer: dict[str, Any] | None
    discordance: list[dict[str, Any]]
    urgent: list[dict[str, Any]]
    sets: list[dict[str, Any]]


def say(readings: Sequence[ev.Reading], posterior: Posterior, rules: Mapping[str, Any]) -> Said:
    p, thresholds = posterior(readings), rules["thresholds"]
    contradictions = discordance_of(readings, posterior.prior, thresholds["discordance"])
    answer = answer_of(p, readings, {said["node"] for said in contradictions}, thresholds)
    disputed = {leaf for said in contradictions for side in said["sides"] for leaf in side["leaves"]}
    sets = prediction_sets(readings, p, disputed, rules)
    return Said(p, answer, contradictions, urgent_of(readings, p, thresholds), sets)


def fuse(findings: Sequence[Finding], bundle: Bundle, *, prior: Mapping[str, float] | None = None) -> Assessment:
    """Fuse the findings of one case, at most one a modality, in any order.

    ``prior`` leaf → share, all leaves, above 0, sums to 1; by default the tree's. Raises ValueError for findings or
    priors that break these rules: a caller's bug, never a patient's property.
    """
    rules, posterior = bundle.manifest, posterior_of(bundle, checked_prior(prior))
    ordered = in_order(findings, rules)
    readings = usable(ordered, rules)
    said = say(readings, posterior, rules)
    before, after = by_node(posterior.prior), by_node(said.p)
    shares, trace = ex.shapley(readings, posterior), ex.trace_of(ordered)
    nodes = ex.candidates(said.answer, bool(said.urgent), after)
    counterfactual = _counterfactual(readings, said, posterior, rules)
    return Assessment(
        status="assessed" if said.answer else "abstained",
        answer=said.answer,
        probabilities=after,
        prior=before,
        prediction_set=said.sets[0]["nodes"],
        coverage=said.sets[0]["coverage"],
        reasons=reasons(ordered, readings, said.answer, said.p, said.discordance, rules["thresholds"]),
        discordance=said.discordance,
        urgent=said.urgent,
        evidence=shares,
        maturation=_maturation(readings, said.p, rules),
        without={m: one["answer"] for m, one in counterfactual.items()} if len(readings) > 1 else {},
        used=[r.modality for r in readings],
        versions=_versions(ordered, bundle),
        method="stacking" if posterior.stack else "evidence",
        prediction_sets=said.sets,
        not_assessed=not_assessed(readings, said.p),
        next_tests=_next_tests(readings, said, posterior, rules),
        waterfall=ex.waterfall(nodes, before, after, shares, trace),
        counterfactual=counterfactual,
        trace=trace,
        inputs_sha256=ex.inputs_sha256(ordered, bundle, posterior.prior),
    )


def first_alert(findings: Sequence[Finding], bundle: Bundle, *, prior: Mapping[str, float] | None = None) -> list[Any]:
    """The urgent alert that the findings so far raise, as ``fuse`` would say it: [] or one. Quick."""
    rules, posterior = bundle.manifest, posterior_of(bundle, checked_prior(prior))
    readings = usable(in_order(findings, rules), rules)
    return list(rounded(urgent_of(readings, posterior(readings), rules["thresholds"])))


def in_order(findings: Sequence[Finding], rules: Mapping[str, Any]) -> list[Finding]:
    """In the fixed order of modalities, so that the order in which findings arrive cannot change a byte."""
    if rules["tree_version"] != load_tree().version:
        raise ValueError(f"The fusion bundle is for tree {rules['tree_version']}, this is {load_tree().version}")
    names = [f.modality for f in findings]
    if len(set(names)) != len(names) or set(names) - set(rules["weights"]):
        raise ValueError(f"One finding for each of {sorted(rules['weights'])} at most, not {names}")
    return sorted(findings, key=lambda f: MODALITIES.index(f.modality))


def _counterfactual(
    readings: Sequence[ev.Reading], said: Said, posterior: Posterior, rules: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    def without(some: Sequence[ev.Reading]) -> dict[str, Any]:
        other = say(some, posterior, rules)
        sets = {"prediction_set": other.sets[0]["nodes"], "urgent": [alert["code"] for alert in other.urgent]}
        return {"answer": other.answer, "p": other.p, **sets}

    return ex.counterfactuals(readings, said.answer["node"] if said.answer else None, without)


def _next_tests(
    readings: Sequence[ev.Reading], said: Said, posterior: Posterior, rules: Mapping[str, Any]
) -> list[dict[str, Any]]:
    thresholds = rules["thresholds"]

    def answer_after(p: ev.Array, some: Sequence[ev.Reading]) -> dict[str, Any] | None:
        found = discordance_of(some, posterior.prior, thresholds["discordance"])
        return answer_of(p, some, {entry["node"] for entry in found}, thresholds)

    return next_tests(readings, said.p, said.answer, answer_after, rules)


def _maturation(readings: Sequence[ev.Reading], p: ev.Array, rules: Mapping[str, Any]) -> dict[str, Any] | None:
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
