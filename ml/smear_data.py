"""Labelled image folders: fields in one folder a class, cells by a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.datasets.cells import COLUMNS
from ml.datasets.four_class import BLOCK, FIELD_LABELS, FOLDERS
from ml.findings import InputRejected
from ml.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".dcm"}


@dataclass(frozen=True)
class Fields:
    """Files of labelled fields; ``y`` indexes FIELD_LABELS; ``block`` numbers runs of neighbouring files of a class;
    ``part`` in [0, 1) is a file's place in its class folder's order.
    """

    paths: tuple[Path, ...]
    y: npt.NDArray[np.int64]
    block: npt.NDArray[np.int64]
    part: npt.NDArray[np.float64]


def load_fields(folder: Path) -> Fields:
    """Every image in the class folders of ``folder``, whose names, in either case, are those of FOLDERS."""
    found: dict[str, list[Path]] = {}
    for sub in sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else ():
        label = FOLDERS.get(sub.name.lower().replace("_", " ")) or FOLDERS.get(sub.name.lower())
        if label:
            found.setdefault(label, []).extend(sorted(p for p in sub.iterdir() if p.suffix.lower() in SUFFIXES))
    if not any(found.values()):
        raise InputRejected(
            "no_images",
            place=str(folder),
            problem="There are no class folders with images.",
            remedy="Name the folders Benign, Early, Pre and Pro.",
        )
    return _fields({label: found.get(label, []) for label in FIELD_LABELS})


def _fields(found: dict[str, list[Path]]) -> Fields:
    y = [k for k, paths in enumerate(found.values()) for _ in paths]
    place = [k for paths in found.values() for k in range(len(paths))]
    size = [len(paths) for paths in found.values() for _ in paths]
    block = [1000 * of_class + k // BLOCK for of_class, k in zip(y, place, strict=True)]
    paths = tuple(path for group in found.values() for path in group)
    return Fields(paths, np.array(y), np.array(block), np.array(place) / np.array(size))


def load_cells(folder: Path) -> pd.DataFrame:
    """``cells.csv`` of ``folder`` with the columns of COLUMNS, ``file`` made absolute; one row a cell."""
    table = folder / "cells.csv"
    if not table.is_file():
        raise InputRejected(
            "missing_file", place=str(table), problem="The table is missing.", remedy="Name the folder that holds it."
        )
    cells = pd.read_csv(table, dtype=str, keep_default_na=False)
    absent = [c for c in COLUMNS if c not in cells.columns]
    if absent:
        raise InputRejected(
            "missing_column",
            place=f"{table}, first row",
            problem=f"The columns {', '.join(absent)} are missing.",
            remedy=f"The columns are {', '.join(COLUMNS)}.",
        )
    return cells.assign(file=[str(folder / name) for name in cells.file])


def first_frame(path: Path) -> npt.NDArray[np.uint8]:
    frames, _ = read_image(path)
    return next(iter(frames))
