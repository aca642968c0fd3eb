"""Train the smear-field bundle: the trunk fine-tuned on fields in far stains, calibrated on blocks of neighbours."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

from ml import augment, training
from ml.calibration import fit_temperature
from ml.datasets import FIELD_LABELS
from ml.diagnosis_tree import load_tree
from ml.finetune import Examples, Recipe, balanced
from ml.heads import fit_scope
from ml.networks import embed, load_trunk, to_tensor
from ml.smear import whole_field
from ml.smear_data import Fields, load_fields
from ml.stain import normaliser
from ml.training import FOLDS, Strangers, scored

if TYPE_CHECKING:
    from pathlib import Path

    from ml.bundle import Bundle
    from ml.heads import Floats, Labels
    from ml.networks import Trunk
    from ml.smear import Rgb

TURNS = 1
PREPROCESSING: dict[str, Any] = {
    "view": "field",
    "side": 160,
    "turns": TURNS,
    "masked_corner": 0.15,
    "stain_reference": {"method": "two-point", "density": 1.0},
}
RECIPE = Recipe(view=augment.random_field, epochs=6, per_epoch=2560)
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
    strangers: Strangers | None = None,
    cache: Path | None = None,
    oof: Path | None = None,
) -> Bundle:
    """Write the bundle into ``out``, its held-out predictions into ``oof``.

    ``data``: class folders (see load_fields); ``weights``: ImageNet MobileNetV2; ``strangers``: only asked.
    """
    started, strangers = time.monotonic(), strangers or Strangers()
    fields, trunk = load_fields(data), load_trunk(weights)
    pictures, measured = training.gather(fields.paths, PREPROCESSING, seen, cache)
    y, folds = fields.y, folds_of(fields, seed)
    examples = examples_of(pictures, y)
    frozen = embed(trunk, pictures, turns=TURNS)
    held = {name: held_out((trunk, frozen), examples, fold, seed, cache) for name, fold in folds.items()}
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
    learned, head = training.tuned(trunk, examples, np.arange(len(y)), RECIPE, seed, cache)
    near = training.nearness(frozen, seed)
    checks = training.Checks(fields.paths, measured, strangers, PREPROCESSING, seed)
    manifest = {
        "modality": "smear_field",
        "labels": training.labels_of(FIELD_LABELS, y, leaves(), NAMES),
        "head_labels": {"image": list(FIELD_LABELS)},
        "preprocessing": PREPROCESSING,
        "calibration": {"image_temperature": fit_temperature(held["grouped"].logits, y)},
        "thresholds": training.thresholds(measured, scope),
        "in_scope": checks.report(held["grouped"].distance, trunk, near, scope)
        | {"notes": checks.asked(learned, head, FIELD_LABELS)},
        "metrics": metrics(p, y, held["grouped"], folds["grouped"], fields),
        "baselines": baselines(measured, y, folds, seed),
        "data": [
            {"name": DATA, "n": len(y), "licence": "research use", "source": "Taleqani Hospital, Tehran"},
            {"name": "ImageNet (trunks)", "n": 1_281_167, "licence": "Apache-2.0 weights", "source": "MobileNetV2"},
        ],
        "intended_use": INTENDED,
        "limits": LIMITS,
    }
    return training.seal("smear-field", out, (learned, trunk), (near, None), {"image": head}, manifest, seed, started)


def examples_of(pictures: Rgb, y: Labels) -> Examples:
    """All classes drawn equally often."""
    return Examples(pictures, np.eye(len(FIELD_LABELS), dtype=bool)[y], np.full(len(y), 0.02), balanced(y, 1.0))


def held_out(
    start: tuple[Trunk, training.Features], examples: Examples, fold: Labels, seed: int, cache: Path | None
) -> training.Held:
    """Each field from a network, a classifier and a projection that have not seen its fold.

    ``start``: the trunk before it is fine-tuned, and its features of all fields.
    """
    trunk, frozen = start
    held = training.Held.empty(*examples.allowed.shape)
    generator = torch.Generator().manual_seed(seed)

    def shift(x: torch.Tensor) -> torch.Tensor:
        return renormalised(augment.shift(x, generator))

    for k in tqdm(np.unique(fold), desc="folds", disable=not sys.stderr.isatty(), leave=False):
        others, rows = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        learned, head = training.tuned(trunk, examples, others, RECIPE, seed, cache)
        distance = training.nearness(frozen[others], seed).distance(frozen[rows])
        plain = embed(learned, examples.pictures[rows], turns=TURNS)
        shifted = embed(learned, examples.pictures[rows], shift, turns=TURNS)
        held.fill(rows, plain, shifted, head, distance)
        held.cornered[rows] = head.logits(embed(learned, black_corner(examples.pictures[rows]), turns=TURNS))
    return held


def black_corner(pictures: Rgb) -> Rgb:
    """Where the scale bar was painted white, painted black: whether the corner can move an answer."""
    pictures, corner = pictures.copy(), round(pictures.shape[1] * PREPROCESSING["masked_corner"])
    pictures[:, -corner:, -corner:] = 0
    return pictures


def seen(image: Rgb) -> Rgb:
    return whole_field(image, PREPROCESSING)[0]


def renormalised(x: torch.Tensor) -> torch.Tensor:
    """Shifted pictures through the stain normalisation again, as a real image of another laboratory would go."""
    images = np.round(x.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    normalise = normaliser(PREPROCESSING["stain_reference"])
    return to_tensor(np.stack([normalise(image) for image in images]))


def metrics(p: dict[str, Floats], y: Labels, held: training.Held, fold: Labels, fields: Fields) -> dict[str, Any]:
    shifted, cornered = (training.calibrated(held.logits, y, fold, asked) for asked in (held.shifted, held.cornered))
    return {
        "grouped": scored(p["grouped"], y, FIELD_LABELS, DATA, GROUPED, fields.block),
        "random": scored(p["random"], y, FIELD_LABELS, DATA, RANDOM),
        "grouped, another stain": scored(
            shifted,
            y,
            FIELD_LABELS,
            f"{DATA}, hue, saturation, contrast and brightness of each moved strongly at random",
            GROUPED,
            fields.block,
        ),
        "grouped, scale-bar corner black": scored(
            cornered, y, FIELD_LABELS, f"{DATA}, corner black instead of white", GROUPED, fields.block
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
