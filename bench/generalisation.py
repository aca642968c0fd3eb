"""What each step gains in a laboratory that the reader has never seen: python -m bench.generalisation

Every step learns blast or promyelocyte against the rest from the named cells of four fifths of the patients, and is
asked about the other patients (home), about cells found in another laboratory's fields that are leukaemic or benign
(away: nobody named these cells, their field's diagnosis stands for them), and about a third laboratory's normal cells,
of which none may be called a blast. Writes ``docs/measured/generalisation.json``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from tqdm import tqdm

from ml import augment, datasets, finetune, morphology
from ml.blast_evaluation import DRAWS, KNOWN_NORMAL, at_site
from ml.blast_figures import youden
from ml.calibration import interval_text, resamples
from ml.cards import table
from ml.cell_view import SIDE_OF_VIEWS, bare, central, cut_off, red_diameter_of, shown, view, window
from ml.datasets import FIELD_LABELS
from ml.finetune import Examples, Recipe, balanced
from ml.heads import fit_projection
from ml.networks import embed, load_trunk
from ml.site_threshold import log_odds
from ml.smear_cell import BLAST_OR_PROMYELOCYTE
from ml.smear_data import first_frame, load_cells, load_fields
from ml.train_cell import patient_folds
from ml.weak_cells import as_photographed
from ml.white_cells import find_cells, optical_density, without_black

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "measured" / "generalisation.json"
HELD_OUT = 0  # the fold of patients that is asked
MOST, EVERY = 4, 3  # cells of a field; every third field
ROUNDS = 300
SIDE = SIDE_OF_VIEWS


@dataclass(frozen=True)
class Cells:
    """Cells of one laboratory in four guises; ``group`` (n,) patient, or block of fields; ``unit`` (n,) the row or
    field that is judged; ``blast`` (n,) what is true of it.
    """

    raw: Any
    scaled: Any
    view: Any
    unit: Any
    group: Any
    blast: Any

    def pictures(self, guise: str) -> Any:
        return shown(self.view) if guise == "shown" else getattr(self, guise)


def boxed(image: Any, box: tuple[float, ...]) -> Any:
    """The square around a box, at whatever scale makes it fill the picture: what a detector hands on."""
    top, left, bottom, right = box
    step = 1.2 * max(bottom - top, right - left) / SIDE
    corner = [c - step * (SIDE - 1) / 2 for c in ((left + right) / 2, (top + bottom) / 2)]
    there = np.array([[step, 0, corner[0]], [0, step, corner[1]]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, there, (SIDE, SIDE), flags=how, borderValue=(255, 255, 255))


def guises(image: Any, chosen: Any, found: Any) -> list[tuple[Any, Any, Any]]:
    density = optical_density(without_black(image))
    said = []
    for cell in chosen:
        scaled = window(density, cell, red_diameter_of(cell, found), SIDE, 1.0)
        scaled = np.round(255 * np.exp(-np.clip(scaled, 0, 4))).astype(np.uint8)
        said.append((boxed(image, cell.box), scaled, view(density, cell, found, SIDE)))
    return said


def of_crop(image: Any) -> list[tuple[Any, Any, Any]]:
    found = find_cells(image)
    cell = central(found, image)
    plain = bare(image, SIDE)
    return guises(image, [cell], found) if cell else [(plain[..., :3], plain[..., :3], plain)]


def of_field(image: Any) -> list[tuple[Any, Any, Any]]:
    found = find_cells(image)
    whole = [cell for cell in found.cells if not cut_off(cell, found)]
    order = np.random.default_rng(len(whole)).permutation(len(whole))[:MOST]
    return guises(image, [whole[k] for k in order], found)


def gather(work: Path, name: str, images: Any, cut: Any) -> tuple[Any, Any]:
    """(three stacks of pictures, number of the image that each came from), kept in ``work``."""
    path = work / f"generalisation_{name}.npz"
    if not path.is_file():
        of_images = [(k, said) for k, image in enumerate(tqdm(images, desc=name, disable=None)) for said in cut(image)]
        stacks = [np.stack([said[g] for _, said in of_images]) for g in range(3)]
        np.savez(path, *stacks, own=np.array([k for k, _ in of_images]))
    with np.load(path) as kept:
        return [kept[f"arr_{g}"] for g in range(3)], kept["own"]


def laboratories(said: argparse.Namespace) -> tuple[Cells, Any, tuple[str, ...], Any, Cells, Cells]:
    """Home with its labels, their names and folds; away; normal."""
    named = load_cells(said.cells)
    stacks, _ = gather(said.work, "cells", [first_frame(Path(file)) for file in named.file], of_crop)
    names = tuple(sorted(named.cell_class.unique()))
    y = np.array([names.index(name) for name in named.cell_class])
    blast = np.isin(named.cell_class, BLAST_OR_PROMYELOCYTE)
    home = Cells(*stacks, np.arange(len(y)), named.patient.to_numpy(), blast)
    fields = load_fields(said.fields)
    some = np.arange(len(fields.y))[::EVERY]
    pictures = (as_photographed(first_frame(fields.paths[k])) for k in some)
    stacks, own = gather(said.work, "fields", pictures, of_field)
    away = Cells(*stacks, own, fields.block[some][own], fields.y[some][own] != FIELD_LABELS.index("haematogones"))
    foreign = [first_frame(path) for path in datasets.load("bccd", said.foreign).paths]
    stacks, own = gather(said.work, "foreign", foreign, of_field)
    return home, y, names, patient_folds(named, 0), away, Cells(*stacks, own, own, np.zeros(len(own), bool))


@dataclass(frozen=True)
class Asked:
    """A step's P(blast) of the cells of each laboratory; ``home`` of the held-out patients alone."""

    home: Any
    away: Any
    normal: Any


def upright(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrored at random: all that plain transfer does."""
    return x.flip(3) if float(torch.rand(1, generator=generator)) < 0.5 else x


def varied(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """As augment.random_cell, for pictures without the channel of distances."""
    whole = torch.cat([x, torch.zeros_like(x[:, :1])], dim=1)
    return augment.random_cell(whole, generator, 1.0)


@dataclass(frozen=True)
class Bench:
    """What every step shares. ``seen``: rows of the home laboratory to learn from."""

    home: Cells
    y: Any
    names: tuple[str, ...]
    seen: Any
    away: Cells
    normal: Cells
    trunk: Any
    epochs: int
    work: Path

    @property
    def columns(self) -> list[int]:
        return [self.names.index(name) for name in BLAST_OR_PROMYELOCYTE]

    def asked(self, say: Any) -> Asked:
        """``say``: Cells → P(blast) (n,)."""
        return Asked(say(self.home)[~self.seen], say(self.away), say(self.normal))

    def colours(self) -> Asked:
        """A random forest on six numbers of the crop: mean and spread of its channels."""

        def six(cells: Cells) -> Any:
            flat = cells.raw.reshape(len(cells.raw), -1, 3) / 255
            return np.hstack([flat.mean(axis=1), flat.std(axis=1)])

        forest = RandomForestClassifier(300, random_state=0, n_jobs=2)
        forest.fit(six(self.home)[self.seen], self.home.blast[self.seen])
        return self.asked(lambda cells: forest.predict_proba(six(cells))[:, 1])

    def frozen(self) -> Asked:
        """A linear classifier on the ImageNet trunk's features."""
        x = {id(cells): embed(self.trunk, cells.raw) for cells in (self.home, self.away, self.normal)}
        projection = fit_projection(x[id(self.home)][self.seen], 128)
        z = projection.apply(x[id(self.home)][self.seen])
        linear = LogisticRegression(C=0.02, max_iter=1000).fit(z, self.home.blast[self.seen])
        return self.asked(lambda cells: linear.predict_proba(projection.apply(x[id(cells)]))[:, 1])

    def tuned(self, guise: str, shown_as: str, change: Any) -> Asked:
        pictures = self.home.pictures(guise)
        examples = Examples(pictures, np.eye(len(self.names), dtype=bool)[self.y], np.full(len(self.y), 0.02),
                            balanced(self.y))  # fmt: skip
        recipe = Recipe(view=change, epochs=self.epochs, per_epoch=4000)
        trunk, head = finetune.fit(self.trunk, examples, np.flatnonzero(self.seen), recipe, 0)

        def say(cells: Cells) -> Any:
            logits = head.logits(embed(trunk, cells.pictures(shown_as)))
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            return (odds / odds.sum(axis=1, keepdims=True))[:, self.columns].sum(axis=1)

        return self.asked(say)

    def shapes(self) -> Asked:
        """Gradient boosting on ml.morphology alone."""
        x = {id(cells): morphology.features(cells.view) for cells in (self.home, self.away, self.normal)}
        boosted = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, max_leaf_nodes=12, random_state=0)
        boosted.fit(x[id(self.home)][self.seen], self.home.blast[self.seen])
        return self.asked(lambda cells: boosted.predict_proba(x[id(cells)])[:, 1])


def both(one: Asked, other: Asked) -> Asked:
    """Mean log-odds."""
    mean = [(log_odds(a) + log_odds(b)) / 2 for a, b in zip(vars(one).values(), vars(other).values(), strict=True)]
    return Asked(*(1 / (1 + np.exp(-m)) for m in mean))


STEPS: dict[str, Any] = {
    "colour of the crop alone": lambda bench, _: bench.colours(),
    "frozen ImageNet features, crops as found": lambda bench, _: bench.frozen(),
    "fine-tuned, crops as found": lambda bench, _: bench.tuned("raw", "raw", upright),
    "+ red-cell scale, stain and scale changed at random": lambda bench, _: bench.tuned("scaled", "scaled", varied),
    "+ nucleus to one stain, surroundings white": lambda bench, _: bench.tuned("view", "shown", augment.random_cell),
    "nucleus and texture in numbers alone": lambda bench, _: bench.shapes(),
    "the last two together": lambda _, done: both(*list(done.values())[-2:]),
}


def of_units(p: Any, unit: Any) -> Any:
    return np.array([p[unit == u].mean() for u in np.unique(unit)])


def interval(figure: Any, group: Any, *arrays: Any) -> dict[str, float]:
    """``figure(*arrays)`` with a 95 % bootstrap over groups."""
    draws = [figure(*(array[rows] for array in arrays)) for rows in resamples(group, ROUNDS, 0)]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return {"value": float(figure(*arrays)), "low": float(low), "high": float(high)}


def auroc(truth: Any, p: Any) -> float:
    return float(roc_auc_score(truth, p)) if 0 < truth.sum() < len(truth) else np.nan


def figures(bench: Bench, asked: Asked) -> dict[str, Any]:
    held, away = ~bench.seen, bench.away
    truth, patient = bench.home.blast[held], bench.home.group[held]
    _, first = np.unique(away.unit, return_index=True)
    field_truth, block, p_field = away.blast[first], away.group[first], of_units(asked.away, away.unit)
    threshold = youden(truth, asked.home)
    return {
        "home, cells: AUROC": interval(auroc, patient, truth, asked.home),
        "away, fields: AUROC": interval(auroc, block, field_truth, p_field),
        "away, cells: balanced accuracy at the home threshold": _balanced(away.blast, asked.away >= threshold),
        f"the same after {KNOWN_NORMAL} normal cells": calibrated(asked, threshold, truth, away),
        "third laboratory's normal cells called blasts": float((asked.normal >= threshold).mean()),
        "threshold": threshold,
    }


def _balanced(truth: Any, called: Any) -> float:
    return float(balanced_accuracy_score(truth, called))


def calibrated(asked: Asked, threshold: float, truth: Any, away: Cells) -> dict[str, float]:
    """Balanced accuracy away after the site's threshold was learned from cells of its benign fields (see at_site)."""
    others = log_odds(asked.home[truth == 0])
    home = {"threshold": min(max(threshold, 1e-4), 1 - 1e-4), "normal_mean": others.mean(), "normal_sd": others.std()}
    return at_site(asked.away, away.blast, home)


def run(said: argparse.Namespace) -> dict[str, Any]:
    home, y, names, fold, away, normal = laboratories(said)
    trunk = load_trunk(said.weights)
    bench = Bench(home, y, names, fold != HELD_OUT, away, normal, trunk, said.epochs, said.work)
    done: dict[str, Asked] = {}
    report: dict[str, Any] = {}
    for name, step in STEPS.items():
        done[name] = step(bench, done)
        report[name] = figures(bench, done[name])
        print(name, json.dumps(report[name]), flush=True)
    cells = np.bincount(away.unit)[np.unique(away.unit)]
    _, first = np.unique(away.unit, return_index=True)
    return {
        "steps": report,
        "cell count": interval(auroc, away.group[first], away.blast[first], cells),
        "epochs": said.epochs,
        "n": {
            "home, held-out cells": int((~bench.seen).sum()),
            "home, held-out patients": len(np.unique(home.group[~bench.seen])),
            "away, cells": len(away.blast),
            "away, fields": len(first),
            "third laboratory, cells": len(normal.blast),
        },
    }


ABOUT = """\
Blast or promyelocyte against the rest, learned from four fifths of the patients of Sidhom et al. 2021 ({epochs} epochs
of 4,000 drawn cells where a network is fine-tuned) and asked about the others at home ({home} cells of {patients}
patients), away (Aria et al. 2021: {cells} cells found in {fields} fields that are leukaemic or benign; a field's score
is the mean of its cells, which carry its diagnosis) and of a third laboratory without leukaemia (BCCD, {normal} cells).
The lymphoblasts away are of a kind that no step has been shown. 95 % intervals by bootstrap over patients or blocks;
after calibration, the middle 95 % of {draws} draws of {known} benign cells. How many cells were found in a field tells
leukaemic from benign with AUROC {count}.\
"""


def section(report: dict[str, Any]) -> list[str]:
    """Markdown of ``generalisation.json``."""
    n, names = report["n"], [name for name in next(iter(report["steps"].values())) if name != "threshold"]
    about = ABOUT.format(
        epochs=report["epochs"],
        home=n["home, held-out cells"],
        patients=n["home, held-out patients"],
        cells=n["away, cells"],
        fields=n["away, fields"],
        normal=n["third laboratory, cells"],
        draws=DRAWS,
        known=KNOWN_NORMAL,
        count=_said(report["cell count"]),
    )
    rows = [[step, *(_said(said[name]) for name in names)] for step, said in report["steps"].items()]
    return ["## What each step gains elsewhere", "", about, "", *table(("step", *names), rows)]


def _said(figure: Any) -> str:
    if isinstance(figure, dict):
        return interval_text(figure)
    return f"{figure:.3f}"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.generalisation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", type=Path, required=True, help="folder with cells.csv")
    parser.add_argument("--fields", type=Path, required=True, help="folder of the four classes")
    parser.add_argument("--foreign", type=Path, required=True, help="BCCD: JPEGImages and Annotations")
    parser.add_argument("--weights", type=Path, required=True, help="mobilenet_v2_imagenet.safetensors")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--work", type=Path, default=ROOT / "var" / "generalisation")
    parser.add_argument("--out", type=Path, default=TARGET)
    said = parser.parse_args(words)
    said.work.mkdir(parents=True, exist_ok=True)
    measured = run(said)
    said.out.parent.mkdir(parents=True, exist_ok=True)
    said.out.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n".join(section(measured)))


if __name__ == "__main__":
    main()
