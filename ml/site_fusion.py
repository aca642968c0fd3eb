"""What a site's own signed cases teach the fusion: how common its diagnoses are, how far to trust the evidence, and how
sure an answer must be there.

    P(leaf) ∝ prior_site(leaf) · exp( Σ w · e(leaf) / T )

The prior is the mean of a Dirichlet posterior: the prior from before counts as PSEUDO_CASES cases, a signed node counts
for its leaves in proportion to it. T (temperature; Guo et al. 2017, arXiv:1706.04599) minimises the log-loss of the
signed nodes. An answer's threshold is raised where the site's own answers err more often than the bundle allows, and a
prediction set is widened where it holds the signed diagnosis less often than promised (split conformal on the signed
cases); neither is ever lowered, since a few dozen cases cannot show that a risk is small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.model_selection import KFold

from ml import evidence as ev
from ml.bundle import Bundle
from ml.conformal import block_mass
from ml.conformal import quantile as conformal_quantile
from ml.diagnosis_tree import load_tree
from ml.findings import Finding
from ml.fusion import Said, in_order, say
from ml.posterior import checked_prior, posterior_of
from ml.reasons import usable

LEAST_CASES = 30
PSEUDO_CASES = 30.0
FOLDS, SEED, ROUNDS = 5, 0, 1000
COOLEST, WARMEST = 0.33, 5.0  # of the temperature
ALLOWED_ERROR = 0.05  # of a site's answers, before its thresholds are raised
STEP, HIGHEST = 0.01, 0.99


class TooLittle(Exception):
    """The signed cases do not carry a recalibration; the sentence says why and what would."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class SignedCase:
    """The findings of one case and the node of the tree that a clinician signed."""

    findings: tuple[Finding, ...]
    node: str


@dataclass(frozen=True)
class Site:
    """``prior`` leaf → share; ``threshold`` the least probability of an answer; ``scores`` promised coverage → the
    score (see ml.conformal) up to which a leaf belongs to the set, at least.
    """

    temperature: float
    prior: dict[str, float]
    threshold: float
    scores: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def recalibrate(
    cases: Sequence[SignedCase], bundle: Bundle, prior: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Learn from ``cases``, and say by cross-validation what it changes. Raises TooLittle, also where it gains nothing.

    ``prior``: the site's leaf → share until now; by default the tree's. Returns the JSON of a Site with ``effect``.
    """
    before = dict(prior or load_tree().prior)
    used = [case for case in cases if _readings(case, bundle)]
    _check_enough(used)
    effect = cross_validate(used, bundle, before)
    if effect["log_loss"]["gain"]["low"] <= 0:
        gain = effect["log_loss"]["gain"]
        said = f"{gain['value']:+.3f} nats a case (95 % interval {gain['low']:+.3f} to {gain['high']:+.3f})"
        raise TooLittle("no_gain", f"No gain is shown on {len(used)} cases: {said}. Nothing was changed.")
    site = learn(used, bundle, before)
    return site.as_dict() | {
        "fusion": {"reference": bundle.reference, "sha256": bundle.sha256},
        "cases": len(used),
        "left_out": len(cases) - len(used),
        "effect": effect,
    }


def localised(bundle: Bundle, said: Mapping[str, Any]) -> Bundle:
    """The fusion bundle with a site's temperature, thresholds and sets in its rules; the site's prior is fuse's."""
    rules = bundle.manifest
    weights = {m: w / said["temperature"] for m, w in rules["weights"].items()}
    level = {
        combination: {depth: max(t, said["threshold"]) for depth, t in of.items()}
        for combination, of in rules["thresholds"]["level"].items()
    }
    promises = [_widened(promise, said["scores"]) for promise in rules["conformal"]["promises"]]
    thresholds, conformal = rules["thresholds"] | {"level": level}, rules["conformal"] | {"promises": promises}
    return replace(bundle, manifest=rules | {"weights": weights, "thresholds": thresholds, "conformal": conformal})


def _widened(promise: Mapping[str, Any], scores: Mapping[str, float]) -> dict[str, Any]:
    least = scores.get(str(promise["coverage"]), 0.0)

    def wide(of: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if of is None:
            return None
        lineage = {name: max(score, least) for name, score in of["lineage"].items()}
        return {**of, "pooled": max(of["pooled"], least), "lineage": lineage}

    return {**promise, "by": {combination: wide(of) for combination, of in promise["by"].items()}}


def learn(cases: Sequence[SignedCase], bundle: Bundle, before: Mapping[str, float]) -> Site:
    prior = learned_prior(cases, before)
    warm = Site(learned_temperature(cases, bundle, prior), prior, 0.0, {})
    said = [said_by(case, bundle, warm) for case in cases]
    answers = [
        (float(one.answer["probability"]), _agrees(one.answer["node"], case.node))
        for one, case in zip(said, cases, strict=True)
        if one.answer
    ]
    scores = np.array([_score_of_truth(case, bundle, warm, one.p) for case, one in zip(cases, said, strict=True)])
    promised = [promise["coverage"] for promise in bundle.manifest["conformal"]["promises"]]
    wide = {str(coverage): conformal_quantile(scores, coverage) for coverage in promised}
    return replace(warm, threshold=safe_threshold(answers), scores=wide)


def learned_prior(cases: Sequence[SignedCase], before: Mapping[str, float]) -> dict[str, float]:
    leaves = load_tree().leaves
    old = np.array([before[leaf] for leaf in leaves])
    counts = PSEUDO_CASES * old
    for case in cases:
        at = ev.columns(case.node)
        counts[at] += old[at] / old[at].sum()
    return dict(zip(leaves, (counts / counts.sum()).tolist(), strict=True))


def learned_temperature(cases: Sequence[SignedCase], bundle: Bundle, prior: Mapping[str, float]) -> float:
    """The T in COOLEST … WARMEST with the least log-loss of the signed nodes."""

    def loss(log_t: float) -> float:
        site = Site(float(np.exp(log_t)), dict(prior), 0.0, {})
        p = [_posterior(case, bundle, site)[ev.columns(case.node)].sum() for case in cases]
        return float(-np.mean(np.log(np.maximum(p, 1e-15))))

    found = minimize_scalar(loss, bounds=(np.log(COOLEST), np.log(WARMEST)), method="bounded", options={"maxiter": 25})
    return round(float(np.exp(found.x)), 4)


def safe_threshold(answers: Sequence[tuple[float, bool]]) -> float:
    """The least probability from which on the answers err as seldom as allowed; 0 where all of them do."""
    for threshold in (0.0, *np.arange(0.5, HIGHEST, STEP).round(2).tolist()):
        right = [agrees for p, agrees in answers if p >= threshold]
        if right and right.count(False) <= ALLOWED_ERROR * len(right):
            return float(threshold)
    return HIGHEST if answers else 0.0


def said_by(case: SignedCase, bundle: Bundle, site: Site | None, before: Mapping[str, float] | None = None) -> Said:
    """As ml.fusion.fuse would say it, without the explanation."""
    local = localised(bundle, vars(site)) if site else bundle
    posterior = posterior_of(local, checked_prior(site.prior if site else before))
    return say(_readings(case, local), posterior, local.manifest)


def _readings(case: SignedCase, bundle: Bundle) -> list[ev.Reading]:
    return usable(in_order(case.findings, bundle.manifest), bundle.manifest)


def _posterior(case: SignedCase, bundle: Bundle, site: Site) -> ev.Array:
    local = localised(bundle, vars(site))
    return posterior_of(local, checked_prior(site.prior))(_readings(case, local))


def cross_validate(cases: Sequence[SignedCase], bundle: Bundle, before: Mapping[str, float]) -> dict[str, Any]:
    """Each case before, and after a recalibration by four of five folds of the others."""
    after: list[Any] = [None] * len(cases)
    for train, test in KFold(FOLDS, shuffle=True, random_state=SEED).split(cases):
        site = learn([cases[i] for i in train], bundle, before)
        for i in test:
            after[i] = said_by(cases[i], bundle, site)
    first = [said_by(case, bundle, None, before) for case in cases]
    p = {when: _of_truth(cases, said) for when, said in (("before", first), ("after", after))}
    losses = {when: -np.log(np.maximum(values, 1e-15)) for when, values in p.items()}
    gain = losses["before"] - losses["after"]
    drawn = np.random.default_rng(SEED).choice(gain, (ROUNDS, len(gain))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {
        "split": f"{FOLDS}-fold over the signed cases",
        "log_loss": {
            **{when: float(values.mean()) for when, values in losses.items()},
            "gain": {"value": float(gain.mean()), "low": float(low), "high": float(high)},
        },
        **{when: _figures(cases, said) for when, said in (("before", first), ("after", after))},
    }


def _figures(cases: Sequence[SignedCase], said: Sequence[Said]) -> dict[str, Any]:
    """How many were answered, how many of these rightly, how often the set held the signed node, and reliability."""
    answered = [(s.answer, case.node) for s, case in zip(said, cases, strict=True) if s.answer]
    right = [_agrees(answer["node"], node) for answer, node in answered]
    held = [holds(s.sets[0]["nodes"], case.node) for s, case in zip(said, cases, strict=True)]
    p = np.array([answer["probability"] for answer, _ in answered])
    return {
        "answered": len(answered) / len(cases),
        "right_when_answered": float(np.mean(right)) if right else None,
        "coverage": float(np.mean(held)),
        "reliability": reliability_bins(p, np.array(right, dtype=np.float64)) if right else [],
    }


def reliability_bins(p: ev.Array, right: ev.Array, bins: int = 5) -> list[dict[str, float]]:
    """Mean probability and share right of the answers, by equal-width bins of probability that are not empty."""
    which = np.minimum((p * bins).astype(int), bins - 1)
    rows = (np.flatnonzero(which == b) for b in np.unique(which))
    return [{"said": float(p[at].mean()), "right": float(right[at].mean()), "n": len(at)} for at in rows]


def _of_truth(cases: Sequence[SignedCase], said: Sequence[Said]) -> ev.Array:
    return np.array([s.p[ev.columns(case.node)].sum() for s, case in zip(said, cases, strict=True)])


def _agrees(answer: str, signed: str) -> bool:
    """An answer agrees where it is the signed node or lies on its path: less deep is not wrong."""
    return answer in load_tree().path(signed)


def holds(nodes: Sequence[str], signed: str) -> bool:
    """Whether the set leaves the signed node possible."""
    tree = load_tree()
    return any(node in tree.path(signed) or signed in tree.path(node) for node in nodes)


def _score_of_truth(case: SignedCase, bundle: Bundle, site: Site, p: ev.Array) -> float:
    """Of the leaf under the signed node that fits best."""
    evidence = ev.total(_readings(case, localised(bundle, vars(site))))
    return float((1.0 - block_mass(p, evidence))[ev.columns(case.node)].min())


def _check_enough(used: Sequence[SignedCase]) -> None:
    if len(used) < LEAST_CASES:
        remedy = "Sign more cases; those that agree with an abstention state no diagnosis and do not count."
        raise TooLittle("too_few_cases", f"{len(used)} signed cases can be used; {LEAST_CASES} are needed. {remedy}")
    if len({case.node for case in used}) < 2:
        raise TooLittle("one_diagnosis", f"All {len(used)} signed cases have the same diagnosis: {used[0].node}.")
