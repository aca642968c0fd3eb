"""Is an image good enough to be judged? Focus, exposure, stain, emptiness and, of a field, magnification and white
cells: each a number against a threshold.

The thresholds travel in the bundle: they are quantiles of the training images, so a flag means "worse than nearly all
images the model has learned from".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import laplace

from ml.findings import QualityFlag
from ml.stain import optical_density

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml.white_cells import Found

Rgb = npt.NDArray[np.uint8]

SIDE = 224  # pixels; the measures are comparable only at one scale
PURPLE = 0.2  # optical density in red above which a pixel can be nucleus
SENTENCES = {
    "blank": "The image shows nothing: hardly any contrast.",
    "dark": "The image is too dark; check the lamp and the exposure.",
    "no_stain": "No stained nuclei were found; send a Romanowsky-stained smear in colour.",
    "out_of_focus": "The image is out of focus.",
    "no_white_cells": "No white cell was found; send fields that show some.",
    "magnified_too_little": "The red cells are small for a field: was it taken with a weaker objective than 100× oil?",
    "magnified_too_much": "The red cells are large for a field: send the whole field rather than a part of it.",
}
MEASURE_OF = {
    "dark": "brightness",
    "blank": "contrast",
    "no_stain": "stain",
    "out_of_focus": "focus",
    "no_white_cells": "white_cells",
    "magnified_too_little": "red_cell_width",
    "magnified_too_much": "red_cells_across",
}
UNKNOWN = 1e6  # a measure that cannot be taken passes every threshold


def measure(image: Rgb) -> dict[str, float]:
    """Four numbers of an image (h, w, 3): the larger, the better.

    ``contrast`` standard deviation of the luminance (0–1); ``brightness`` its 95th percentile; ``stain`` share
    of pixels that absorb red and green clearly more than blue (nuclei); ``focus`` ln of the variance of the Laplacian
    relative to the variance of the luminance (Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548).
    """
    how = cv2.INTER_AREA if min(image.shape[:2]) > SIDE else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=how), dtype=np.uint8)
    light = small.astype(np.float64).mean(axis=2) / 255
    red, green, blue = np.moveaxis(optical_density(small), 2, 0)
    purple = (red > PURPLE) & (green > 1.05 * blue) & (green > 0.5 * red)
    return {
        "contrast": float(light.std()),
        "brightness": float(np.percentile(light, 95)),
        "stain": float(purple.mean()),
        "focus": float(np.log((laplace(light).var() + 1e-9) / (light.var() + 1e-6))),
    }


def measure_cells(image: Rgb, found: Found) -> dict[str, float]:
    """From the cells found in a field: how many ``white_cells``, and the magnification as
    ``red_cell_width`` (red-cell diameter in thousandths of the field's width) and ``red_cells_across`` (its inverse).
    """
    wide = found.red_diameter / image.shape[1] if found.red_diameter and found.measured else None
    across = {"red_cell_width": 1000 * wide, "red_cells_across": 1 / wide} if wide else {}
    unknown = {"red_cell_width": UNKNOWN, "red_cells_across": UNKNOWN}
    return {"white_cells": float(len(found.cells))} | unknown | across


def judge(measures: Mapping[str, float], thresholds: Mapping[str, Mapping[str, float]]) -> tuple[QualityFlag, ...]:
    """Flags by ``thresholds[measure] = {"warn": …, "block": …}``. Of an image that shows nothing the first will do."""
    flags = []
    for code, name in MEASURE_OF.items():
        if name in measures and name in thresholds and measures[name] < thresholds[name]["warn"]:
            flags.append(QualityFlag(code, SENTENCES[code], blocking=measures[name] < thresholds[name]["block"]))
    nothing = next((flag for flag in flags if flag.blocking and flag.code in {"dark", "blank"}), None)
    return (nothing,) if nothing else tuple(flags)


def learn_thresholds(measured: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Warn below the 1st percentile of the training images; block well below the worst of them."""
    thresholds = {}
    for name in (name for name in MEASURE_OF.values() if name in measured[0]):
        values = np.array([m[name] for m in measured])
        worst = float(np.percentile(values, 0.1))
        below = worst - 0.5 if name == "focus" else worst * 0.5
        thresholds[name] = {"warn": float(np.percentile(values, 1)), "block": below}
    if "white_cells" in thresholds:
        thresholds["white_cells"] = {"warn": 1.0, "block": 1.0}
    return thresholds
