"""Single cells that a table lists with their patients, as the discovery cohort of Sidhom et al. 2021."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.datasets.folders import contradiction, listed_files, no_images, read_table, wrong_layout
from ml.datasets.image_set import ImageSet

if TYPE_CHECKING:
    from pathlib import Path

TABLE = "cells.csv"
COLUMNS = ("file", "patient", "diagnosis", "cell_class")
EXPECTED = f"{TABLE} with the columns {', '.join(COLUMNS)}, and the files it lists"


def read(folder: Path) -> ImageSet:
    """``labels``: the cell classes of the table in alphabetical order; groups: its patients, each of one diagnosis."""
    table = folder / TABLE
    if not table.is_file():
        raise wrong_layout(folder, EXPECTED)
    rows = read_table(table, COLUMNS)
    if not rows:
        raise no_images(folder)
    file, patient, diagnosis, cell_class = ([row[column].strip() for _, row in rows] for column in COLUMNS)
    places = [place for place, _ in rows]
    paths = listed_files(folder, list(zip(places, file, strict=True)))
    _check_diagnoses(places, patient, diagnosis)
    labels, y = np.unique(cell_class, return_inverse=True)
    return ImageSet(
        folder.resolve().name,
        "cells",
        tuple(paths),
        tuple(str(label) for label in labels),
        y.astype(np.int64),
        np.array(patient),
        "patient",
        diagnosis=np.array(diagnosis),
    )


def _check_diagnoses(places: list[str], patients: list[str], diagnoses: list[str]) -> None:
    known: dict[str, str] = {}
    for place, patient, diagnosis in zip(places, patients, diagnoses, strict=True):
        if known.setdefault(patient, diagnosis) != diagnosis:
            raise contradiction(place, f"Patient {patient} has {diagnosis!r} here and {known[patient]!r} above.")
