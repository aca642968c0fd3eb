"""Where the white cells of a smear are, and how large its red cells: the ruler that every laboratory's image carries.

Classical and without training: nuclei are what absorbs green much more than blue (azure with eosin), red cells are the
other absorbing discs. Lengths are in red-cell diameters, so that no magnification has to be known.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import regionprops
from skimage.segmentation import watershed

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]

WORKING_SIDE = 512  # pixels of the longer side at which is searched
LARGEST_SIDE = 1600  # and at most, where the red cells turn out small
SMALL_RED_CELL = 25.0  # pixels
PURPLE = 0.2  # least optical density of a nucleus in green, beyond 1.5 times that of blue
NUCLEUS_OF_RED_CELL = 1.25  # usual diameter of a white cell's nucleus in red-cell diameters
SEPARATION, CLOSING, MARGIN = 0.8, 0.25, 0.25  # red-cell diameters: centres apart; lobes joined; cytoplasm in a box
LEAST_NUCLEUS = 0.35  # of a red cell's area
BLACK = 12  # darker than any stain: the surround of a cut-out cell


@dataclass(frozen=True)
class WhiteCell:
    """``box`` (top, left, bottom, right) and ``centre`` (y, x) in pixels of the image; ``area`` of the nucleus in
    red-cell areas; ``number`` its value in Found.nuclei.
    """

    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    area: float
    number: int


@dataclass(frozen=True)
class Found:
    """``red_diameter`` in pixels of the image; where no red cell was seen it is inferred from the nuclei (``measured``
    false), and None where there is no nucleus either. ``nuclei``: (h, w) numbers at ``scale`` of the image.
    """

    cells: tuple[WhiteCell, ...]
    red_diameter: float | None
    measured: bool
    nuclei: Ints
    scale: float


def find_cells(image: Rgb) -> Found:
    """White cells of a field or a crop (h, w, 3), from top to bottom."""
    found = _find(image, WORKING_SIDE / max(image.shape[:2]))
    pixels = (found.red_diameter or SMALL_RED_CELL) * found.scale
    if pixels < SMALL_RED_CELL and found.scale < 1:
        larger = min(1.0, LARGEST_SIDE / max(image.shape[:2]), found.scale * 1.4 * SMALL_RED_CELL / pixels)
        return _find(image, larger)
    return found


def _find(image: Rgb, scale: float) -> Found:
    density = optical_density(resized(without_black(image), scale))
    nuclei = nuclear_mask(density)
    diameter, measured = red_cell_diameter(density, nuclei), True
    if diameter is None:
        sizes, measured = diameters(nuclei), False
        diameter = weighted_median(sizes) / NUCLEUS_OF_RED_CELL if len(sizes) else None
    if diameter is None:
        return Found((), None, measured, np.zeros(nuclei.shape, np.int32), scale)
    numbered = separate(nuclei, diameter)
    return Found(tuple(_cells(numbered, diameter, scale)), diameter / scale, measured, numbered, scale)


def resized(image: Rgb, scale: float) -> Rgb:
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


def without_black(image: Rgb) -> Rgb:
    """A cut-out cell's black surround made white; other images as they are."""
    black = (image.max(axis=2) < BLACK).astype(np.uint8)
    if black.mean() < 0.05:
        return image
    regions = cv2.connectedComponents(black)[1]
    edge = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    surround = np.isin(regions, edge[edge > 0])
    if surround.mean() < 0.05:
        return image
    wider = cv2.dilate(surround.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.where(wider[..., None] > 0, np.uint8(255), image)


def optical_density(image: Rgb) -> Floats:
    """−ln(I / I₀) per pixel and channel (h, w, 3); I₀ is the median of the brightest 15 % of the pixels."""
    flat = image[::2, ::2].reshape(-1, 3)
    light = flat.sum(axis=1, dtype=np.int32)
    empty = np.maximum(np.median(flat[light >= np.percentile(light, 85)], axis=0), 60)
    return np.asarray(_DENSITY[image] + np.log(empty / 255).astype(np.float32))


_DENSITY = -np.log(np.maximum(np.arange(256), 4) / 255).astype(np.float32)  # of each of the 256 grey levels
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def opened(mask: Mask, times: int) -> Mask:
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _CROSS, iterations=times) > 0)


def widened(mask: Mask, times: int) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _CROSS, iterations=times) > 0)


def filled(mask: Mask) -> Mask:
    """Without holes: what cannot be reached from outside."""
    around = np.pad(mask.astype(np.uint8), 1)
    cv2.floodFill(around, None, (0, 0), 2)
    return np.asarray(around[1:-1, 1:-1] != 2)


def inside(mask: Mask) -> Floats:
    """Distance in pixels to the nearest pixel outside ``mask``."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def smooth(plane: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)


def nuclear_mask(density: Floats) -> Mask:
    """Pixels of nuclei: purple above PURPLE and above half of what the darkest nuclei of the image have."""
    green, blue = density[..., 1], density[..., 2]
    purple = smooth(np.minimum(green, 1.5 * (green - blue)), 1)
    return filled(opened(purple > max(PURPLE, 0.5 * float(np.percentile(purple, 99.7))), 2))


def diameters(mask: Mask) -> npt.NDArray[np.float64]:
    areas = cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    return np.sqrt(areas[areas > 80] * 4 / np.pi)


def weighted_median(sizes: npt.NDArray[np.float64]) -> float:
    """The size below which half of the area lies."""
    ordered = np.sort(sizes)
    share = np.cumsum(ordered**2)
    return float(ordered[np.searchsorted(share, share[-1] / 2)])


def red_cell_diameter(density: Floats, nuclei: Mask) -> float | None:
    """Median diameter in pixels: of the round discs that stand alone where two do, else of the clumps' thickness.

    Sizes that no red cell has beside these nuclei are left out (a nucleus is 0.55 to 2.5 red cells wide).
    """
    discs = _discs(density, nuclei)
    inner = inside(discs) if discs is not None else np.zeros((1, 1), np.float32)
    if discs is None or inner.max() < 5:
        return None
    sizes = diameters(nuclei)
    low, high = (0.4 * weighted_median(sizes), 1.8 * weighted_median(sizes)) if len(sizes) else (10.0, 250.0)
    window = max(5, int(inner.max() / 2)) | 1
    crest = inner == cv2.dilate(inner, np.ones((window, window), np.uint8))
    thick = 2.0 * inner[crest & (inner > 0.4 * inner.max())].astype(np.float64)
    least = max(low, 0.6 * weighted_median(thick))
    alone = np.array([size for size in _round(discs) if least < size < high])
    if len(alone) >= 2:
        return weighted_median(alone)
    thick = thick[(thick > low) & (thick < high)]
    return 1.05 * weighted_median(thick) if len(thick) >= 2 else None


def _discs(density: Floats, nuclei: Mask) -> Mask | None:
    """What absorbs and is no nucleus, holes filled; None where nothing does."""
    absorbed = smooth(np.maximum(density, 0).mean(axis=2), 1)
    outside = ~widened(nuclei, 3)
    if outside.sum() < 100:
        return None
    threshold = threshold_otsu(np.clip(absorbed[outside], 0, 0.8))
    if threshold < 0.03:
        return None
    return opened(filled((absorbed > threshold) & outside), 3)


def _round(mask: Mask) -> list[float]:
    """Diameters of the convex, nearly circular regions that do not touch the border."""
    h, w = mask.shape
    contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    sizes = []
    for contour in contours:
        left, top, width, height = cv2.boundingRect(contour)
        area = cv2.contourArea(contour) + len(contour) / 2  # the polygon runs through the outer pixels' middles
        if area < 80 or not (left and top and left + width < w and top + height < h):
            continue
        hull = cv2.convexHull(contour)
        _, axes, _ = cv2.fitEllipse(contour)
        if area > 0.92 * (cv2.contourArea(hull) + len(contour) / 2) and min(axes) > 0.6 * max(axes):
            sizes.append(float(np.sqrt(area * 4 / np.pi)))
    return sizes


def separate(nuclei: Mask, diameter: float) -> Ints:
    """Each white cell's nucleus numbered from 1: lobes joined, touching cells parted (watershed of the distance).

    Specks too small for a nucleus are left out first: a photograph may have thousands, and peaks are compared in pairs.
    """
    closed = _closed(nuclei, max(1, round(CLOSING * diameter)))
    regions = cv2.connectedComponents(closed.astype(np.uint8))[1]
    sizes = np.bincount(regions.ravel(), weights=nuclei.ravel())
    closed &= (sizes >= LEAST_NUCLEUS * np.pi / 4 * diameter**2)[regions]
    inner = smooth(inside(closed), max(1.0, 0.1 * diameter))
    apart = max(3, int(SEPARATION * diameter))
    peaks = peak_local_max(
        inner,
        min_distance=apart,
        threshold_abs=0.1 * diameter,
        exclude_border=False,
        labels=regions * closed,
    )
    seeds = np.zeros(nuclei.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-inner, seeds, mask=closed) * nuclei, dtype=np.int32)


def _closed(mask: Mask, radius: int) -> Mask:
    """Morphological closing by a disc, by two distance transforms: quick for any radius."""
    padded = np.pad(mask, radius + 1)
    near = inside(~padded) <= radius
    closed = inside(near) > radius
    return np.asarray(closed[radius + 1 : -radius - 1, radius + 1 : -radius - 1] | mask)


def _cells(numbered: Ints, diameter: float, scale: float) -> list[WhiteCell]:
    h, w = numbered.shape
    red_area, margin = np.pi / 4 * diameter**2, MARGIN * diameter
    cells = []
    for r in regionprops(numbered):
        if r.area < LEAST_NUCLEUS * red_area:
            continue
        top, left, bottom, right = r.bbox
        box = max(0, top - margin), max(0, left - margin), min(h, bottom + margin), min(w, right + margin)
        scaled = tuple(float(v / scale) for v in box)
        centre = float(r.centroid[0] / scale), float(r.centroid[1] / scale)
        cells.append(WhiteCell(scaled, centre, float(r.area / red_area), int(r.label)))  # type: ignore[arg-type]
    return cells
