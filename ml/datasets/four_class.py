"""Aria et al. 2021: smear fields, one folder a class, original and segmented; no patients, so blocks of neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.datasets.folders import first_twins, images_in, no_images, subfolder, subfolders, wrong_layout
from ml.datasets.image_set import ImageSet

if TYPE_CHECKING:
    from pathlib import Path

FIELD_LABELS = ("haematogones", "Early Pre-B", "Pre-B", "Pro-B")
FOLDERS = {
    "benign": "haematogones",
    "haematogones": "haematogones",
    "early": "Early Pre-B",
    "early pre-b": "Early Pre-B",
    "pre": "Pre-B",
    "pre-b": "Pre-B",
    "pro": "Pro-B",
    "pro-b": "Pro-B",
}
CLASSES = "Benign/, Early/, Pre/, Pro/"
EXPECTED = f"{CLASSES}, or Original/ (and Segmented/) with these inside"
BLOCK = 36  # neighbouring fields that count as one unknown patient: 3,216 fields of 89 patients


def read(folder: Path, *, segmented: bool = False) -> ImageSet:
    """``folder`` holds the class folders, or Original and Segmented, of which ``segmented`` chooses one.

    Classes are in the order of FIELD_LABELS and files in that of their numbers; a group is a run of BLOCK of them.
    Class folders directly in ``folder`` are taken for what they are, whatever ``segmented`` says.
    """
    home = _chosen(folder, segmented=segmented)
    homes = _class_folders(home)
    notes: list[str] = []
    found = {label: [p for sub in homes[label] for p in images_in(sub, notes)] for label in FIELD_LABELS}
    paths = tuple(path for files in found.values() for path in files)
    if not paths:
        raise no_images(home)
    notes += [f"There is no image of {label}." for label, files in found.items() if not files]
    first_twins(paths, notes)
    groups = [f"{label} {k // BLOCK:03d}" for label, files in found.items() for k in range(len(files))]
    return ImageSet(
        "Aria et al. 2021" + ", segmented" * (home != folder and segmented),
        "four-class-all",
        paths,
        FIELD_LABELS,
        np.repeat(np.arange(4), [len(files) for files in found.values()]),
        np.array(groups),
        "block",
        notes=tuple(notes),
    )


def _chosen(folder: Path, *, segmented: bool) -> Path:
    original, other = subfolder(folder, "Original"), subfolder(folder, "Segmented")
    if not original and not other:
        return folder
    chosen = other if segmented else original
    if not chosen:
        raise wrong_layout(folder, "Segmented/" if segmented else "Original/ (for the others ask for segmented images)")
    return chosen


def _class_folders(home: Path) -> dict[str, list[Path]]:
    """The folders of each label; a class may be absent, but not beside a folder of an unknown name."""
    homes: dict[str, list[Path]] = {label: [] for label in FIELD_LABELS}
    unknown = False
    for sub in subfolders(home):
        label = FOLDERS.get(sub.name.lower().replace("_", " ").replace("[malignant]", "").strip())
        if label:
            homes[label].append(sub)
        unknown = unknown or not label
    if not any(homes.values()) or (unknown and not all(homes.values())):
        raise wrong_layout(home, EXPECTED)
    return homes
