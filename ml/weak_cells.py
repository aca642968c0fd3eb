"""Cells of labelled fields, found by the white-cell finder: nobody has named them, their field has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from ml.cell_view import SIDE_OF_VIEWS, View, cells_of, cut_off
from ml.datasets import FIELD_LABELS
from ml.smear_data import first_frame, load_fields
from ml.training import FOLDS, bar, cached
from ml.white_cells import Rgb, find_cells

if TYPE_CHECKING:
    from pathlib import Path

    from ml.heads import Floats, Labels

ASPECT = 4 / 3  # of the photographs behind the four-class set's squares
CORNER = 0.15  # holds a scale bar
MOST = 4  # cells of one field


@dataclass(frozen=True)
class WeakCells:
    """``views`` (n, side, side, 4); ``field`` (n,) number of the field; ``leukaemic`` and ``fold`` (n,) of the field;
    ``block`` (n,) of neighbouring fields; ``draw`` (n,) sums to 1, half of it leukaemic, every field alike.
    """

    views: View
    field: Labels
    leukaemic: npt.NDArray[np.bool_]
    fold: Labels
    block: Labels
    draw: Floats
    data: tuple[dict[str, Any], ...] = ()

    @classmethod
    def none(cls) -> WeakCells:
        no = np.zeros(0, dtype=np.int64)
        views = np.zeros((0, SIDE_OF_VIEWS, SIDE_OF_VIEWS, 4), dtype=np.uint8)
        return cls(views, no, no.astype(bool), no, no, no.astype(float))


def weak_cells(folder: Path, cache: Path | None) -> WeakCells:
    """At most MOST whole cells of each field in the class folders of ``folder``."""
    fields = load_fields(folder)
    kept = cached(cache, repr(("weak", [p.stat().st_size for p in fields.paths])), lambda: _gather(fields.paths))
    field = kept["field"]
    leukaemic = fields.y[field] != FIELD_LABELS.index("haematogones")
    draw = 1 / np.bincount(field)[field]
    for kind in (leukaemic, ~leukaemic):
        draw[kind] /= 2 * draw[kind].sum()
    said = {
        "name": "Aria et al. 2021, cells found in smear fields",
        "n": len(field),
        "licence": "research use",
        "source": "Taleqani Hospital, Tehran; labelled by their field alone",
    }
    fold = (fields.part * FOLDS).astype(np.int64)[field]
    return WeakCells(kept["views"], field, leukaemic, fold, fields.block[field], draw, (said,))


def _gather(paths: tuple[Path, ...]) -> dict[str, Any]:
    views, field = [], []
    with bar(len(paths), "finding cells") as progress:
        for k, path in enumerate(paths):
            of_field = whole_cells(as_photographed(first_frame(path)))[:MOST]
            views += of_field
            field += [k] * len(of_field)
            progress.update()
    return {"views": np.stack(views), "field": np.array(field)}


def as_photographed(square: Rgb) -> Rgb:
    """A stored square at its photograph's aspect, its scale bar painted white."""
    h, w = square.shape[:2]
    image = cv2.resize(square, (round(w * ASPECT), h), interpolation=cv2.INTER_CUBIC)
    image[-round(h * CORNER) :, -round(w * ASPECT * CORNER) :] = 255
    return np.asarray(image, dtype=np.uint8)


def whole_cells(image: Rgb) -> list[View]:
    """Views of the cells whose nucleus is not cut by the border, in an order that depends on the image alone."""
    found = find_cells(image)
    seen = [seen for cell, seen in cells_of(image, SIDE_OF_VIEWS, found) if not cut_off(cell, found)]
    order = np.random.default_rng(len(seen)).permutation(len(seen))
    return [seen[k] for k in order]
