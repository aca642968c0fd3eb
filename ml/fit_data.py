"""What a network is trained on: squares in memory, units of one or several images, a validation part, baselines."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

from ml import augment, synthetic
from ml.findings import InputRejected
from ml.networks import to_tensor
from ml.smear import without_scale_bar
from ml.smear_data import first_frame
from ml.stain import normaliser, reference
from ml.training import bar, cached, colours_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ml.fit_config import FitConfig

Rgb = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
REFERENCES = 2  # drawn fields of each kind, for the reference of a stain
CORNER = (24, 48)  # rows and columns of the scale bar, of an image of 224 × 224


@dataclass(frozen=True)
class Squares:
    """Images as the network sees them (n, side, side, 3), and what the baselines see of the images as they were:
    ``colours`` (n, 6), ``corners`` (n, 24·48) of 0 and 1.
    """

    images: Rgb
    colours: Floats
    corners: npt.NDArray[np.uint8]


def square(image: Rgb, config: FitConfig) -> Rgb:
    """(h, w, 3) of any size → (side, side, 3), scale bar painted white, stain normalised where ``config`` says so.

    The aspect is not kept, as the smear bundles do not keep it.
    """
    out = np.array(Image.fromarray(image).resize((config.side, config.side), Image.Resampling.BILINEAR))
    return without_scale_bar(out, config.masked_corner, normaliser_of(config.stain))


@cache
def normaliser_of(method: str) -> Callable[[Rgb], Rgb]:
    """With the stain of drawn smears as its reference, so that no fold's reference has seen another fold."""
    if method == "none":
        return np.copy
    drawn = [synthetic.draw_field(kind, seed) for kind in synthetic.FIELDS for seed in range(REFERENCES)]
    return normaliser(reference(method, drawn))


def corner_of(image: Rgb) -> npt.NDArray[np.uint8]:
    """The bottom right corner, where a scale bar may be, as black (1) and white."""
    grey = Image.fromarray(image).convert("L").resize((224, 224), Image.Resampling.BILINEAR)
    return (np.asarray(grey)[-CORNER[0] :, -CORNER[1] :].ravel() < 128).astype(np.uint8)


def read_squares(paths: Sequence[Path], config: FitConfig, cache: Path | None = None) -> Squares:
    """Every image decoded once; with ``cache``, once for all runs of one side and preprocessing."""

    def make() -> dict[str, Any]:
        rows = []
        with bar(len(paths), "reading") as progress:
            for path in paths:
                image = first_frame(path)
                rows.append((square(image, config), colours_of(image), corner_of(image)))
                progress.update()
        return {
            name: np.stack(column)
            for name, column in zip(("images", "colours", "corners"), zip(*rows, strict=True), strict=True)
        }

    sizes = [(path.name, path.stat().st_size) for path in paths]
    return Squares(**cached(cache, repr((sizes, config.side, config.masked_corner, config.stain)), make))


def units_of(rows: Rows, groups: npt.NDArray[Any], y: Rows, length: int) -> Rows:
    """``rows`` as units (m, length): runs of neighbours of one group and class in file order; length 1: each alone.

    A run at the end of a group that is too short is filled up with its own images from the start.
    """
    if length == 1:
        return rows[:, None]
    found: dict[tuple[Any, int], list[int]] = {}
    for row in np.sort(rows):
        found.setdefault((groups[row], int(y[row])), []).append(int(row))
    runs = [run[k : k + length] for run in found.values() for k in range(0, len(run), length)]
    return np.array([np.resize(run, length) for run in runs], dtype=np.int64)


def validation_part(rows: Rows, y: Rows, groups: npt.NDArray[Any], share: float, seed: int) -> tuple[Rows, Rows]:
    """Training and validation rows: no group in both, classes in like shares, about ``share`` in the second."""
    splits = min(max(2, round(1 / share)), len(np.unique(groups[rows])))
    if splits < 2:
        raise InputRejected(
            "too_few_groups",
            place="training folds",
            problem="All images of the training folds are of one group.",
            remedy="Bring images of at least two patients (or blocks) beside those held out.",
        )
    splitter = StratifiedGroupKFold(splits, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rare classes: they may be absent from the validation part
        learn, check = next(splitter.split(rows, y[rows], groups[rows]))
    return rows[learn], rows[check]


@dataclass(frozen=True)
class Batches:
    """An epoch's batches of random views; the same for the same seeds, whoever asks and from wherever one resumes.

    ``rank`` of ``size`` processes gets its equal part of each batch.
    """

    images: Rgb
    y: Rows
    units: Rows
    config: FitConfig
    rank: int = 0
    size: int = 1

    @property
    def batch(self) -> int:
        wanted = min(self.config.batch, len(self.units))
        return max(wanted - wanted % self.size, self.size)

    def __len__(self) -> int:
        return max(1, len(self.units) // self.batch)

    def order(self, epoch: int, seed: int) -> Rows:
        """Places in ``units``, shuffled; drawn with replacement, each class as often, where ``balance`` is sampler."""
        rng = np.random.default_rng([seed, epoch])
        if self.config.balance != "sampler":
            return rng.permutation(len(self.units))
        chance = balanced_weights(self.y[self.units[:, 0]])
        return rng.choice(len(self.units), len(self.units), p=chance / chance.sum())

    def epoch(self, epoch: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(x, y) of each step: x as ``views`` gives it, y (b,)."""
        order, part = self.order(epoch, seed), self.batch // self.size
        for step in range(len(self)):
            start = step * self.batch + self.rank * part
            units = self.units[order[start : start + part]]
            generator = torch.Generator().manual_seed(seed_of(seed, epoch, step, self.rank))
            x = views(self.images, units, generator if self.config.augment else None)
            yield x, torch.from_numpy(self.y[units[:, 0]])


def seed_of(*numbers: int) -> int:
    """One seed from several numbers: near numbers give far seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])


def balanced_weights(y: Rows) -> Floats:
    """One weight an image, mean 1, so that each class that is there weighs the same."""
    counts = np.bincount(y)
    return len(y) / (np.count_nonzero(counts) * counts[y])


def views(images: Rgb, units: Rows, generator: torch.Generator | None = None) -> torch.Tensor:
    """(b, 3, side, side), or (b, t, 3, side, side) for series, 0–1; with a generator, a random view of each image."""
    x = to_tensor(images[units.ravel()])
    if generator is not None:
        x = augment.random_view(x, generator)
    return x if units.shape[1] == 1 else x.reshape(*units.shape, *x.shape[1:])
