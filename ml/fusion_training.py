"""Learn the fusion bundle from held-out predictions: ``python -m ml.fusion_training --oof DIR --out DIR --seed N``.

On one half of the people: the weights (log-loss), then the conformal masses, the thresholds of the answer, of a
contradiction and of the APL alert. On the other half, which has no row in common with it: every figure of the card.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from ml import evidence as ev
from ml.bundle import BUNDLES, Bundle, seal_bundle
from ml.diagnosis_tree import load_tree
from ml.findings import MODALITIES
from ml.fusion import fuse, usable
from ml.fusion_report import card, data_of, report, report_pairs
from ml.virtual_patients import draw_patients, read_sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml.virtual_patients import Patients, Source

COVERAGE = 0.9
SCOPE_CAP = 0.99
ERROR_ALLOWED = {1: 0.05, 2: 0.05, 3: 0.1, 4: 0.1, 5: 0.1}
LOWEST_THRESHOLD = 0.7
FALSE_CONTRADICTIONS = 0.05
LEAST_CONTRADICTION = 1.1  # 3 to 1 on each side
APL_SENSITIVITY = 0.98
IN_SCOPE_DEFAULT = 0.1
FEWEST = 100  # patients of one combination of modalities, to calibrate a set for it
MAX_WEIGHT = 3.0


def learn_weights(sources: Mapping[str, Source], patients: Patients) -> dict[str, float]:
    """The weights in [0, MAX_WEIGHT] that minimise the log-loss of what the patients' labels say.

    The posterior is taken among the leaves that every modality of the patient sees: that no AML patient has a smear
    field here is a property of the data sets, and must not teach a smear field to speak against AML.
    """
    evidence = np.stack([_drawn(s.evidence(SCOPE_CAP), patients.rows[m], 0.0) for m, s in sources.items()])
    truth = np.all([_drawn(s.means, patients.rows[m], fill=True) for m, s in sources.items()], axis=0)
    seen = {m: ev.seen(ev.membership(s.bundle.leaves)) for m, s in sources.items()}
    common = np.all([np.where(patients.rows[m][:, None] >= 0, seen[m], True) for m in sources], axis=0)
    prior = np.log(np.array(list(load_tree().prior.values())))

    def loss(w: ev.Array) -> float:
        logits = prior + np.tensordot(w, evidence, axes=1)
        among, right = (logsumexp(np.where(mask, logits, -np.inf), axis=1) for mask in (common, truth & common))
        return float((among - right).mean())

    found = minimize(loss, np.ones(len(sources)), bounds=[(0.0, MAX_WEIGHT)] * len(sources), method="L-BFGS-B")
    return dict(zip(sources, found.x.round(4).tolist(), strict=True))


def _drawn(values: Any, rows: Any, fill: Any) -> Any:
    return np.where((rows >= 0)[:, None], values[rows], fill)


def first_rules(sources: Mapping[str, Source], weights: Mapping[str, float]) -> dict[str, Any]:
    """Rules that stop nowhere: with them a walk shows how deep it could go, and how sure it is there."""
    scope = {m: sources[m].bundle.manifest["thresholds"].get("in_scope", IN_SCOPE_DEFAULT) for m in sources}
    return {
        "name": "fusion",
        "version": "0.0.0",
        "tree_version": load_tree().version,
        "weights": {m: weights.get(m, 0.0) for m in MODALITIES},
        "scope_cap": SCOPE_CAP,
        "thresholds": {
            "level": {str(level): 0.0 for level in ERROR_ALLOWED},
            "in_scope": {m: float(scope.get(m, IN_SCOPE_DEFAULT)) for m in MODALITIES},
            "discordance": LEAST_CONTRADICTION,
            "urgent_apl": 0.0,
            "maturation": 0.2,
        },
        "conformal": {"coverage": COVERAGE, "mass": {"otherwise": 1.0}},
    }


def calibrate(sources: Mapping[str, Source], patients: Patients, rules: dict[str, Any]) -> dict[str, Any]:
    """Set the thresholds in ``rules`` from the patients of the first half, each before those that need it."""
    thresholds = rules["thresholds"]
    prior = np.array(list(load_tree().prior.values()))
    readings = [usable(patients.findings(i, sources), rules) for i in range(len(patients))]
    strengths = [strongest_contradiction(r, prior) for r in readings if len(r) > 1]
    usual = np.quantile(strengths, 1 - FALSE_CONTRADICTIONS) if strengths else 0.0
    thresholds["discordance"] = max(float(usual), LEAST_CONTRADICTION)
    rules["conformal"]["mass"] = _conformal_masses(patients, readings, prior)
    said = [fuse(patients.findings(i, sources), _bundle_of(rules)) for i in range(len(patients))]
    leaves = load_tree().leaves
    truth = [leaves[leaf] for leaf in patients.leaf]
    looked_at = [a.probabilities["apl"] for a, leaf in zip(said, truth, strict=True) if leaf == "apl" and a.urgent]
    thresholds["urgent_apl"] = float(np.quantile(looked_at, 1 - APL_SENSITIVITY)) if looked_at else 0.0
    thresholds["level"] = {str(level): _level_threshold(said, truth, level) for level in ERROR_ALLOWED}
    return rules


def strongest_contradiction(readings: list[ev.Reading], prior: ev.Array) -> float:
    found = [ev.contradictions(a, b, prior) for a, b in combinations(readings, 2)]
    return max((strength for nodes in found for strength, _, _ in nodes.values()), default=0.0)


def _conformal_masses(patients: Patients, readings: list[list[ev.Reading]], prior: ev.Array) -> dict[str, float]:
    """Combination of modalities → the mass above the true leaf that 90 % of its patients do not exceed."""
    scores: dict[str, list[float]] = {}
    for leaf, one in zip(patients.leaf, readings, strict=True):
        evidence = ev.total(one)
        score = ev.mass_above(ev.posterior(prior, evidence), evidence)[leaf]
        scores.setdefault("+".join(r.modality for r in one), []).append(float(score))
    masses = {key: _conformal_quantile(values) for key, values in sorted(scores.items()) if len(values) >= FEWEST}
    everyone = _conformal_quantile([score for values in scores.values() for score in values])
    return {**masses, "otherwise": max([everyone, *masses.values()])}


def _conformal_quantile(scores: list[float]) -> float:
    """The ⌈(n+1)·coverage⌉-th smallest score (Vovk et al. 2005)."""
    rank = int(np.ceil((len(scores) + 1) * COVERAGE))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _level_threshold(said: list[Any], truth: list[str], level: int) -> float:
    """The smallest threshold from 0.7 at which answers that reach this level err at most as often as allowed."""
    tree = load_tree()
    reached = []
    for assessment, leaf in zip(said, truth, strict=True):
        path = tree.path(assessment.answer["node"]) if assessment.answer else ()
        if len(path) > level:
            reached.append((assessment.probabilities[path[level]], leaf in tree.leaves_under(path[level])))
    for threshold in np.arange(LOWEST_THRESHOLD, 0.995, 0.01):
        right = [is_right for p, is_right in reached if p >= threshold]
        if right and (right.count(False) + 1) / (len(right) + 1) <= ERROR_ALLOWED[level]:
            return round(float(threshold), 2)
    return 0.99


def _bundle_of(rules: dict[str, Any]) -> Bundle:
    return Bundle(Path("unsealed"), "0" * 64, rules)


def train(oof: Path, out: Path, bundles: Path, seed: int, n: int) -> Bundle:
    started = time.monotonic()
    sources = read_sources(oof, bundles, seed)
    weights = learn_weights(sources, draw_patients(sources, 0, 4 * n, seed))
    rules = calibrate(sources, draw_patients(sources, 0, n, seed + 1), first_rules(sources, weights))
    rules["version"] = out.name
    held_out = draw_patients(sources, 1, n, seed + 2)
    metrics = report(sources, held_out, _bundle_of(rules), seed)
    metrics |= report_pairs(oof / "pairs.csv", sources, _bundle_of(rules))
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
    counts = Counter(f"{key}: {value}" for key, value in bundle.manifest["weights"].items())
    print(f"{bundle.reference} sealed in {bundle.path}; weights {sorted(counts)}")  # noqa: T201 (a command's answer)


if __name__ == "__main__":
    main()
