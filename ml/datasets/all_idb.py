"""ALL-IDB (Donida Labati et al. 2011): fields with marked blasts (1), and single cells (2); no patients are named.

The published set 1 has one field twice; images of the same bytes are therefore one group.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ml.datasets.folders import (
    contradiction,
    first_twins,
    images_in,
    missing_annotation,
    no_images,
    subfolder,
    wrong_layout,
    wrong_name,
)
from ml.datasets.image_set import ImageSet
from ml.findings import InputRejected
from ml.images import open_picture

if TYPE_CHECKING:
    from pathlib import Path

    from ml.datasets.image_set import Point

LABELS = ("normal", "ALL")  # as the publisher numbers them: of fields in set 1, of the cell in the middle in set 2
NAME = re.compile(r"Im\d+_([01])", re.IGNORECASE)
EXPECTED_1 = "im/ with Im001_1.jpg … and xyc/ with Im001_1.xyc …"
EXPECTED_2 = "img/ with Im001_1.tif …"


def read_1(folder: Path) -> ImageSet:
    """``points``: the centres of the blasts of each field, (x, y) in pixels."""
    home, marks = subfolder(folder, "im", "img"), subfolder(folder, "xyc")
    if not home or not marks:
        raise wrong_layout(folder, EXPECTED_1)
    fields = _read("ALL-IDB1", "all-idb1", home)
    points = [_points(marks / f"{path.stem}.xyc", path, int(y)) for path, y in zip(fields.paths, fields.y, strict=True)]
    return replace(fields, points=tuple(points))


def read_2(folder: Path) -> ImageSet:
    home = subfolder(folder, "img")
    if not home:
        raise wrong_layout(folder, EXPECTED_2)
    return _read("ALL-IDB2", "all-idb2", home)


def _read(name: str, layout: str, home: Path) -> ImageSet:
    notes: list[str] = []
    paths = images_in(home, notes)
    if not paths:
        raise no_images(home)
    y = np.array([_label(path) for path in paths])
    notes += [f"There is no image of {label}." for k, label in enumerate(LABELS) if k not in y]
    groups = np.array([path.stem for path in first_twins(paths, notes)])
    return ImageSet(name, layout, tuple(paths), LABELS, y, groups, "image", notes=tuple(notes))


def _label(path: Path) -> int:
    said = NAME.fullmatch(path.stem)
    if not said:
        raise wrong_name(str(path), path.name, "Im001_1.jpg or Im001_1.tif (number, 1 for ALL and 0 for normal)")
    return int(said[1])


def _points(marks: Path, image: Path, y: int) -> tuple[Point, ...]:
    """One x and y a line; a normal field has an empty file or none."""
    if not marks.is_file():
        if y:
            raise missing_annotation(image, marks)
        return ()
    with open_picture(image, str(image)) as picture:
        size = picture.size
    lines = enumerate(marks.read_text("utf-8", errors="replace").splitlines(), start=1)
    points = tuple(_point(line, f"{marks}, line {k}", size) for k, line in lines if line.strip())
    if points and not y:
        raise contradiction(str(marks), f"It marks {len(points)} blasts in an image that is labelled normal.")
    return points


def _point(line: str, place: str, size: tuple[int, int]) -> Point:
    try:
        x, y = (float(word) for word in line.replace(",", " ").split())
    except ValueError:
        x = y = -1
    if not (0 <= x <= size[0] and 0 <= y <= size[1]):
        raise InputRejected(
            "bad_annotation",
            place=place,
            problem=f"{line.strip()[:40]!r} is no x and y in an image of {size[0]} × {size[1]} pixels.",
            remedy="Each line is the centre of one blast: two numbers in pixels.",
        )
    return x, y
