"""BCCD: smear fields with Pascal-VOC boxes of white cells, red cells and platelets."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # only of text without DOCTYPE and entities, see _root

import numpy as np

from ml.datasets.folders import (
    contradiction,
    first_twins,
    images_in,
    missing_annotation,
    no_images,
    some,
    subfolder,
    wrong_layout,
)
from ml.datasets.image_set import Box, ImageSet
from ml.findings import InputRejected
from ml.images import open_picture

if TYPE_CHECKING:
    from pathlib import Path

    from ml.datasets.image_set import Strings

CELLS = ("WBC", "RBC", "Platelets")
EXPECTED = "JPEGImages/ and Annotations/ (with an .xml for each image)"
SIDES = ("xmin", "ymin", "xmax", "ymax")
DECLARATION = re.compile(r"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
PARTS = ("train", "val", "test")


def read(folder: Path) -> ImageSet:
    """``boxes`` of CELLS; the images themselves have one label, for nothing is said of the people.

    Boxes are clipped to their image; those that are empty are dropped and noted. ``subset``: train, val or test where
    ``ImageSets/Main`` lists the image.
    """
    home, annotations = subfolder(folder, "JPEGImages"), subfolder(folder, "Annotations")
    if not home or not annotations:
        raise wrong_layout(folder, EXPECTED)
    notes: list[str] = []
    paths = images_in(home, notes)
    if not paths:
        raise no_images(home)
    boxes = _all_boxes(paths, annotations, notes)
    groups = np.array([path.stem for path in first_twins(paths, notes)])
    return ImageSet(
        "BCCD",
        "bccd",
        tuple(paths),
        ("smear field",),
        np.zeros(len(paths), dtype=np.int64),
        groups,
        "image",
        subset=_subsets(folder, paths),
        boxes=boxes,
        notes=tuple(notes),
    )


def _all_boxes(paths: list[Path], annotations: Path, notes: list[str]) -> tuple[tuple[Box, ...], ...]:
    files = {p.stem: p for p in annotations.iterdir() if p.suffix.lower() == ".xml"}
    boxes: list[tuple[Box, ...]] = []
    empty: list[str] = []
    for path in paths:
        file = files.get(path.stem)
        if file is None:
            raise missing_annotation(path, annotations / f"{path.stem}.xml")
        found = _boxes(file, path)
        kept = tuple(box for box in found if box.left < box.right and box.top < box.bottom)
        empty += [file.name] * (len(found) - len(kept))
        boxes.append(kept)
    if empty:
        notes.append(f"Empty boxes dropped ({len(empty)}): {some(empty)}.")
    alone = sorted(name for name in files.keys() - {path.stem for path in paths} if not name.startswith("."))
    if alone:
        notes.append(f"Annotations without an image ({len(alone)}): {some(alone)}.")
    return tuple(boxes)


def _boxes(file: Path, image: Path) -> list[Box]:
    """The boxes of an annotation, clipped; some may then be empty."""
    root = _root(file)
    with open_picture(image, str(image)) as picture:
        size = picture.size
    said = [_number(root, f"size/{side}", "0", file) for side in ("width", "height")]
    if all(said) and said != [*size]:
        problem = f"It is of an image of {said[0]:.0f} × {said[1]:.0f} pixels; {image.name} has {size[0]} × {size[1]}."
        raise contradiction(str(file), problem)
    return [_box(k, found, file, size) for k, found in enumerate(root.iter("object"), start=1)]


def _box(k: int, found: ET.Element, file: Path, size: tuple[int, int]) -> Box:
    name = (found.findtext("name") or "").strip()
    label = next((cell for cell in CELLS if cell.lower() == name.lower()), None)
    if not label:
        raise _bad(file, f"Object {k} is named {name!r}.", f"The objects are {', '.join(CELLS)}.")
    sides = [_number(found, f"bndbox/{side}", "", file) for side in SIDES]
    left, top, right, bottom = (min(max(side, 0), size[j % 2]) for j, side in enumerate(sides))
    return Box(label, left, top, right, bottom)


def _number(within: ET.Element, path: str, absent: str, file: Path) -> float:
    said = within.findtext(path) or absent
    try:
        number = float(said)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _bad(file, f"{said!r} as {path} is no number.", f"A bndbox has {', '.join(SIDES)}, in pixels.")
    return number


def _root(file: Path) -> ET.Element:
    """Parsed only where the text declares nothing: entities could swell without end or read other files."""
    try:
        text = file.read_text("utf-8-sig")
        if DECLARATION.search(text):
            raise _bad(file, "It has a DOCTYPE or ENTITY declaration.", "Take the declaration out; none is needed.")
        return ET.fromstring(text)  # noqa: S314  (see above)
    except (UnicodeDecodeError, ET.ParseError) as fault:
        raise _bad(file, "It is no XML in UTF-8.", "Copy it again from the download.") from fault


def _bad(file: Path, problem: str, remedy: str) -> InputRejected:
    return InputRejected("bad_annotation", place=str(file), problem=problem, remedy=remedy)


def _subsets(folder: Path, paths: list[Path]) -> Strings | None:
    """Which of PARTS lists each image, "" for none of them; None without such lists."""
    lists = {part: folder / "ImageSets" / "Main" / f"{part}.txt" for part in PARTS}
    lists = {part: path for part, path in lists.items() if path.is_file()}
    subset = dict.fromkeys((path.stem for path in paths), "")
    for part, path in lists.items():
        for k, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
            if line.strip():
                _enter(subset, line.split()[0], part, f"{path}, line {k}")
    return np.array([subset[path.stem] for path in paths]) if lists else None


def _enter(subset: dict[str, str], name: str, part: str, place: str) -> None:
    if name not in subset:
        raise InputRejected(
            "missing_file", place=place, problem=f"JPEGImages/ has no {name!r}.", remedy="Copy it, or delete the line."
        )
    if subset[name]:
        raise contradiction(place, f"{name} is in {subset[name]}.txt already.")
    subset[name] = part
