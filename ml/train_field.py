"""Train the smear-field bundle: a frozen trunk, a small network on its features, calibrated on blocks of neighbours."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import StratifiedKFold

from ml import training
from ml.calibration import fit_temperature
from ml.diagnosis_tree import load_tree
from ml.heads import fit_scope
from ml.networks import load_trunk
from ml.smear_data import FIELD_LABELS, Fields, load_fields
from ml.training import FOLDS, scored

if TYPE_CHECKING:
    from pathlib import Path

    from ml.bundle import Bundle
    from ml.heads import Floats, Labels

PREPROCESSING = {
    "side": 224,
    "centre": 1.0,
    "masked_corner": 0.15,
    "stain": "background to white, one gain for nuclear density",
}
NAMES = {
    "haematogones": "Benign: haematogones, no leukaemia",
    "Early Pre-B": "B-ALL, early pre-B stage",
    "Pre-B": "B-ALL, pre-B stage",
    "Pro-B": "B-ALL, pro-B stage",
}
DATA = "Aria et al. 2021, smear fields"
GROUPED = "5-fold by contiguous file-number blocks"
RANDOM = "stratified random 5-fold"
INTENDED = (
    "For a haematologist's eyes: says whether 100× fields of a Romanowsky-stained blood smear look like haematogones "
    "or like B-lymphoblasts at one of three stages. It tells these four apart and nothing else. It decides nothing."
)
LIMITS = [
    "One laboratory, microscope and camera, 89 patients without identifiers: figures on its own images flatter it.",
    "At another laboratory a like model (same trunk, linear probe) had a balanced accuracy of only 0.52–0.59.",
    "It has seen no healthy person's smear, no AML, no T-ALL; to them, too, it gives one of its four labels.",
    "A benign answer never excludes leukaemia: it means haematogones rather than B-ALL, among the two.",
    "Colour alone separates the training classes (see the colour baseline), which no laboratory has to repeat.",
    "The training photographs were stored as 224 × 224 squares of 4:3 fields; other magnifications are less reliable.",
]


def leaves() -> dict[str, tuple[str, ...]]:
    tree = load_tree()
    b_all = tree.leaves_under("b_all")
    return {label: ("haematogones",) if label == "haematogones" else b_all for label in FIELD_LABELS}


def folds_of(fields: Fields, seed: int) -> dict[str, Labels]:
    shuffled = np.zeros(len(fields.y), dtype=np.int64)
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for k, (_, held) in enumerate(splitter.split(fields.y, fields.y)):
        shuffled[held] = k
    return {"grouped": (fields.part * FOLDS).astype(np.int64), "random": shuffled}


def train(
    data: Path,
    weights: Path,
    out: Path,
    seed: int = 0,
    *,
    foreign: Path | None = None,
    cache: Path | None = None,
    oof: Path | None = None,
) -> Bundle:
    """Write the bundle into ``out``, its held-out predictions into ``oof``.

    ``data``: class folders (see load_fields); ``weights``: ImageNet MobileNetV2; ``foreign``: images of another
    laboratory without leukaemia, only asked, never learned from.
    """
    started = time.monotonic()
    fields, trunk = load_fields(data), load_trunk(weights)
    features, measured = training.gather(fields.paths, PREPROCESSING, trunk, seed, cache)
    y, classes, folds = fields.y, len(FIELD_LABELS), folds_of(fields, seed)
    held = {name: training.out_of_fold(features, y, fold, classes, seed) for name, fold in folds.items()}
    p = {name: training.calibrated(held[name].logits, y, fold) for name, fold in folds.items()}
    scope = fit_scope(held["grouped"].distance)
    if oof:
        table = {
            "id": [f"{q.parent.name}/{q.stem}" for q in fields.paths],
            "group": fields.block,
            "cohort": "aria-2021",
        }
        table |= {"y": [FIELD_LABELS[k] for k in y], "in_scope": scope.score(held["grouped"].distance)}
        training.write_oof(oof, table, p["grouped"], FIELD_LABELS)
    projection, head = training.fit_images(features, y, np.arange(len(y)), classes, seed)
    checks = training.Checks(fields.paths, foreign, PREPROCESSING, seed)
    manifest = {
        "modality": "smear_field",
        "labels": training.labels_of(FIELD_LABELS, y, leaves(), NAMES),
        "head_labels": {"image": list(FIELD_LABELS)},
        "preprocessing": PREPROCESSING,
        "calibration": {"image_temperature": fit_temperature(held["grouped"].logits, y)},
        "thresholds": training.thresholds(measured, scope),
        "in_scope": checks.report(held["grouped"].distance, trunk, projection, scope)
        | {"notes": checks.asked(trunk, projection, head, FIELD_LABELS)},
        "metrics": metrics(p, y, held["grouped"], folds["grouped"], fields),
        "baselines": baselines(measured, y, folds, seed),
        "data": [
            {"name": DATA, "n": len(y), "licence": "research use", "source": "Taleqani Hospital, Tehran"},
            {"name": "ImageNet (trunk)", "n": 1_281_167, "licence": "Apache-2.0 weights", "source": "MobileNetV2"},
        ],
        "intended_use": INTENDED,
        "limits": LIMITS,
    }
    return training.seal("smear-field", out, trunk, projection, {"image": head}, manifest, seed, started)


def metrics(p: dict[str, Floats], y: Labels, held: training.Held, fold: Labels, fields: Fields) -> dict[str, Any]:
    views = training.calibrated(held.view_logits, y, fold)
    return {
        "grouped": scored(p["grouped"], y, FIELD_LABELS, DATA, GROUPED, fields.block),
        "random": scored(p["random"], y, FIELD_LABELS, DATA, RANDOM),
        "grouped, altered": scored(
            views, y, FIELD_LABELS, f"{DATA}, each turned, rescaled and restained at random", GROUPED, fields.block
        ),
    }


def baselines(measured: Any, y: Labels, folds: dict[str, Labels], seed: int) -> dict[str, Any]:
    colours = measured.filter(like="colour").to_numpy()
    said: dict[str, Any] = {"majority": training.majority_baseline(y, FIELD_LABELS)}
    for name, fold in folds.items():
        p = training.colour_baseline(colours, y, fold, len(FIELD_LABELS), seed)
        split = {"grouped": GROUPED, "random": RANDOM}[name]
        said[f"colour alone, {name}"] = scored(p, y, FIELD_LABELS, DATA, split)
    return said
