"""Which in-scope score tells smears from everything else? ``docs/measured/in_scope.json``: python -m bench.in_scope

Of the first fold of each smear bundle's training: the squared Mahalanobis distance of the middle features of two trunks
(ImageNet's and the fine-tuned one), the energy of the classifier's logits (Liu et al. 2020, arXiv:2010.03759), and the
error with which an autoencoder remakes the picture. All have learned from the other folds alone; what they are asked of
has been learned from by none.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from ml import train_cell, train_field, training
from ml.autoencoder import fit_autoencoder, load_autoencoder, reconstruction_error
from ml.cards import table
from ml.cell_view import central_cell, shown
from ml.networks import embed, load_trunk
from ml.smear import measured, prepare
from ml.smear_data import load_cells, load_fields
from ml.weak_cells import weak_cells

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "measured" / "in_scope.json"
HELD_OUT, SIDE = 0, 64
SCORES = (
    "distance of the trunk left as it was",
    "distance of the fine-tuned trunk",
    "energy of logits",
    "autoencoder error",
)
GATED = "the first, behind the quality gate"


@dataclass(frozen=True)
class Fold:
    """A bundle's training seen from one fold: ``pictures`` (n, side, side, 3) as its trunk sees them, which were
    ``learned`` (n,) from, its trunk and head, ImageNet's trunk, and the images that are none of its business.
    """

    pictures: Any
    learned: Any
    trunk: Any
    head: Any
    frozen: Any
    checks: training.Checks


def of_fields(said: argparse.Namespace) -> Fold:
    fields, trunk = load_fields(said.fields), load_trunk(said.weights)
    pictures, table_of = training.gather(fields.paths, train_field.PREPROCESSING, train_field.seen, said.cache)
    fold = train_field.folds_of(fields, 0)["grouped"]
    examples = train_field.examples_of(pictures, fields.y)
    rows = np.flatnonzero(fold != HELD_OUT)
    learned, head = training.tuned(trunk, examples, rows, train_field.RECIPE, 0, said.cache)
    checks = training.Checks(
        fields.paths, table_of, training.Strangers(said.foreign, said.slides), train_field.PREPROCESSING, 0
    )
    return Fold(pictures, fold != HELD_OUT, learned, head, trunk, checks)


def of_cells(said: argparse.Namespace) -> Fold:
    cells, trunk = load_cells(said.cells), load_trunk(said.weights)
    paths, names = [Path(name) for name in cells.file], tuple(sorted(cells.cell_class.unique()))
    y = np.array([names.index(name) for name in cells.cell_class])

    def see(image: Any) -> Any:
        return central_cell(image, train_cell.SIDE)[0]

    views, table_of = training.gather(paths, train_cell.PREPROCESSING, see, said.cache)
    weak, fold = weak_cells(said.fields, said.cache), train_cell.patient_folds(cells, 0)
    examples = train_cell.together(views, y, names, weak, cells.diagnosis.to_numpy())
    rows = np.flatnonzero(np.concatenate([fold, weak.fold]) != HELD_OUT)
    learned, head = training.tuned(trunk, examples, rows, train_cell.RECIPE, 0, said.cache)
    checks = training.Checks(
        paths, table_of, training.Strangers(said.foreign, said.slides), train_cell.PREPROCESSING, 0
    )
    return Fold(shown(views), fold != HELD_OUT, learned, head, trunk, checks)


def small(pictures: Any) -> Any:
    return np.stack([cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in pictures])


def scorers(fold: Fold, steps: int) -> dict[str, Callable[[Any], Any]]:
    """Of SCORES: pictures → how unlike the training set, (n,)."""
    own = {"of the trunk left as it was": fold.frozen, "of the fine-tuned trunk": fold.trunk}
    near = {name: training.nearness(embed(trunk, fold.pictures[fold.learned]), 0) for name, trunk in own.items()}
    settings = {"side": SIDE, "steps": steps, "batch": 32, "save_every": steps, "width": 24, "code": 96, "rate": 1e-3}
    with tempfile.TemporaryDirectory() as folder:
        model = load_autoencoder(fit_autoencoder(small(fold.pictures[fold.learned]), settings, Path(folder), seed=0))
    return {
        f"distance {name}": lambda pictures, trunk=trunk, name=name: near[name].distance(embed(trunk, pictures))
        for name, trunk in own.items()
    } | {
        SCORES[2]: lambda pictures: -logsumexp(fold.head.logits(embed(fold.trunk, pictures)), axis=1),
        SCORES[3]: lambda pictures: reconstruction_error(model, small(pictures)),
    }


def auroc(inside: Any, outside: Any) -> float:
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    return float(roc_auc_score(truth, np.concatenate([inside, outside])))


def passing(fold: Fold, images: list[Any]) -> Any:
    limits = training.thresholds_of_quality(fold.checks.measured)
    view = fold.checks.preprocessing["view"]
    return np.array([training.passes(measured(image, view)[0], limits) for image in images])


def measure(fold: Fold, steps: int) -> dict[str, Any]:
    """Kind of image → n, and the AUROC of each score against held-out smears."""
    held, said = fold.pictures[~fold.learned], {}
    scores = scorers(fold, steps)
    inside = {name: score(held) for name, score in scores.items()}
    top = 1e6  # what the gate stops is as unlike as can be
    for kind, images in fold.checks.kinds().items():
        prepared = [prepare(image, fold.checks.preprocessing) for image in images]
        pictures = np.stack([picture for picture, _ in prepared])
        outside = {name: score(pictures) for name, score in scores.items()}
        said[kind] = {"n": len(images)} | {name: auroc(inside[name], outside[name]) for name in SCORES}
        stopped = ~passing(fold, images) | ~np.array([shows for _, shows in prepared])
        said[kind][GATED] = auroc(inside[SCORES[0]], np.where(stopped, top, outside[SCORES[0]]))
    return {"held_out": len(held), "kinds": said}


ABOUT = """\
AUROC of telling held-out smears (one fifth, by blocks or patients) from images that are none of the bundle's business.
Networks and autoencoder ({steps} steps, {side} px) have learned from the other four fifths. The product uses the last
column: what its quality gate blocks, or shows no nucleus, scores 0 (the gate's limits stop at most a few in a thousand
of the training images, which are not counted against it here).\
"""


def section(report: dict[str, Any]) -> list[str]:
    """Markdown of ``in_scope.json``."""
    lines = ["## In scope or not: the candidates", "", ABOUT.format(steps=report["steps"], side=SIDE), ""]
    for name, said in report["bundles"].items():
        rows = [
            [kind, of["n"], *(f"{of[score]:.3f}" for score in (*SCORES, GATED))] for kind, of in said["kinds"].items()
        ]
        lines += [f"{name}, {said['held_out']} held-out images:", "", *table(("images", "n", *SCORES, GATED), rows), ""]
    return lines[:-1]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.in_scope", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", type=Path, required=True, help="folder with cells.csv")
    parser.add_argument("--fields", type=Path, required=True, help="folder of the four classes")
    parser.add_argument("--foreign", type=Path, help="fields of another laboratory without leukaemia")
    parser.add_argument("--slides", type=Path, help="slides of other organs")
    parser.add_argument("--weights", type=Path, required=True, help="mobilenet_v2_imagenet.safetensors")
    parser.add_argument("--cache", type=Path, help="the trainings' cache, so that their networks are used")
    parser.add_argument("--steps", type=int, default=1200, help="of the autoencoder")
    parser.add_argument("--out", type=Path, default=TARGET)
    said = parser.parse_args(words)
    bundles = {name: measure(fold(said), said.steps) for name, fold in FOLDS.items()}
    report = {"steps": said.steps, "bundles": bundles}
    said.out.parent.mkdir(parents=True, exist_ok=True)
    said.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n".join(section(report)))


FOLDS = {"smear-field": of_fields, "smear-cell": of_cells}


if __name__ == "__main__":
    main()
