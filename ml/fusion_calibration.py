"""The thresholds of the fusion, from patients that the weights have not learned from.

``Pool`` holds what was said of them: for each combination of modalities the posterior of every patient, from weights
learned on the other folds. The thresholds of a fold's report come from the pool without that fold, those of the bundle
from all of it. Every choice that is not learned stands here by name and is written into the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml import conformal
from ml import evidence as ev
from ml.answers import answer
from ml.diagnosis_tree import load_tree
from ml.discordance import contradiction
from ml.findings import MODALITIES
from ml.fusion_learning import SCOPE_CAP, tree_prior
from ml.lineages import LINEAGES
from ml.urgent import is_looked_at, reads_apl
from ml.virtual_patients import FOLDS, able

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ml.virtual_patients import Patients, Source

COVERAGES = (0.9, 0.95)
ERROR_ALLOWED = {1: 0.05, 2: 0.1, 3: 0.1, 4: 0.1, 5: 0.1}  # by depth in the tree
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.7, 0.99
FALSE_CONTRADICTIONS = 0.05  # of the people of any one combination
LEAST_CONTRADICTION = 1.1  # 3 to 1 on each side
APL_SENSITIVITY = 0.99
APL_MARGINS = (1.0, 0.8, 0.6, 0.4, 0.25, 0.15, 0.1, 0.05)  # the odds of the least likely APL patient, times this
HIGHEST_APL = 0.02  # where all known APL patients are sure, a threshold near them would miss the first unsure one
LEAST_IN_SCOPE = {  # ½ is where a bundle puts the border of what it has seen; of one laboratory alone, nearer
    "smear_field": 0.8,
    "smear_cell": 0.8,
    "expression": 0.5,
    "labs": 0.5,
}
FEWEST = 100  # patients, to calibrate anything for them
FEWEST_PEOPLE = 30  # of a lineage, for a quantile of its own
APL = LINEAGES.index("apl")


def first_rules(weights: Mapping[str, float]) -> dict[str, Any]:
    """Rules that stop nowhere: with them a walk shows how deep it could go, and how sure it is there."""
    return {
        "name": "fusion",
        "version": "0.0.0",
        "method": "evidence",
        "tree_version": load_tree().version,
        "weights": {m: weights.get(m, 0.0) for m in MODALITIES},
        "scope_cap": SCOPE_CAP,
        "thresholds": {
            "level": {"otherwise": {str(level): 0.0 for level in ERROR_ALLOWED}},
            "in_scope": dict(LEAST_IN_SCOPE),
            "discordance": LEAST_CONTRADICTION,
            "urgent_apl": {"otherwise": 0.0},
            "urgent_apl_own": 0.5,
            "maturation": 0.2,
            "rare_sibling": 0.1,
        },
        "conformal": {"promises": [{"coverage": c, "by": {"otherwise": None}} for c in COVERAGES]},
        "next_test": {},
    }


@dataclass(frozen=True)
class Group:
    """The patients of one combination, held out: ``p`` (n, L) of the active method, ``evidence`` (n, L) weighed.

    ``enriched`` (n,) are drawn for having APL: they set and measure its alert, and count for nothing else.
    """

    patients: Patients
    readings: list[list[ev.Reading]]
    p: ev.Array
    evidence: ev.Array
    fold: npt.NDArray[np.int64]
    enriched: npt.NDArray[np.bool_]
    strength: npt.NDArray[np.float64]  # (n,) of the strongest contradiction
    stops: list[dict[str, float]]  # node → strength

    @property
    def key(self) -> str:
        return self.patients.key

    def usual(self, folds: Iterable[int]) -> npt.NDArray[np.int64]:
        return np.flatnonzero(np.isin(self.fold, list(folds)) & ~self.enriched)

    def apl(self, folds: Iterable[int]) -> npt.NDArray[np.int64]:
        is_apl = load_tree().leaves.index("apl") == self.patients.leaf
        return np.flatnonzero(np.isin(self.fold, list(folds)) & is_apl)


def stops_of(readings: list[ev.Reading]) -> dict[str, float]:
    found: dict[str, float] = {}
    for i, a in enumerate(readings):
        for b in readings[i + 1 :]:
            if said := contradiction(a, b, tree_prior()):
                found[said.node] = max(found.get(said.node, 0.0), said.strength)
    return found


def calibrate(
    groups: Mapping[str, Group],
    sources: Mapping[str, Source],
    rules: dict[str, Any],
    folds: Iterable[int],
    margins: Mapping[str, float],
) -> dict[str, Any]:
    """Set every threshold in ``rules`` from the patients of these folds, each before those that need it."""
    folds, thresholds = list(folds), rules["thresholds"]
    strengths = [g.strength[g.usual(folds)] for g in groups.values() if len(g.patients.rows) > 1]
    strengths = [s for s in strengths if len(s) >= FEWEST]
    usual = [float(np.quantile(s, 1 - FALSE_CONTRADICTIONS)) for s in strengths]
    thresholds["discordance"] = round(max([*usual, LEAST_CONTRADICTION]), 4)
    rules["conformal"] = {"promises": [_promise(groups, sources, c, folds) for c in COVERAGES]}
    thresholds["urgent_apl"] = _apl_thresholds(groups, folds, margins)
    thresholds["level"] = _level_thresholds(groups, rules, folds)
    return rules


def _promise(
    groups: Mapping[str, Group], sources: Mapping[str, Source], coverage: float, folds: list[int]
) -> dict[str, Any]:
    by: dict[str, Any] = {"otherwise": None}
    for key, group in groups.items():
        rows = group.usual(folds)
        if len(rows) < FEWEST:
            continue
        scores = conformal.scores(group.p[rows], group.evidence[rows])
        leaf = group.patients.leaf[rows]
        known = able(sources, group.patients.modalities)
        of_truth = scores[np.arange(len(rows)), leaf]
        by[key] = conformal.calibrate(of_truth, leaf, group.patients.people[rows], known, coverage, FEWEST_PEOPLE)
    return {"coverage": coverage, "by": by}


def apl_margins(groups: Mapping[str, Group]) -> dict[str, float]:
    """Combination → the largest margin with which, each fold by the thresholds of the others, it finds enough APL."""
    return {key: _apl_margin(group) for key, group in groups.items()}


def _apl_margin(group: Group) -> float:
    for margin in APL_MARGINS:
        found: list[bool] = []
        for fold in range(FOLDS):
            others = [k for k in range(FOLDS) if k != fold]
            limits = _apl_thresholds({group.key: group}, others, {group.key: margin})
            found += [apl_alert(group, i, limits) for i in group.apl([fold])]
        if not found or np.mean(found) >= APL_SENSITIVITY:
            return margin
    return APL_MARGINS[-1]


def apl_alert(group: Group, i: int, limits: Mapping[str, float], own: float = 0.5) -> bool:
    is_likely = group.p[i, ev.columns("apl")].sum() >= limits.get(group.key, limits["otherwise"])
    return bool(is_likely or any(r.evidence.any() and reads_apl(r, own) for r in group.readings[i]))


def _apl_thresholds(groups: Mapping[str, Group], folds: list[int], margins: Mapping[str, float]) -> dict[str, float]:
    """Combination → the probability of its least likely APL patient, with a margin on the odds; HIGHEST_APL at most."""
    found = {}
    for key, group in groups.items():
        rows = group.apl(folds)
        if len(rows) and is_looked_at(group.readings[rows[0]]):
            least = float(group.p[rows][:, ev.columns("apl")].sum(axis=1).min())
            odds = least / (1 - least) * margins[key]
            found[key] = min(float(f"{odds / (1 + odds):.6g}"), HIGHEST_APL)
    return {**found, "otherwise": min(found.values(), default=0.0)}


def _level_thresholds(groups: Mapping[str, Group], rules: dict[str, Any], folds: list[int]) -> dict[str, Any]:
    """Combination → depth → threshold; for a combination or depth too rare, the highest of the others."""
    reached = {key: _reached(group, rules["thresholds"], folds) for key, group in groups.items()}
    of_all = {
        level: _level_threshold([r for some in reached.values() for r in some[level]], level) for level in ERROR_ALLOWED
    }
    found = {
        key: {level: _level_threshold(some[level], level) for level in ERROR_ALLOWED} for key, some in reached.items()
    }
    highest = {
        level: max([t for levels in found.values() if (t := levels[level])] or [of_all[level] or HIGHEST_THRESHOLD])
        for level in ERROR_ALLOWED
    }
    filled = {key: {str(level): t or highest[level] for level, t in found[key].items()} for key in sorted(found)}
    return {**filled, "otherwise": {str(level): t for level, t in highest.items()}}


def _reached(group: Group, thresholds: Mapping[str, Any], folds: list[int]) -> dict[int, list[tuple[float, bool]]]:
    """Depth → (probability there, whether it is right) of every walk that stops at nothing but a contradiction."""
    tree = load_tree()
    found: dict[int, list[tuple[float, bool]]] = {level: [] for level in ERROR_ALLOWED}
    free = {**thresholds, "level": {"otherwise": {str(level): 0.0 for level in ERROR_ALLOWED}}}
    for i in group.usual(folds):
        stops = [node for node, strength in group.stops[i].items() if strength >= thresholds["discordance"]]
        said = answer(group.p[i], group.readings[i], stops, free)
        if said is None:
            continue
        leaf = tree.leaves[group.patients.leaf[i]]
        for level, node in enumerate(tree.path(said["node"])[1:], start=1):
            found[level].append((float(group.p[i, ev.columns(node)].sum()), leaf in tree.leaves_under(node)))
    return found


def _level_threshold(reached: list[tuple[float, bool]], level: int) -> float | None:
    """The lowest threshold at which answers reaching this level err as seldom as they must; None if too few do."""
    if len(reached) < FEWEST:
        return None
    for threshold in np.arange(LOWEST_THRESHOLD, HIGHEST_THRESHOLD, 0.01):
        right = [is_right for p, is_right in reached if p >= threshold]
        if right and (right.count(False) + 1) / (len(right) + 1) <= ERROR_ALLOWED[level]:
            return round(float(threshold), 2)
    return HIGHEST_THRESHOLD
