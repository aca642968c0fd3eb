"""``fit("gan" | "autoencoder", …)``: from a labelled image set and its configuration to trained weights and a card."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from tqdm import tqdm

from ml import autoencoder, gan
from ml.findings import InputRejected
from ml.generative_cards import autoencoder_card, gan_card
from ml.generative_training import Settings, Squares
from ml.smear_data import first_frame
from ml.stain import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ml.generative_training import Labels, Rgb

OWN = {"groups", "held_out"}  # settings about the images rather than the network


class ImageSet(Protocol):
    """What is read of ``ml.datasets``: files, the class names that ``y`` (n,) indexes, and whose image each is."""

    @property
    def paths(self) -> Sequence[Path]: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def y(self) -> Labels: ...
    @property
    def groups(self) -> npt.NDArray[Any]: ...


@dataclass(frozen=True)
class Images:
    """Squares with the patient, or whatever must not be split, of each (n,)."""

    squares: Squares
    groups: npt.NDArray[Any]

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Squares:
        return Squares(self.squares.x[chosen], self.squares.y[chosen], self.squares.labels)


def fit(
    name: str, images: ImageSet | Images, config: dict[str, Any], out: Path, seed: int = 0, *, resume: bool = False
) -> Path:
    """Train ``name`` of FITS and write its weights, ``card.md``, ``training.json`` and a checkpoint into ``out``.

    ``config`` is a parsed TOML file: the settings of the network, ``held_out`` (the share of the groups that is kept
    away, against which the card compares) and the table ``groups`` (new class → classes of the set). Returns the file
    of the weights. Raises InputRejected.
    """
    if name not in FITS:
        raise InputRejected(
            "unknown_model", place=name, problem="There is no such network.", remedy=f"Choose {' or '.join(FITS)}."
        )
    images = grouped(images, config.get("groups", {}))
    network = {key: value for key, value in config.items() if key not in OWN} | {"seed": seed}
    if not isinstance(images, Images):
        images = read(images, int(config.get("side", Settings.side)), float(config.get("centre", Settings.centre)))
    away = held_out(images.groups, float(config.get("held_out", 0)), seed)
    return FITS[name](images.rows(~away), images.rows(away), network, out, resume)


def _fit_autoencoder(seen: Squares, held: Squares, config: dict[str, Any], out: Path, resume: bool) -> Path:  # noqa: FBT001
    path = autoencoder.fit_autoencoder(seen.x, config, out, resume=resume)
    (out / "card.md").write_text(autoencoder_card(path, seen, held), "utf-8")
    return path


def _fit_gan(seen: Squares, held: Squares, config: dict[str, Any], out: Path, resume: bool) -> Path:  # noqa: FBT001
    path = gan.fit_gan(seen.x, seen.y, seen.labels, config, out, resume=resume)
    (out / "card.md").write_text(gan_card(path, seen, held), "utf-8")
    return path


FITS: dict[str, Callable[[Squares, Squares, dict[str, Any], Path, bool], Path]] = {
    "autoencoder": _fit_autoencoder,
    "gan": _fit_gan,
}


@dataclass(frozen=True)
class _Chosen:
    paths: Sequence[Path]
    labels: Sequence[str]
    y: Labels
    groups: npt.NDArray[Any]


def grouped(images: ImageSet | Images, groups: dict[str, list[str]]) -> ImageSet | Images:
    """The same set with the classes of ``groups``; without any, as it is. Refuses a group that would be empty."""
    if not groups:
        return images
    labels, y = (images.squares.labels, images.squares.y) if isinstance(images, Images) else (images.labels, images.y)
    number_of = {old: k for k, olds in enumerate(groups.values()) for old in olds}
    new = np.array([number_of.get(label, -1) for label in labels])[np.asarray(y)]
    for k, (group, olds) in enumerate(groups.items()):
        if not (new == k).any():
            raise InputRejected(
                "empty_class",
                place=f"groups, {group}",
                problem=f"The set has no image of {', '.join(olds)}.",
                remedy=f"Its classes are {', '.join(labels)}.",
            )
    chosen, whose = new >= 0, np.asarray(images.groups)[new >= 0]
    if isinstance(images, Images):
        return Images(Squares(images.squares.x[chosen], new[chosen], tuple(groups)), whose)
    paths = [path for path, kept in zip(images.paths, chosen, strict=True) if kept]
    return _Chosen(paths, tuple(groups), new[chosen], whose)


def read(images: ImageSet, side: int, centre: float) -> Images:
    """Every file as ``square`` makes it."""
    progress = tqdm(images.paths, desc="reading", unit="img", disable=not sys.stderr.isatty(), leave=False)
    x = [square(first_frame(path), side, centre) for path in progress]
    stacked = np.stack(x) if x else np.zeros((0, side, side, 3), np.uint8)
    return Images(Squares(stacked, np.asarray(images.y, np.int64), tuple(images.labels)), np.asarray(images.groups))


def square(image: Rgb, side: int, centre: float) -> Rgb:
    """The middle of an image (h, w, 3), ``centre`` of its height and width, as (side, side, 3) of one stain."""
    rows, columns = (slice(round(n * (1 - centre) / 2), round(n * (1 + centre) / 2)) for n in image.shape[:2])
    middle = np.ascontiguousarray(image[rows, columns])
    how = cv2.INTER_AREA if min(middle.shape[:2]) > side else cv2.INTER_LINEAR
    return normalise(np.asarray(cv2.resize(middle, (side, side), interpolation=how), dtype=np.uint8))


def held_out(groups: npt.NDArray[Any], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows (n,) are kept away: all rows of about ``share`` of the groups, drawn by ``seed``."""
    names = np.unique(groups)
    chosen = np.random.default_rng(seed).permutation(names)[: round(share * len(names))]
    return np.isin(groups, chosen)
