"""What both smear trainings share: views and their features, folds, honest calibration, baselines, sealing."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from sklearn.ensemble import RandomForestClassifier
from tqdm import tqdm

from ml import cards, finetune, quality, scope_checks
from ml.bundle import seal_bundle
from ml.calibration import apply_temperature, fit_temperature, metrics_report
from ml.heads import Floats, Head, Labels, Projection, Scope, fit_projection, save_arrays
from ml.networks import MIDDLE_FEATURES, Trunk, embed, save_trunk
from ml.smear import ARRAYS, CASE_TRUNK, TRUNK, measured, prepare
from ml.smear_data import first_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ml.bundle import Bundle
    from ml.finetune import Examples, Recipe

Rgb = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

COMPONENTS, NEAR_COMPONENTS = 256, 64
FOLDS = 5
TREES = 300  # of a baseline
SCOPE_METHOD = (
    "Squared Mahalanobis distance of the features of ImageNet's trunk (its middle block, which looks at texture) to "
    "the training images (probabilistic PCA), 0 where the quality gate blocks or no nucleus is found, mapped so that "
    "90 % of held-out training images score 0.95 or more and one in 50 below one half."
)


def bar(total: int, what: str) -> tqdm[Any]:
    return tqdm(total=total, desc=what, unit="img", disable=not sys.stderr.isatty(), leave=False)


def read_all(paths: Sequence[Path], see: Callable[[Rgb], Rgb], view: str) -> tuple[Rgb, pd.DataFrame]:
    """What ``see`` makes of each image, stacked, and of each image as it was: quality measures and its colours.

    The colours (mean and standard deviation of each channel) are for the baseline that sees nothing else.
    """
    pictures, rows = [], []
    with bar(len(paths), "reading") as progress:
        for path in paths:
            image = first_frame(path)
            pictures.append(see(image))
            colour = {f"colour{k}": v for k, v in enumerate(colours_of(image))}
            rows.append(measured(image, view)[0] | colour)
            progress.update()
    return np.stack(pictures), pd.DataFrame(rows)


def colours_of(image: Rgb) -> Floats:
    """Mean and standard deviation of each channel, (6,), 0–1."""
    flat = image.reshape(-1, 3) / 255
    return np.concatenate([flat.mean(axis=0), flat.std(axis=0)])


def cached(folder: Path | None, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """``make()``'s arrays, kept as ``folder/<hash of key>.npz`` where a folder is given."""
    if folder is None:
        return make()
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, **make())
    with np.load(path) as arrays:
        return dict(arrays)


def gather(
    paths: Sequence[Path], preprocessing: dict[str, Any], see: Callable[[Rgb], Rgb], cache: Path | None
) -> tuple[Rgb, pd.DataFrame]:
    """Pictures of all images (n, side, side, channels), and the table of quality measures and colours."""

    def make() -> dict[str, Any]:
        pictures, table = read_all(paths, see, preprocessing["view"])
        return {"pictures": pictures, "measured": table.to_numpy(), "columns": table.columns.to_numpy(dtype=str)}

    kept = cached(cache, repr(([path.stat().st_size for path in paths], preprocessing, list(quality.MEASURE_OF))), make)
    return kept["pictures"], pd.DataFrame(kept["measured"], columns=kept["columns"])


def tuned(
    trunk: Trunk, examples: Examples, rows: npt.NDArray[np.int64], recipe: Recipe, seed: int, cache: Path | None
) -> tuple[Trunk, Head]:
    """finetune.fit, kept in ``cache`` so that a run that was cut off goes on with the next fold."""
    said = hashlib.sha256(repr((getattr(recipe.view, "__name__", ""), replace(recipe, view=None), seed)).encode())
    masks = [mask for mask in (examples.coarse, examples.case) if mask is not None]
    for part in (rows, examples.allowed, examples.draw, *masks, examples.pictures[:: max(1, len(rows) // 64)]):
        said.update(np.ascontiguousarray(part).tobytes())
    path = (cache or Path()) / f"{said.hexdigest()[:16]}.safetensors"
    if cache and path.is_file():
        return load_tuned(path)
    learned, head = finetune.fit(trunk, examples, rows, recipe, seed)
    if cache:
        save_tuned(path, learned, head)
    return learned, head


def save_tuned(path: Path, trunk: Trunk, head: Head) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (weight, bias), *_ = head.layers
    kept = trunk.state_dict() | {"head.weight": torch.tensor(weight), "head.bias": torch.tensor(bias)}
    save_file({name: value.contiguous() for name, value in kept.items()}, path)


def load_tuned(path: Path) -> tuple[Trunk, Head]:
    weights = load_file(path)
    layer = tuple(weights.pop(f"head.{name}").numpy() for name in ("weight", "bias"))
    trunk = Trunk()
    trunk.load_state_dict(weights)
    return trunk.eval().to(memory_format=torch.channels_last), Head((layer,))  # type: ignore[arg-type,call-overload]


@dataclass(frozen=True)
class Held:
    """What models say of images that they have not seen: ``logits`` and, of the same images altered, ``shifted`` and
    ``cornered`` (n, classes); ln ``distance`` (n,).
    """

    logits: Floats
    shifted: Floats
    cornered: Floats
    distance: Floats

    @classmethod
    def empty(cls, n: int, classes: int) -> Held:
        return cls(np.zeros((n, classes)), np.zeros((n, classes)), np.zeros((n, classes)), np.zeros(n))

    def fill(
        self, rows: npt.NDArray[np.int64], features: Features, shifted: Features, head: Head, distance: Floats
    ) -> None:
        self.logits[rows] = head.logits(features)
        self.shifted[rows] = head.logits(shifted)
        self.distance[rows] = distance


def nearness(features: Features, seed: int) -> Projection:
    """For the in-scope distance: the middle block, which looks at texture, of the trunk as ImageNet left it. What has
    been bent towards the classes no longer sees what else an image shows.
    """
    return fit_projection(features[:, :MIDDLE_FEATURES], NEAR_COMPONENTS, seed)


def calibrated(logits: Floats, y: Labels, fold: Labels, asked: Floats | None = None) -> Floats:
    """Probabilities of each fold with the temperature that the other folds' held-out logits ask for.

    ``asked``: other logits of the same images, to which that temperature is applied instead.
    """
    asked = logits if asked is None else asked
    p = np.zeros_like(logits)
    for k in np.unique(fold):
        p[fold == k] = apply_temperature(asked[fold == k], fit_temperature(logits[fold != k], y[fold != k]))
    return p


def colour_baseline(colours: Floats, y: Labels, fold: Labels, classes: int, seed: int) -> Floats:
    """Out-of-fold probabilities of a random forest that sees six numbers an image: the channels' mean and spread."""
    p = np.zeros((len(y), classes))
    for k in np.unique(fold):
        p[fold == k] = forest_p(colours, y, np.flatnonzero(fold != k), np.flatnonzero(fold == k), classes, seed)
    return p


def forest_p(x: npt.NDArray[Any], y: Labels, learn: Labels, held: Labels, classes: int, seed: int) -> Floats:
    """Probabilities (held, classes) of a random forest: the baselines that see only colours, or only the corner."""
    forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=1).fit(x[learn], y[learn])
    p = np.zeros((len(held), classes))
    p[:, forest.classes_] = forest.predict_proba(x[held])
    return p


def majority_baseline(y: Labels, labels: Sequence[str]) -> dict[str, Any]:
    top = int(np.bincount(y).argmax())
    return {"answer": labels[top], "accuracy": float((y == top).mean()), "balanced_accuracy": 1 / len(np.unique(y))}


def scored(p: Floats, y: Labels, labels: tuple[str, ...], data: str, split: str, groups: Any = None) -> dict[str, Any]:
    return metrics_report(p, y, labels, groups) | {"data": data, "split": split}


def write_oof(path: Path, table: dict[str, Any], p: Floats, labels: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = table | {f"p:{label}": p[:, k] for k, label in enumerate(labels)}
    pd.DataFrame(columns).to_csv(path, index=False, float_format="%.6g")


def labels_of(
    labels: Sequence[str], y: Labels, leaves: dict[str, tuple[str, ...]], names: dict[str, str]
) -> dict[str, Any]:
    share = np.bincount(y, minlength=len(labels)) / len(y)
    return {
        label: {"leaves": list(leaves[label]), "training_share": float(share[k]), "name": names[label]}
        for k, label in enumerate(labels)
    }


def thresholds_of_quality(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    names = [name for name in quality.MEASURE_OF.values() if name in table]
    return quality.learn_thresholds([dict(zip(names, row, strict=True)) for row in table[names].to_numpy()])


def thresholds(table: pd.DataFrame, scope: Scope) -> dict[str, Any]:
    return {
        "quality": thresholds_of_quality(table),
        "distance": {"usual": scope.usual, "limit": scope.limit},
        "in_scope": {"warn": 0.5, "block": 0.05},
    }


def passes(measures: dict[str, float], said: dict[str, Any]) -> bool:
    return not any(flag.blocking for flag in quality.judge(measures, said))


@dataclass(frozen=True)
class Strangers:
    """Folders that are only asked, never learned from: fields of another laboratory without leukaemia, and slides of
    other organs.
    """

    foreign: Path | None = None
    slides: Path | None = None


@dataclass(frozen=True)
class Checks:
    """Images that are none of the bundle's business: photographs, spoiled smears, those of ``strangers``.

    ``measured``: quality measures of the training images at ``paths``.
    """

    paths: Sequence[Path]
    measured: pd.DataFrame
    strangers: Strangers
    preprocessing: dict[str, Any]
    seed: int

    def kinds(self) -> dict[str, list[Rgb]]:
        rng = np.random.default_rng(self.seed)
        some = [
            first_frame(self.paths[k]) for k in rng.choice(len(self.paths), min(60, len(self.paths)), replace=False)
        ]
        said = {
            "photographs, textures, other medicine": scope_checks.photographs(),
            "slides of other organs": scope_checks.other_organs(self.strangers.slides),
        } | scope_checks.spoiled(some, self.seed)
        return said | ({self._foreign_name: self._foreign_images} if self.strangers.foreign else {})

    def report(self, distance: Floats, trunk: Trunk, projection: Projection, scope: Scope) -> dict[str, Any]:
        """As the product scores: 0 where the quality gate blocks an image or no nucleus is found."""
        said = thresholds_of_quality(self.measured)

        def judge(images: list[Rgb]) -> Floats:
            prepared = [prepare(image, self.preprocessing) for image in images]
            features = embed(trunk, np.stack([picture for picture, _ in prepared]), turns=self.preprocessing["turns"])
            open_ = [
                shows and passes(measured(image, self.preprocessing["view"])[0], said)
                for image, (_, shows) in zip(images, prepared, strict=True)
            ]
            return scope.score(projection.distance(features)) * open_

        rows = [dict(zip(self.measured.columns, row, strict=True)) for row in self.measured.to_numpy()]
        held = scope.score(distance) * [passes(row, said) for row in rows]
        return {"method": SCOPE_METHOD, "checks": scope_checks.check(self.kinds(), held, judge)}

    def asked(self, trunk: Trunk, head: Head, labels: Sequence[str]) -> list[str]:
        """What the model answers where none of its labels is true."""
        if not self.strangers.foreign:
            return []
        pictures = np.stack([prepare(image, self.preprocessing)[0] for image in self._foreign_images])
        answers = head.logits(embed(trunk, pictures)).argmax(axis=1)
        shares = np.bincount(answers, minlength=len(labels)) / len(answers)
        said = ", ".join(f"{label} {share:.0%}" for label, share in zip(labels, shares, strict=True))
        return [f"{self._foreign_name} ({len(answers)}), asked and never learned from, are answered: {said}."]

    @property
    def _foreign_name(self) -> str:
        return "another laboratory, no leukaemia (BCCD)"

    @cached_property
    def _foreign_images(self) -> list[Rgb]:
        return [first_frame(path) for path in sorted((self.strangers.foreign or Path()).iterdir())]


def seal(
    name: str,
    out: Path,
    trunks: tuple[Trunk, Trunk | None],
    projections: tuple[Projection, Projection | None],
    heads: dict[str, Head],
    manifest: dict[str, Any],
    seed: int,
    started: float,
) -> Bundle:
    out.mkdir(parents=True, exist_ok=True)
    version = out.name if re.fullmatch(r"\d+\.\d+\.\d+", out.name) else "1.0.0"
    for trunk, file in zip(trunks, (TRUNK, CASE_TRUNK), strict=True):
        if trunk:
            save_trunk(trunk, out / file)
    projection, near = projections
    save_arrays(out / ARRAYS, projection, near, **heads)
    said = {"name": name, "version": version, "licence": "research use", **manifest, "trained": trained(seed, started)}
    (out / "card.md").write_text(cards.render(said), "utf-8")
    return seal_bundle(out, said)


def trained(seed: int, started: float) -> dict[str, Any]:
    """How this bundle came to be. The command without the machine's paths: data and weights by their last names."""
    words = [Path(word).name if os.sep in word else word for word in sys.argv[1:]]
    return {
        "command": f"python -m ml {shlex.join(words)}",
        "seed": seed,
        "date": datetime.now(UTC).date().isoformat(),
        "device": "cpu",
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
