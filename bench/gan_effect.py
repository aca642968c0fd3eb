"""Do cells drawn by the GAN help a classifier of cells? ``docs/measured/gan.json``: python -m bench.gan_effect

Patient-grouped folds. In each, a GAN learns from the training patients alone, and one classifier (frozen MobileNetV2
features, a linear head) is fitted four times: on the real cells; on these and cells drawn so that all classes are
equally many; on these and, instead of drawn cells, as many turned copies of real ones, which is what equal classes do
by themselves; and on drawn cells alone. All are asked about the same real cells of unseen patients.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from torch.nn import functional

from ml.calibration import resamples
from ml.cards import table
from ml.datasets import load
from ml.gan import fit_gan, load_generator, sample
from ml.generative import Images, grouped, read
from ml.generative_training import Squares
from ml.heads import fit_projection
from ml.networks import embed, load_trunk

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "measured" / "gan.json"
CONFIG = ROOT / "ml" / "configs" / "gan.toml"
ARMS = ("real", "real + GAN", "real + turned copies", "GAN alone")
BLASTS = ("blast", "promyelocyte")
SEEN_AT, COMPONENTS, PENALTY, ROUNDS = 96, 128, 0.02, 1000
FIGURES = (
    "AUROC, blast or promyelocyte",
    "accuracy, blast or promyelocyte",
    "accuracy, 6 groups",
    "macro F1, 6 groups",
)
METHOD = """\
{n} single cells of {patients} patients in {classes} groups, {folds} folds grouped by patient. In each fold a GAN of
{steps} steps learned from the training patients alone and drew what the smaller groups lack of the largest; the
classifier is a linear head on frozen MobileNetV2 features. Turned copies of real cells, as many, show what equal groups
do by themselves. 95 % intervals by bootstrap over patients, arms drawn together.\
"""


def cells(folder: Path, config: dict[str, Any], cache: Path | None) -> Images:
    """The grouped cells of ``folder`` as squares; kept in ``cache`` (an npz) where one is named."""
    if cache and cache.is_file():
        with np.load(cache) as kept:
            squares = Squares(kept["x"], kept["y"], tuple(kept["labels"].tolist()))
            return Images(squares, kept["groups"])
    images = read(grouped(load("cells", folder), config["groups"]), config["side"], config["centre"])
    if cache:
        kept = images.squares
        np.savez(cache, x=kept.x, y=kept.y, labels=np.array(kept.labels), groups=images.groups)
    return images


def missing(y: Any, classes: int) -> list[int]:
    """How many cells each class lacks of the largest."""
    counts = np.bincount(y, minlength=classes)
    return (counts.max() - counts).tolist()


def turned_copies(squares: Squares, wanted: list[int], rng: np.random.Generator) -> Squares:
    """``wanted`` cells of each class: real ones, turned and mirrored at random."""
    rows = np.concatenate([rng.choice(np.flatnonzero(squares.y == k), n) for k, n in enumerate(wanted)])
    turns = rng.integers(0, 4, len(rows))
    x = [np.rot90(squares.x[row][:, :: rng.choice([-1, 1])], turn) for row, turn in zip(rows, turns, strict=True)]
    return Squares(np.stack(x), squares.y[rows], squares.labels)


def drawn(generator: Any, wanted: list[int], labels: tuple[str, ...], seed: int) -> Squares:
    x = [sample(generator, label, n, seed + k) for k, (label, n) in enumerate(zip(labels, wanted, strict=True)) if n]
    return Squares(np.concatenate(x), np.repeat(np.arange(len(labels)), wanted), labels)


def features(trunk: Any, squares: Squares) -> Any:
    def larger(x: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(x, size=(SEEN_AT, SEEN_AT), mode="bilinear")

    return embed(trunk, squares.x, larger)


def answers(train: Any, y: Any, test: Any, classes: int, seed: int) -> Any:
    """Probabilities (n, classes) of ``test`` features from a linear head fitted on ``train`` features."""
    projection, p = fit_projection(train, COMPONENTS, seed), np.zeros((len(test), classes))
    head = LogisticRegression(C=1 / (PENALTY * len(y)), max_iter=500).fit(projection.apply(train), y)
    p[:, head.classes_] = head.predict_proba(projection.apply(test))
    return p


def one_fold(images: Images, seen: Any, config: dict[str, Any], trunk: Any, real: Any, seed: int) -> dict[str, Any]:
    """Each arm's probabilities of the cells that are not ``seen``; ``real`` holds the features of all cells."""
    squares = images.rows(seen)
    wanted = missing(squares.y, len(squares.labels))
    with tempfile.TemporaryDirectory() as folder:
        generator = load_generator(fit_gan(squares.x, squares.y, squares.labels, config, Path(folder), seed=seed))
    balance = drawn(generator, wanted, squares.labels, seed)
    alone = drawn(generator, [max(wanted)] * len(wanted), squares.labels, seed + 1000)
    copies = turned_copies(squares, wanted, np.random.default_rng(seed))
    base, y = real[seen], squares.y
    sets = {
        "real": (base, y),
        "real + GAN": (np.concatenate([base, features(trunk, balance)]), np.concatenate([y, balance.y])),
        "real + turned copies": (np.concatenate([base, features(trunk, copies)]), np.concatenate([y, copies.y])),
        "GAN alone": (features(trunk, alone), alone.y),
    }
    return {arm: answers(x, of, real[~seen], len(squares.labels), seed) for arm, (x, of) in sets.items()}


def figures(p: Any, y: Any, labels: tuple[str, ...]) -> Any:
    """The FIGURES (4,) of probabilities p (n, classes); NaN for an AUROC without both kinds of cells."""
    chosen = [labels.index(name) for name in BLASTS]
    blast, score, answer = np.isin(y, chosen), p[:, chosen].sum(axis=1), p.argmax(axis=1)
    auroc = roc_auc_score(blast, score) if 0 < blast.sum() < len(y) else np.nan
    f1 = f1_score(y, answer, average="macro", labels=np.unique(y), zero_division=0)
    return np.array([auroc, ((score > 0.5) == blast).mean(), (answer == y).mean(), f1])


def intervals(p: dict[str, Any], y: Any, groups: Any, labels: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Each arm's figures and their differences to ``real``, with 95 % intervals: patients drawn anew, arms together."""
    draws: dict[str, list[Any]] = {arm: [] for arm in p}
    for rows in resamples(groups, ROUNDS, seed):
        for arm in p:
            draws[arm].append(figures(p[arm][rows], y[rows], labels))
    values = {arm: figures(p[arm], y, labels) for arm in p}
    drawn_of = {arm: np.array(rows) for arm, rows in draws.items()}
    return {
        "figures": {arm: _said(values[arm], drawn_of[arm]) for arm in p},
        "differences": {
            arm: _said(values[arm] - values["real"], drawn_of[arm] - drawn_of["real"]) for arm in p if arm != "real"
        },
    }


def _said(values: Any, draws: Any) -> dict[str, dict[str, float]]:
    low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    rows = zip(FIGURES, values, low, high, strict=True)
    return {name: {"value": float(v), "low": float(a), "high": float(b)} for name, v, a, b in rows}


def measure(images: Images, config: dict[str, Any], trunk: Any, folds: int, seed: int = 0) -> dict[str, Any]:
    """All arms on all folds; ``config`` are the GAN's settings."""
    began, squares = time.process_time(), images.squares
    real = features(trunk, squares)
    p = {arm: np.zeros((len(squares.y), len(squares.labels))) for arm in ARMS}
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for k, (_, rows) in enumerate(splitter.split(squares.x, squares.y, images.groups)):
        seen = ~np.isin(np.arange(len(squares.y)), rows)
        for arm, said in one_fold(images, seen, config, trunk, real, seed + k).items():
            p[arm][~seen] = said
        print(f"fold {k + 1} of {folds}: {(time.process_time() - began) / 60:.1f} minutes of CPU", flush=True)
    counts = dict(zip(squares.labels, np.bincount(squares.y).tolist(), strict=True))
    return {
        "cells": counts,
        "patients": len(np.unique(images.groups)),
        "folds": folds,
        "seed": seed,
        "gan": config,
        "cpu_minutes": round((time.process_time() - began) / 60, 1),
        **intervals(p, squares.y, images.groups, squares.labels, seed),
    }


def section(said: dict[str, Any]) -> list[str]:
    """The measurement as lines of Markdown."""
    shown = [[arm, *(_shown(of_arm[name]) for name in FIGURES)] for arm, of_arm in said["figures"].items()]
    apart = [[f"{arm} − real", *(_shown(d[name], "+") for name in FIGURES)] for arm, d in said["differences"].items()]
    about = METHOD.format(
        n=sum(said["cells"].values()),
        patients=said["patients"],
        classes=len(said["cells"]),
        folds=said["folds"],
        steps=said["gan"]["steps"],
    )
    return [
        "## GAN cells as augmentation",
        "",
        about,
        "",
        *table(("trained on", *FIGURES), shown),
        "",
        *table(("difference", *FIGURES), apart),
        "",
        *(f"- {sentence}" for sentence in verdict(said["differences"])),
    ]


def _shown(figure: dict[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} ({figure['low']:{sign}.3f} to {figure['high']:{sign}.3f})"


def verdict(differences: dict[str, Any]) -> list[str]:
    """What may be said of the GAN cells: a difference counts where its interval leaves out zero."""
    better = [name for name, d in differences["real + GAN"].items() if d["low"] > 0]
    worse = [name for name, d in differences["real + GAN"].items() if d["high"] < 0]
    said = [f"GAN cells raised {', '.join(better)}."] if better else []
    said += [f"GAN cells lowered {', '.join(worse)}."] if worse else []
    said = said or ["GAN cells made no difference that these data can show."]
    same = [
        name
        for name in better
        if differences["real + turned copies"][name]["value"] >= differences["real + GAN"][name]["value"]
    ]
    return said + ([f"Turned copies of real cells do as much for {', '.join(same)}."] if same else [])


def main(words: list[str] | None = None, trunk_of: Callable[[Path], Any] = load_trunk) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gan_effect", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with cells.csv")
    parser.add_argument("--weights", type=Path, required=True, help="mobilenet_v2_imagenet.safetensors")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=900, help="of the GAN in each fold")
    parser.add_argument("--cache", type=Path, help="npz for the squares, so that a second run is quick")
    parser.add_argument("--out", type=Path, default=TARGET)
    said = parser.parse_args(words)
    config = tomllib.loads(CONFIG.read_text("utf-8"))
    images = cells(said.data, config, said.cache)
    network = {k: v for k, v in config.items() if k not in {"groups", "held_out"}} | {"steps": said.steps}
    measured = measure(images, network, trunk_of(said.weights), said.folds)
    said.out.parent.mkdir(parents=True, exist_ok=True)
    said.out.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n".join(section(measured)))


if __name__ == "__main__":
    main()
