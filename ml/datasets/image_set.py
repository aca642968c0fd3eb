"""What a labelled set of images is, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path

Labels = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A labelled rectangle in pixels of its image, origin at the top left."""

    label: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class ImageSet:
    """n images: ``y`` (n,) indexes ``labels``, ``groups`` (n,) names what must not be divided between folds.

    ``group_kind``: real patients; blocks of neighbouring files where the patients are unknown; or each image alone.
    ``diagnosis`` (n,) of the patient; ``subset`` (n,) the publisher's own fold or part, "" where it names none;
    ``boxes`` and ``points`` (x, y) in pixels, a tuple for each image; all None where the layout has no such thing.
    ``notes``: sentences on what was left out or looks odd.
    """

    name: str
    layout: str
    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    y: Labels
    groups: Strings
    group_kind: Literal["patient", "block", "image"]
    diagnosis: Strings | None = None
    subset: Strings | None = None
    boxes: tuple[tuple[Box, ...], ...] | None = None
    points: tuple[tuple[Point, ...], ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def part(self) -> npt.NDArray[np.float64]:
        """(n,) in [0, 1): an image's place in the order of its class."""
        part = np.zeros(len(self.y))
        for k in range(len(self.labels)):
            rows = np.flatnonzero(self.y == k)
            part[rows] = np.arange(len(rows)) / max(len(rows), 1)
        return part


def describe(images: ImageSet) -> dict[str, Any]:
    """What a report says of the set: counts by class, groups of which kind, notes."""
    counts = np.bincount(images.y, minlength=len(images.labels))
    return {
        "name": images.name,
        "layout": images.layout,
        "n": len(images.y),
        "classes": {label: int(n) for label, n in zip(images.labels, counts, strict=True)},
        "groups": len(np.unique(images.groups)),
        "group_kind": images.group_kind,
        "notes": list(images.notes),
    }
