"""Learn the fusion bundle from held-out predictions: ``python -m ml.fusion_training --oof DIR --out DIR --seed N``.

Five folds of people. For each, weights and ensemble are learned on the other four and asked about the fifth. What they
say there, of virtual patients of every combination of modalities and of the real pairs, is all that is calibrated on
and reported; in the report, each fold's thresholds come from the other folds. The bundle's weights are learned on
everybody, its thresholds are from all that was held out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml import fusion_report as report
from ml.bundle import BUNDLES, Bundle, seal_bundle
from ml.fusion_calibration import LEAST_IN_SCOPE, Group, apl_margins, calibrate, first_rules, stops_of
from ml.fusion_card import card, pictures
from ml.fusion_learning import (
    ALONE_COUNTS,
    PAIRS_COUNT,
    learn_stack,
    learn_weights,
    lesson_of,
    validation_statistics,
    weighed_evidence,
)
from ml.stacking import STACK_FILE
from ml.virtual_patients import (
    FOLDS,
    combinations_of,
    draw_patients,
    patients_of,
    read_pairs,
    read_sources,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml.stacking import Stack
    from ml.virtual_patients import Source

Learned = tuple[dict[str, float], "Stack"]
EVERYBODY = tuple(range(FOLDS))
APL_DRAWN = 0.4  # of the patients of each combination, as many again are drawn for having APL


def learn(
    sources: Mapping[str, Source], pairs: Mapping[str, Source], folds: tuple[int, ...], n: int, seed: int
) -> Learned:
    """Weights and ensemble from n virtual patients of each combination, and the real pairs, of these folds."""
    rng = np.random.default_rng(seed)
    drawn = [draw_patients(sources, some, folds, n, rng) for some in combinations_of(sources)]
    drawn = [some for some in drawn if len(some)]
    counts = [ALONE_COUNTS if len(some.rows) == 1 else 1.0 for some in drawn]
    lessons = [lesson_of(list(sources), sources, some, count) for some, count in zip(drawn, counts, strict=True)]
    if pairs:
        lessons.append(lesson_of(list(sources), pairs, patients_of(pairs, folds), PAIRS_COUNT))
    weights = learn_weights(list(sources), lessons)
    return weights, learn_stack(sources, drawn, weights, seed)


def held_out(
    sources: Mapping[str, Source], learned: Mapping[int, Learned], n: int, seed: int
) -> dict[str, tuple[Group, report.Outputs]]:
    """Of every combination, n patients of each fold by what was learned on the others, and some more that have APL."""
    rng, found = np.random.default_rng(seed), {}
    for some in combinations_of(sources):
        parts, outputs, enriched = [], [], []
        for fold, (weights, stack) in learned.items():
            for count, leaves in ((n, None), (int(n * APL_DRAWN), ("apl",))):
                patients = draw_patients(sources, some, [fold], count, rng, leaves)
                parts.append((patients, fold, weights))
                outputs.append(report.say_all(sources, patients, weights, stack))
                enriched.append(np.full(len(patients), leaves is not None))
        group = group_of(sources, parts, np.concatenate(enriched))
        found[group.key] = (group, report.joined(outputs))
    return found


def group_of(sources: Mapping[str, Source], parts: list[Any], enriched: Any) -> Group:
    patients = together([part for part, _, _ in parts])
    readings = [part.readings(i, sources, first_rules(weights)) for part, _, weights in parts for i in range(len(part))]
    evidence = [sum(weighed_evidence(sources, part, weights).values()) for part, _, weights in parts if len(part)]
    stops = [stops_of(some) for some in readings]
    return Group(
        patients=patients,
        readings=readings,
        p=np.zeros(0),
        evidence=np.concatenate(evidence),
        fold=np.concatenate([np.full(len(part), fold) for part, fold, _ in parts]),
        enriched=enriched,
        strength=np.array([max(some.values(), default=0.0) for some in stops]),
        stops=stops,
    )


def train(oof: Path, out: Path, bundles: Path, seed: int, n: int) -> Bundle:
    started = time.monotonic()
    sources = read_sources(oof, bundles, LEAST_IN_SCOPE, seed)
    pairs = read_pairs(oof / "pairs.csv", sources)
    others = {fold: tuple(k for k in EVERYBODY if k != fold) for fold in EVERYBODY}
    learned = {fold: learn(sources, pairs, folds, n, seed + fold) for fold, folds in others.items()}
    weights, stack = learn(sources, pairs, EVERYBODY, n, seed + FOLDS)
    said = held_out(sources, learned, max(n // FOLDS, 1), seed + FOLDS + 1)
    real = {"pairs": report.of_pairs(pairs, learned)} if pairs else {}
    chosen = report.choose(said, real)
    groups = {key: report.with_method(group, outputs, chosen["method"]) for key, (group, outputs) in said.items()}
    margins = apl_margins(groups)
    by_fold = {fold: calibrate(groups, sources, first_rules(weights), folds, margins) for fold, folds in others.items()}
    rules = calibrate(groups, sources, first_rules(weights), EVERYBODY, margins)
    rules |= {"version": out.name, "method": chosen["method"]}
    rules["next_test"] = {m: validation_statistics(source) for m, source in sources.items()}
    metrics = report.metrics(said, groups, by_fold, real, chosen, sources, rules, seed)
    manifest = {
        **rules,
        "modality": "fusion",
        "labels": {},
        "preprocessing": {},
        "calibration": {
            "conformal": "cross-conformal by combination of modalities and lineage",
            "apl_margins": margins,
            "chosen": chosen,
        },
        "in_scope": {m: {"usable": round(s.usable, 4)} for m, s in sources.items()},
        "metrics": metrics,
        "baselines": {},
        "bundles": {m: {"reference": s.bundle.reference, "sha256": s.bundle.sha256} for m, s in sources.items()},
        "data": report.data_of(sources),
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
    stack.save(out / STACK_FILE)
    (out / "card.md").write_text(card(manifest), "utf-8")
    for name, png in pictures(manifest).items():
        (out / name).write_bytes(png)
    return seal_bundle(out, manifest)


LIMITS = [
    "Learned on virtual patients: results drawn independently within a diagnosis. Real results share more than that.",
    "Real people with two kinds of results are few, all of one study and all with AML; they are reported apart.",
    "No modality has seen mixed-phenotype leukaemia, T-ALL subtypes, or laboratory values of people without leukaemia.",
    (
        "The held-out predictions of the single cells are by linear heads on the trunk as ImageNet left it, not by the "
        "fine-tuned trunk of the bundle: what single cells add may be misjudged."
    ),
    "Nobody has both smear fields and single cells: what the two say together is not measured.",
    "The prior is an assumption about a referral in which acute leukaemia is suspected; a site must set its own.",
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ml.fusion_training", description=__doc__)
    parser.add_argument("--oof", type=Path, required=True, help="folder with the held-out predictions of the bundles")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle, named by its version")
    parser.add_argument("--bundles", type=Path, default=BUNDLES, help="where the modalities' bundles are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patients", type=int, default=1000, help="virtual patients of each combination of modalities")
    said = parser.parse_args()
    bundle = train(said.oof, said.out, said.bundles, said.seed, said.patients)
    print(f"{bundle.reference} sealed in {bundle.path}: {bundle.manifest['weights']}")  # noqa: T201 (a command's answer)


if __name__ == "__main__":
    main()
