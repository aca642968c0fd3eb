"""Is an image good enough to be judged? Focus, exposure, stain and emptiness, each a number against a threshold.

The thresholds travel in the bundle: they are quantiles of the training images, so a flag means "worse than nearly all
images the model has learned from".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import laplace
from skimage.transform import resize

from ml.findings import QualityFlag
from ml.stain import optical_density

if TYPE_CHECKING:
    from collections.abc import Mapping

Rgb = npt.NDArray[np.uint8]

SIDE = 224  # pixels; the measures are comparable only at one scale
PURPLE = 0.2  # optical density in red above which a pixel can be nucleus
SENTENCES = {
    "blank": "The image shows nothing: hardly any contrast.",
    "dark": "The image is too dark; check the lamp and the exposure.",
    "no_stain": "No stained nuclei were found; send a Romanowsky-stained smear in colour.",
    "out_of_focus": "The image is out of focus.",
}
MEASURE_OF = {"dark": "brightness", "blank": "contrast", "no_stain": "stain", "out_of_focus": "focus"}


def measure(image: Rgb) -> dict[str, float]:
    """Four numbers of an image (h, w, 3): the larger, the better.

    ``contrast`` standard deviation of the luminance (0–1); ``brightness`` its 95th percentile; ``stain`` share
    of pixels that absorb red and green clearly more than blue (nuclei); ``focus`` ln of the variance of the Laplacian
    relative to the variance of the luminance (Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548).
    """
    small = resize(image, (SIDE, SIDE), anti_aliasing=True, preserve_range=True).astype(np.uint8)
    light = small.astype(np.float64).mean(axis=2) / 255
    red, green, blue = np.moveaxis(optical_density(small), 2, 0)
    purple = (red > PURPLE) & (green > 1.05 * blue) & (green > 0.5 * red)
    return {
        "contrast": float(light.std()),
        "brightness": float(np.percentile(light, 95)),
        "stain": float(purple.mean()),
        "focus": float(np.log((laplace(light).var() + 1e-9) / (light.var() + 1e-6))),
    }


def judge(measures: Mapping[str, float], thresholds: Mapping[str, Mapping[str, float]]) -> tuple[QualityFlag, ...]:
    """Flags by ``thresholds[measure] = {"warn": …, "block": …}``. Of an image that shows nothing the first will do."""
    flags = []
    for code, name in MEASURE_OF.items():
        if measures[name] < thresholds[name]["warn"]:
            flags.append(QualityFlag(code, SENTENCES[code], blocking=measures[name] < thresholds[name]["block"]))
    nothing = next((flag for flag in flags if flag.blocking and flag.code in {"dark", "blank"}), None)
    return (nothing,) if nothing else tuple(flags)


def learn_thresholds(measured: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Warn below the 1st percentile of the training images; block well below the worst of them."""
    thresholds = {}
    for name in MEASURE_OF.values():
        values = np.array([m[name] for m in measured])
        worst = float(np.percentile(values, 0.1))
        below = worst - 0.5 if name == "focus" else worst * 0.5
        thresholds[name] = {"warn": float(np.percentile(values, 1)), "block": below}
    return thresholds
