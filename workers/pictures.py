"""The pictures that explain a finding: for each image that was read, where its answer came from (Grad-CAM)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml.bundle import Bundle
from ml.findings import Finding
from workers.modalities import function

MOST = 24  # images of one case; those that count most come first
IMAGES_KEY = {"smear_field": "images", "smear_cell": "cells"}
Picture = tuple[str, str, bytes]


def of(
    modality: str,
    inputs: Sequence[tuple[str, Any]],
    finding: Finding,
    bundle: Bundle,
    progress: Callable[[int, int, str], object],
) -> list[Picture]:
    """(kind, image id, PNG) for the images that the finding used. ``inputs``: (id, (h, w, 3) uint8)."""
    read = finding.explanation[IMAGES_KEY[modality]]
    used = [image for image in read if image["label"]]
    shown = sorted(used, key=lambda image: -image.get("attention", image["in_scope"]))[:MOST]
    pixels = dict(inputs)
    overlay = function("ml.explain:overlay_png")
    pictures = []
    for done, image in enumerate(shown, start=1):
        png = overlay(pixels[image["id"]], bundle, image["label"])
        pictures.append(("grad_cam", image["id"], png))
        progress(done, len(shown), "explaining")
    return pictures + _cells(finding.explanation.get("white_cells"), pixels)


def _cells(white_cells: dict[str, Any] | None, pixels: dict[str, Any]) -> list[Picture]:
    """The white cells of fields that one should look at first, each cut out of its field."""
    if not white_cells:
        return []
    gallery, cut = function("ml.field_cells:gallery"), function("ml.field_cells:cell_png")
    return [
        ("white_cell", cell["id"], cut(pixels[cell["field"]], cell["box"])) for cell in gallery(white_cells["cells"])
    ]
