"""Labelled image sets of leukaemia as their owners publish them: ``load(layout, folder)`` gives one ImageSet for all.

The layout is always named, never guessed: a folder of another shape is refused, and told what was expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.datasets import all_idb, bccd, c_nmc, cells, four_class
from ml.datasets.four_class import BLOCK, FIELD_LABELS
from ml.datasets.image_set import Box, ImageSet, Point, describe
from ml.datasets.splits import grouped_folds, split_70_30, stratified_folds
from ml.findings import InputRejected

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "BLOCK", "FIELD_LABELS", "LAYOUTS", "Box", "ImageSet", "Layout", "Point",
    "describe", "grouped_folds", "load", "split_70_30", "stratified_folds",
]  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """``expects``: the files of such a folder in words; ``source``: whose data it is and where it is described."""

    source: str
    expects: str
    read: Callable[..., ImageSet]


LAYOUTS = {
    "four-class-all": Layout("Aria et al. 2021, doi:10.34740/kaggle/dsv/2175623", four_class.EXPECTED, four_class.read),
    "c-nmc": Layout("C-NMC 2019, Gupta & Gupta, doi:10.7937/tcia.2019.dc64i46r", c_nmc.EXPECTED, c_nmc.read),
    "all-idb1": Layout(
        "ALL-IDB1, Donida Labati et al., doi:10.1109/ICIP.2011.6115881", all_idb.EXPECTED_1, all_idb.read_1
    ),
    "all-idb2": Layout(
        "ALL-IDB2, Donida Labati et al., doi:10.1109/ICIP.2011.6115881", all_idb.EXPECTED_2, all_idb.read_2
    ),
    "cells": Layout("single cells listed in a table, one patient each", cells.EXPECTED, cells.read),
    "bccd": Layout("BCCD, blood cells with Pascal-VOC boxes", bccd.EXPECTED, bccd.read),
}


def load(layout: str, folder: Path, **options: Any) -> ImageSet:
    """The images of ``folder``, which is arranged as ``layout`` (a key of LAYOUTS) says.

    ``options`` are the layout's own: ``segmented=True`` for four-class-all. No pixel is decoded here. Raises
    InputRejected for another layout, for wrong names and annotations, and for files that cannot be read.
    """
    if layout not in LAYOUTS:
        raise InputRejected(
            "unknown_layout",
            place=str(layout),
            problem="There is no such layout.",
            remedy=f"The layouts are {', '.join(LAYOUTS)}.",
        )
    if not folder.is_dir():
        raise InputRejected(
            "missing_folder", place=str(folder), problem="There is no such folder.", remedy="Check the path."
        )
    try:
        return LAYOUTS[layout].read(folder, **options)
    except OSError as fault:
        raise InputRejected(
            "unreadable",
            place=str(fault.filename or folder),
            problem="It cannot be read.",
            remedy="Check its permissions and the disk.",
        ) from fault
