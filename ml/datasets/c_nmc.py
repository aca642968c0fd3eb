"""C-NMC 2019: single cells of ALL patients and healthy people, patient and class in the file name, three folds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ml.datasets.folders import (
    contradiction,
    images_in,
    listed_files,
    no_images,
    read_table,
    subfolder,
    subfolders,
    wrong_layout,
    wrong_name,
)
from ml.datasets.image_set import ImageSet

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("normal", "ALL")  # as the publisher numbers them
KINDS = ("hem", "all")
NAME = re.compile(r"UID_(H?\d+)_\d+_\d+_(all|hem)(?:\.\w+)?", re.IGNORECASE)
FOLD = re.compile(r"fold_\d+", re.IGNORECASE)
EXAMPLE = "UID_11_10_1_all.bmp or UID_H11_10_1_hem.bmp (patient, image, cell, class)"
TRAINING = ("C-NMC_training_data", "training_data")
PRELIM = ("C-NMC_test_prelim_phase_data", "validation_data")
TABLE = "C-NMC_test_prelim_phase_data_labels.csv"
COLUMNS = ("Patient_ID", "new_names", "labels")
EXPECTED = f"{TRAINING[0]}/ with fold_0/, fold_1/, fold_2/ (each with all/ and hem/), or {PRELIM[0]}/ with {TABLE}"


class Cell(NamedTuple):
    path: Path
    y: int
    patient: str
    subset: str


def read(folder: Path) -> ImageSet:
    """``folder``: the whole download, its training or preliminary test folder, or one fold.

    ``groups`` are the patients (healthy ones begin with H); ``subset`` is ``fold_0`` … or ``prelim``. The final test
    set has no labels and is passed over.
    """
    notes: list[str] = []
    training, prelim = _training(folder, notes), _prelim(folder, notes)
    if training is None and prelim is None:
        raise wrong_layout(folder, EXPECTED)
    cells = [*(training or ()), *(prelim or ())]
    if not cells:
        raise no_images(folder)
    y = np.array([cell.y for cell in cells])
    notes += [f"There is no image of {label}." for k, label in enumerate(LABELS) if k not in y]
    groups, subset = np.array([cell.patient for cell in cells]), np.array([cell.subset for cell in cells])
    paths = tuple(cell.path for cell in cells)
    return ImageSet("C-NMC 2019", "c-nmc", paths, LABELS, y, groups, "patient", subset=subset, notes=tuple(notes))


def _training(folder: Path, notes: list[str]) -> list[Cell] | None:
    home = subfolder(folder, *TRAINING) or folder
    folds = [sub for sub in subfolders(home) if FOLD.fullmatch(sub.name)]
    if not folds and (home is not folder or any(subfolder(home, kind) for kind in KINDS)):
        folds = [home]
    return [cell for fold in folds for cell in _fold(fold, notes)] if folds else None


def _fold(fold: Path, notes: list[str]) -> list[Cell]:
    subset = fold.name.lower() if FOLD.fullmatch(fold.name) else ""
    cells = []
    for kind in KINDS[::-1]:
        home = subfolder(fold, kind)
        if not home:
            raise wrong_layout(fold, "all/ and hem/" if subset else EXPECTED)
        for path in images_in(home, notes):
            patient, y = _parse(path.name, str(path))
            if KINDS[y] != kind:
                raise contradiction(str(path), f"A cell named {KINDS[y]} lies in the folder {kind}/.")
            cells.append(Cell(path, y, patient, subset))
    return cells


def _prelim(folder: Path, notes: list[str]) -> list[Cell] | None:
    outer = subfolder(folder, *PRELIM) or folder
    tables = [p for home in (outer, folder) for p in sorted(home.iterdir()) if _is_table(p)]
    if not tables and outer is folder:
        return None
    if not tables:
        raise wrong_layout(outer, f"{TABLE} with the images 1.bmp, 2.bmp …")
    images = subfolder(outer, PRELIM[0]) or outer
    rows = read_table(tables[0], COLUMNS)
    paths = listed_files(images, [(place, row["new_names"].strip()) for place, row in rows])
    cells = [_listed(path, place, row) for path, (place, row) in zip(paths, rows, strict=True)]
    unlisted = len(images_in(images, [])) - len(cells)
    notes += [f"Images of {images.name}/ that {tables[0].name} does not list: {unlisted}."] if unlisted else []
    return cells


def _is_table(path: Path) -> bool:
    name = path.name.lower()
    return not name.startswith(".") and name.endswith("labels.csv") and "prelim" in name


def _listed(path: Path, place: str, row: dict[str, str]) -> Cell:
    patient, y = _parse(row["Patient_ID"].strip(), place)
    if row["labels"].strip() != str(y):
        problem = f"Label {row['labels']!r} of {row['Patient_ID']}: it must be 1 for all and 0 for hem."
        raise contradiction(place, problem)
    return Cell(path, y, patient, "prelim")


def _parse(name: str, place: str) -> tuple[str, int]:
    """Patient and class of a published name."""
    said = NAME.fullmatch(name)
    if not said:
        raise wrong_name(place, name, EXAMPLE)
    return said[1].upper(), KINDS.index(said[2].lower())
