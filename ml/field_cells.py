"""The white cells of whole fields: found, named by the cell bundle and counted, as a differential is.

What it says accompanies the finding of the fields; it is not evidence of its own in the fusion, since the cell bundle
has learned its classes from single cells of another instrument.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ml.cell_view import cells_of, cut_off, shown
from ml.differential import blast_share, differential
from ml.smear import load_model, see
from ml.smear_cell import BLAST_OR_PROMYELOCYTE
from ml.white_cells import find_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.bundle import Bundle
    from ml.cell_view import View
    from ml.smear import Progress, Rgb, SmearModel
    from ml.white_cells import Found, WhiteCell

GALLERY = 24  # cells shown
SPARE = 0.35  # of a cell's box, shown around it


def read_cells(
    images: Sequence[tuple[str, Rgb]],
    bundle: Bundle,
    founds: Sequence[Found | None] | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Differential, blast share with its interval, and every whole cell of the fields (id, (h, w, 3) uint8).

    ``bundle``: smear-cell; ``founds``: what find_cells has said of each field already. A cell has ``id``
    "field:number", its ``box`` (top, left, bottom, right) in pixels of the field, its ``label`` (None where it is too
    unlike the training cells), P(``blast``) and in-scope score. Cells cut by the border are counted in ``cut_off`` and
    not named. ``fields``: each with the mean P(blast) of its cells.
    """
    model, cells, cut = load_model(bundle), [], 0
    known = founds or [None] * len(images)
    for done, ((name, image), of_image) in enumerate(zip(images, known, strict=True), start=1):
        found = of_image or find_cells(image)
        whole = [(cell, seen) for cell, seen in cells_of(image, model.side, found) if not cut_off(cell, found)]
        cells += _named(name, whole, model)
        cut += len(found.cells) - len(whole)
        if progress:
            progress(done, len(images), "white cells")
    labels = [cell["label"] for cell in cells]
    return {
        "bundle": bundle.reference,
        "bundle_sha256": bundle.sha256,
        "differential": differential(labels),
        "blast_share": blast_share(labels),
        "fields": [_of_field(name, cells, model) for name, _ in images],
        "cells": cells,
        "cut_off": cut,
    }


def _of_field(name: str, cells: Sequence[dict[str, Any]], model: SmearModel) -> dict[str, Any]:
    """The mean P(blast) of a field's named cells (None without any), and whether it reaches the home threshold."""
    own = [cell["blast"] for cell in cells if cell["field"] == name and cell["label"]]
    mean = float(np.mean(own)) if own else None
    least = model.thresholds.get("blast", {}).get("of_field")
    return {"id": name, "cells": len(own), "blast": mean, "called": None if None in (mean, least) else mean >= least}


def _named(name: str, whole: Sequence[tuple[WhiteCell, View]], model: SmearModel) -> list[dict[str, Any]]:
    if not whole:
        return []
    said = see(shown(np.stack([seen for _, seen in whole])), model)
    least = model.thresholds["in_scope"]["block"]
    columns = [model.image_labels.index(label) for label in BLAST_OR_PROMYELOCYTE if label in model.image_labels]
    return [
        {
            "id": f"{name}:{k}",
            "field": name,
            "box": [round(edge, 1) for edge in cell.box],
            "label": model.image_labels[int(seen.p.argmax())] if seen.score >= least else None,
            "share": float(seen.p.max()),
            "blast": float(seen.p[columns].sum()),
            "in_scope": seen.score,
        }
        for k, ((cell, _), seen) in enumerate(zip(whole, said, strict=True), start=1)
    ]


def gallery(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells to look at first: the surest blasts that are in scope, at most GALLERY."""
    return sorted((c for c in cells if c["label"]), key=lambda c: -c["blast"] * c["in_scope"])[:GALLERY]


def cell_png(image: Rgb, box: Sequence[float]) -> bytes:
    """The square around a cell of a field, as it was photographed."""
    top, left, bottom, right = box
    half = round((0.5 + SPARE) * max(bottom - top, right - left))
    y, x = round((top + bottom) / 2), round((left + right) / 2)
    picture = Image.fromarray(image[max(0, y - half) : y + half, max(0, x - half) : x + half])
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
