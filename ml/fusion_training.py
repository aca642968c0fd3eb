"""Learn the fusion bundle from held-out predictions: ``python -m ml.fusion_training --oof DIR --out DIR --seed N``.

On one half of the people: the weights (log-loss), then the conformal masses, the thresholds of the answer, of a
contradiction and of the APL alert. On the other half, which has no row in common with it: every figure of the card.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logsumexp

from ml import evidence as ev
from ml.bundle import BUNDLES, Bundle, seal_bundle
from ml.diagnosis_tree import load_tree
from ml.discordance import strongest
from ml.findings import MODALITIES
from ml.fusion import fuse
from ml.fusion_report import card, data_of, report, report_pairs
from ml.reasons import usable
from ml.virtual_patients import draw_patients, patients_of, read_pairs, read_sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml.fusion import Assessment
    from ml.virtual_patients import Patients, Source

COVERAGES = (0.9, 0.95)
SCOPE_CAP = 0.99
ERROR_ALLOWED = {1: 0.05, 2: 0.1, 3: 0.1, 4: 0.1, 5: 0.1}  # by depth in the tree
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.7, 0.99
FALSE_CONTRADICTIONS = 0.05
LEAST_CONTRADICTION = 1.1  # 3 to 1 on each side
APL_SENSITIVITY = 0.98
LEAST_IN_SCOPE = {  # ½ is where a bundle puts the border of what it has seen; of one laboratory alone, nearer
    "smear_field": 0.8,
    "smear_cell": 0.8,
    "expression": 0.5,
    "labs": 0.5,
}
FEWEST = 100  # patients of one combination of modalities, to calibrate anything for it
MAX_WEIGHT = 1.5  # so that a fit on few people cannot run away


@dataclass(frozen=True)
class Lesson:
    """The evidence of n people (M, n, L), and two masks (n, L): the leaves that all their modalities see, the truth."""

    evidence: ev.Array
    common: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.bool_]

    def loss(self, w: ev.Array) -> float:
        """The mean log-loss of the truth among the common leaves, under weights w (M,).

        Among those only: that no AML patient has a smear field here is a property of the data sets, and must not teach
        a smear field to speak against AML.
        """
        logits = np.log(np.array(list(load_tree().prior.values()))) + np.tensordot(w, self.evidence, axes=1)
        masks = (self.common, self.truth & self.common)
        among, right = (logsumexp(np.where(mask, logits, -np.inf), axis=1) for mask in masks)
        return float((among - right).mean())


def lesson_of(modalities: Sequence[str], sources: Mapping[str, Source], patients: Patients) -> Lesson:
    n, leaves = len(patients), len(load_tree().leaves)
    evidence = np.zeros((len(modalities), n, leaves))
    common, truth = np.ones((n, leaves), bool), np.ones((n, leaves), bool)
    for m, rows in patients.rows.items():
        has = (rows >= 0)[:, None]
        evidence[modalities.index(m)] = np.where(has, sources[m].evidence(SCOPE_CAP)[rows], 0.0)
        common &= ~has | sources[m].seen
        truth &= ~has | sources[m].means[rows]
    can_teach = (common & truth).any(axis=1)
    return Lesson(evidence[:, can_teach], common[can_teach], truth[can_teach])


def learn_weights(modalities: Sequence[str], lessons: Sequence[Lesson]) -> dict[str, float]:
    """The weights in [0, MAX_WEIGHT] with the least log-loss; each lesson counts alike, however many people it has."""

    def loss(w: ev.Array) -> float:
        return sum(lesson.loss(w) for lesson in lessons)

    found = minimize(loss, np.ones(len(modalities)), bounds=[(0.0, MAX_WEIGHT)] * len(modalities), method="L-BFGS-B")
    return dict(zip(modalities, found.x.round(4).tolist(), strict=True))


def first_rules(weights: Mapping[str, float]) -> dict[str, Any]:
    """Rules that stop nowhere: with them a walk shows how deep it could go, and how sure it is there."""
    return {
        "name": "fusion",
        "version": "0.0.0",
        "tree_version": load_tree().version,
        "weights": {m: weights.get(m, 0.0) for m in MODALITIES},
        "scope_cap": SCOPE_CAP,
        "thresholds": {
            "level": {"otherwise": {str(level): 0.0 for level in ERROR_ALLOWED}},
            "in_scope": {m: LEAST_IN_SCOPE[m] for m in MODALITIES},
            "discordance": LEAST_CONTRADICTION,
            "urgent_apl": {"otherwise": 0.0},
            "urgent_apl_own": 0.5,
            "maturation": 0.2,
            "rare_sibling": 0.1,
        },
        "conformal": {"promises": [{"coverage": c, "by": {"otherwise": None}} for c in COVERAGES]},
        "next_test": {},
    }


def calibrate(sources: Mapping[str, Source], patients: Patients, rules: dict[str, Any]) -> dict[str, Any]:
    """Set the thresholds in ``rules`` from the patients of the first half, each before those that need it."""
    thresholds = rules["thresholds"]
    prior = np.array(list(load_tree().prior.values()))
    readings = [usable(patients.findings(i, sources), rules) for i in range(len(patients))]
    strengths = [strongest(r, prior) for r in readings if len(r) > 1]
    usual = np.quantile(strengths, 1 - FALSE_CONTRADICTIONS) if strengths else 0.0
    thresholds["discordance"] = max(float(usual), LEAST_CONTRADICTION)
    said = [fuse(patients.findings(i, sources), _bundle_of(rules)) for i in range(len(patients))]
    leaves = load_tree().leaves
    truth = [leaves[leaf] for leaf in patients.leaf]
    looked_at = [a.probabilities["apl"] for a, leaf in zip(said, truth, strict=True) if leaf == "apl" and a.urgent]
    thresholds["urgent_apl"] = {"otherwise": float(np.quantile(looked_at, 1 - APL_SENSITIVITY)) if looked_at else 0.0}
    thresholds["level"] = level_thresholds(said, truth)
    return rules


def level_thresholds(said: list[Assessment], truth: list[str]) -> dict[str, dict[str, float]]:
    """Combination of modalities → depth → threshold; for a combination or depth too rare, the highest of the others."""
    by_key: dict[str, list[tuple[Assessment, str]]] = {}
    for assessment, leaf in zip(said, truth, strict=True):
        by_key.setdefault("+".join(assessment.used), []).append((assessment, leaf))
    found = {key: {level: _level_threshold(some, level) for level in ERROR_ALLOWED} for key, some in by_key.items()}
    of_all = {level: _level_threshold(list(zip(said, truth, strict=True)), level) for level in ERROR_ALLOWED}
    highest = {
        level: max([t for levels in found.values() if (t := levels[level])] or [of_all[level] or HIGHEST_THRESHOLD])
        for level in ERROR_ALLOWED
    }
    filled = {key: {str(level): t or highest[level] for level, t in found[key].items()} for key in sorted(found) if key}
    return {**filled, "otherwise": {str(level): t for level, t in highest.items()}}


def _level_threshold(some: list[tuple[Assessment, str]], level: int) -> float | None:
    """The lowest threshold at which answers reaching this level err as seldom as they must; None if too few do."""
    tree = load_tree()
    reached = []
    for assessment, leaf in some:
        path = tree.path(assessment.answer["node"]) if assessment.answer else ()
        if len(path) > level:
            reached.append((assessment.probabilities[path[level]], leaf in tree.leaves_under(path[level])))
    if len(reached) < FEWEST:
        return None
    for threshold in np.arange(LOWEST_THRESHOLD, HIGHEST_THRESHOLD, 0.01):
        right = [is_right for p, is_right in reached if p >= threshold]
        if right and (right.count(False) + 1) / (len(right) + 1) <= ERROR_ALLOWED[level]:
            return round(float(threshold), 2)
    return HIGHEST_THRESHOLD


def _bundle_of(rules: dict[str, Any]) -> Bundle:
    return Bundle(Path("unsealed"), "0" * 64, rules)


def train(oof: Path, out: Path, bundles: Path, seed: int, n: int) -> Bundle:
    started = time.monotonic()
    sources = read_sources(oof, bundles, seed)
    pairs = read_pairs(oof / "pairs.csv", sources)
    known = [lesson_of(list(sources), sources, draw_patients(sources, 0, 4 * n, seed))]
    real = [lesson_of(list(sources), pairs, patients_of(pairs, 0))] if pairs else []
    weights = learn_weights(list(sources), known + real)
    rules = calibrate(sources, draw_patients(sources, 0, n, seed + 1), first_rules(weights))
    rules["version"] = out.name
    held_out = draw_patients(sources, 1, n, seed + 2)
    metrics = report(sources, held_out, _bundle_of(rules), seed)
    metrics |= report_pairs(pairs, _bundle_of(rules))
    manifest = {
        **rules,
        "modality": "fusion",
        "labels": {},
        "preprocessing": {},
        "calibration": {"conformal": "split, by combination of modalities"},
        "in_scope": {},
        "metrics": metrics,
        "baselines": {},
        "bundles": {m: {"reference": s.bundle.reference, "sha256": s.bundle.sha256} for m, s in sources.items()},
        "data": data_of(sources),
        "licence": "research use",
        "intended_use": "Fuses the findings of one leukaemia work-up for a haematologist, who decides. Research use.",
        "limits": LIMITS,
        "trained": {
            "command": f"python -m ml.fusion_training --oof DIR --out DIR --seed {seed} --patients {n}",
            "seed": seed,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "device": "cpu",
            "minutes": round((time.monotonic() - started) / 60, 1),
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "card.md").write_text(card(manifest), "utf-8")
    return seal_bundle(out, manifest)


LIMITS = [
    "Learned on virtual patients: results drawn independently within a diagnosis. Real results share more than that.",
    "Real people with two kinds of results are few, and are reported apart.",
    "No modality has seen mixed-phenotype leukaemia, T-ALL subtypes, or laboratory values of people without leukaemia.",
    "The prior is an assumption about a referral in which acute leukaemia is suspected; a site must set its own.",
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ml.fusion_training", description=__doc__)
    parser.add_argument("--oof", type=Path, required=True, help="folder with the held-out predictions of the bundles")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle, named by its version")
    parser.add_argument("--bundles", type=Path, default=BUNDLES, help="where the modalities' bundles are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patients", type=int, default=3000, help="virtual patients in each half")
    said = parser.parse_args()
    bundle = train(said.oof, said.out, said.bundles, said.seed, said.patients)
    print(f"{bundle.reference} sealed in {bundle.path}: {bundle.manifest['weights']}")  # noqa: T201 (a command's answer)


if __name__ == "__main__":
    main()
