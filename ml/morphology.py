"""A white cell in numbers that a haematologist would name: nucleus, cytoplasm, chromatin. From its view alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import label, regionprops

from ml.cell_view import REACH, SPAN, STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.cell_view import View

Floats = npt.NDArray[np.float64]

STAINED = 0.12  # least mean optical density of cytoplasm
LEVELS = 16  # grey levels of the co-occurrence matrix
DEEPEST = 2.5  # optical density of the last of them
FEATURES = (
    "nucleus_area",  # in red-cell areas
    "roundness",  # 4π·area / perimeter²
    "solidity",
    "eccentricity",
    "lobes",
    "nuclear_share",  # nucleus of the whole cell: N:C
    "cytoplasm_density",
    "cytoplasm_blueness",  # red over blue absorption
    "cytoplasm_grain",
    "chromatin_spread",
    "chromatin_skewness",
    "chromatin_kurtosis",
    "chromatin_fine",  # share of the spread that is lost by a slight blur
    "chromatin_coarse",
    "contrast",
    "homogeneity",
    "correlation",
    "light_spots",  # share of the nucleus much lighter than it: nucleoli
    "dark_spots",  # much darker: clumps
)


def features(views: Sequence[View] | View) -> Floats:
    """(n, side, side, 4) views (see ml.cell_view) → (n, len(FEATURES)); NaN where there is no nucleus."""
    return np.array([_of_one(np.asarray(seen)) for seen in views]).reshape(-1, len(FEATURES))


def _of_one(seen: View) -> Floats:
    side = len(seen)
    nucleus = seen[..., 3] == 0
    if not 30 <= nucleus.sum() < 0.9 * nucleus.size:
        return np.full(len(FEATURES), np.nan)
    density = -np.log(np.maximum(seen[..., :3], 2) / 255.0)
    near = (seen[..., 3] > 0) & (seen[..., 3] <= REACH * STEPS)
    cytoplasm = near & (density.mean(axis=2) > STAINED)
    green = density[..., 1].astype(np.float32)
    return np.array([*_shape(nucleus, side), *_around(density, nucleus, cytoplasm), *_chromatin(green, nucleus)])


def _shape(nucleus: npt.NDArray[np.bool_], side: int) -> list[float]:
    red_area = np.pi / 4 * (side / SPAN) ** 2
    numbered = label(nucleus)
    regions = [r for r in regionprops(numbered) if r.area >= 0.1 * nucleus.sum()] or regionprops(numbered)
    whole = regionprops(nucleus.astype(np.uint8))[0]
    roundness = 4 * np.pi * whole.area / max(whole.perimeter, 1.0) ** 2
    return [nucleus.sum() / red_area, roundness, whole.solidity, whole.eccentricity, len(regions)]


def _around(density: Floats, nucleus: npt.NDArray[np.bool_], cytoplasm: npt.NDArray[np.bool_]) -> list[float]:
    share = nucleus.sum() / (nucleus.sum() + cytoplasm.sum())
    if cytoplasm.sum() < 20:
        return [share, np.nan, np.nan, np.nan]
    red, green, blue = density[cytoplasm].T
    return [share, green.mean(), red.mean() / max(blue.mean(), 0.02), green.std() / max(green.mean(), 0.02)]


def _chromatin(green: npt.NDArray[np.float32], nucleus: npt.NDArray[np.bool_]) -> list[float]:
    inside = cv2.erode(nucleus.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    inside = inside if inside.sum() >= 20 else nucleus
    values = green[inside]
    spread = float(values.std()) + 1e-6
    filled = np.where(nucleus, green, values.mean())
    slight, strong = (cv2.GaussianBlur(filled, (0, 0), s)[inside].std() for s in (1.0, 3.0))
    grey = np.clip(green / DEEPEST * (LEVELS - 1), 0, LEVELS - 2).astype(np.uint8) + 1
    grey[~inside] = 0  # pairs with the outside are left out below
    pairs = graycomatrix(grey, [2], [0, np.pi / 2], LEVELS, symmetric=True)[1:, 1:].astype(np.float64)
    texture = [float(graycoprops(pairs, name).mean()) for name in ("contrast", "homogeneity", "correlation")]
    apart = (values - values.mean()) / spread
    return [
        spread,
        float((apart**3).mean()),
        float((apart**4).mean() - 3),
        1 - float(slight) / spread,
        float(strong) / spread,
        *texture,
        float((apart < -1.5).mean()),
        float((apart > 1.5).mean()),
    ]
