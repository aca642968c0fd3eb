"""One white cell as the network sees it: the same size, the same stain and no surroundings, whatever the laboratory.

Size: a square of SPAN red-cell diameters. Stain: the nucleus brought to one optical density in each channel (Reinhard
2001's idea, with statistics of the nucleus alone, so that neither red cells nor the cell's own type of cytoplasm move
it). Surroundings: white beyond a distance from the nucleus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ml.white_cells import (
    NUCLEUS_OF_RED_CELL,
    Found,
    WhiteCell,
    find_cells,
    inside,
    optical_density,
    smooth,
    widened,
    without_black,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
View = npt.NDArray[np.uint8]  # (side, side, 4): red, green, blue, distance from the nucleus

SIDE_OF_VIEWS = 128  # pixels
SPAN = 2.5  # red-cell diameters
REFERENCE = np.array([0.90, 1.25, 0.50], dtype=np.float32)  # mean optical density of a nucleus, red, green, blue
GAIN = 0.25, 5.0  # bounds of a channel's gain
REACH = 0.6  # red-cell diameters around the nucleus that are shown
STEPS = 100.0  # the fourth channel: distance in 1/STEPS of a red-cell diameter, at most 255


def cells_of(image: Rgb, side: int, found: Found | None = None) -> list[tuple[WhiteCell, View]]:
    """Every white cell of a field (h, w, 3) with its view."""
    found = found or find_cells(image)
    if not found.cells:
        return []
    clean = without_black(image)
    density = optical_density(clean)
    return [(cell, view(density, cell, found, side)) for cell in found.cells]


def central_cell(image: Rgb, side: int) -> tuple[View, bool]:
    """The view of the cell in the middle of a single-cell image; (the whole middle, False) where no nucleus is seen."""
    found = find_cells(image)
    cell = central(found, image)
    if cell is None:
        return bare(image, side), False
    return view(optical_density(without_black(image)), cell, found, side), True


def central(found: Found, image: Rgb) -> WhiteCell | None:
    """The cell nearest to the middle, a large nucleus before a small one."""
    middle = np.array(image.shape[:2]) / 2
    near = [float(np.hypot(*(np.array(cell.centre) - middle))) / np.sqrt(cell.area) for cell in found.cells]
    return found.cells[int(np.argmin(near))] if near else None


def bare(image: Rgb, side: int) -> View:
    """Without a nucleus to hold on to: the middle of the image, as a cell analyser's crop has it, nothing hidden."""
    top, left, size = middle_square(image)
    square = cv2.resize(image[top : top + size, left : left + size], (side, side), interpolation=cv2.INTER_AREA)
    return np.dstack([square, np.zeros((side, side), np.uint8)])


def middle_square(image: Rgb) -> tuple[int, int, int]:
    """Top, left and size of the middle of an image: 0.6 of its shorter side."""
    half = round(min(image.shape[:2]) * 0.3)
    return image.shape[0] // 2 - half, image.shape[1] // 2 - half, 2 * half


def on_image(heat: npt.NDArray[np.float64], image: Rgb) -> npt.NDArray[np.float64]:
    """A map of the central cell's view (side, side) laid back on the image (h, w); 0 around it."""
    found, side = find_cells(image), len(heat)
    cell = central(found, image)
    if cell is None:
        y, x, size = (float(v) for v in middle_square(image))
    else:
        size = SPAN * red_diameter_of(cell, found)
        y, x = cell.centre[0] - size / 2, cell.centre[1] - size / 2
    step = size / side
    there = np.array([[step, 0, x], [0, step, y]])
    return np.asarray(cv2.warpAffine(heat, there, image.shape[1::-1], flags=cv2.INTER_LINEAR), dtype=np.float64)


def view(density: Floats, cell: WhiteCell, found: Found, side: int) -> View:
    """``density``: of the whole image. Beyond its border is empty slide, never a reflection."""
    diameter = red_diameter_of(cell, found)
    numbers = np.dstack([found.nuclei == cell.number, (found.nuclei > 0) & (found.nuclei != cell.number)])
    of_cell, of_others = np.moveaxis(window(numbers.astype(np.float32), cell, diameter, side, found.scale) > 0.5, 2, 0)
    seen = window(density, cell, diameter, side, 1.0)
    seen = np.clip(seen * gains(seen, of_cell), 0, 4)
    steps = np.clip(inside(~of_cell) * (SPAN / side * STEPS), 0, 255) if of_cell.any() else np.zeros((side, side))
    steps[widened(of_others, max(1, side // 40)) & ~of_cell] = 255
    return np.dstack([np.round(255 * np.exp(-seen)), steps]).astype(np.uint8)


def red_diameter_of(cell: WhiteCell, found: Found) -> float:
    """The ruler in pixels; where no red cell was seen, this cell's own nucleus serves."""
    if found.measured and found.red_diameter:
        return found.red_diameter
    return max(8.0, float(np.sqrt(cell.area)) * (found.red_diameter or 1.0) / NUCLEUS_OF_RED_CELL)


def gains(density: Floats, nucleus: npt.NDArray[np.bool_]) -> Floats:
    """Per channel (3,): what brings the mean density of the nucleus to REFERENCE."""
    if nucleus.sum() < 20:
        return np.ones(3, dtype=np.float32)
    mean = np.maximum(density[nucleus].mean(axis=0), 0.02)
    return np.asarray(np.clip(REFERENCE / mean, *GAIN), dtype=np.float32)


def window(planes: Floats, cell: WhiteCell, diameter: float, side: int, scale: float) -> Floats:
    """A square of SPAN diameters around the cell, (side, side, channels), 0 beyond the image; smoothed where reduced.

    ``scale``: how much smaller than the image ``planes`` (h, w, channels) are.
    """
    step = SPAN * diameter * scale / side
    y, x = (c * scale - 0.5 for c in cell.centre)
    half = int(np.ceil(SPAN * diameter * scale / 2)) + 2
    top, left = max(0, int(y) - half), max(0, int(x) - half)
    patch = planes[top : int(y) + half + 1, left : int(x) + half + 1]
    if step > 1.2:
        patch = smooth(patch, 0.4 * step)
    middle = (side - 1) / 2
    back = np.array([[step, 0, x - left - middle * step], [0, step, y - top - middle * step]])
    return np.asarray(cv2.warpAffine(patch, back, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))


def cut_off(cell: WhiteCell, found: Found) -> bool:
    """Does the nucleus touch the image's border?"""
    edge = np.concatenate([found.nuclei[[0, -1]].ravel(), found.nuclei[:, [0, -1]].ravel()])
    return bool((edge == cell.number).any())


def shown(views: Sequence[View] | View, reach: float = REACH) -> Rgb:
    """Views (n, side, side, 4) → pictures (n, side, side, 3): white beyond ``reach`` red-cell diameters."""
    stack = np.asarray(views)
    return np.where(stack[..., 3:] > reach * STEPS, np.uint8(255), stack[..., :3])


def restained(colour: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """Views whose colours (n, 3, h, w) have changed, normalised again by their nuclei and shown: (n, 3, h, w), 0–1."""
    nucleus = distance < 0.5 / 255
    density = -torch.log(colour.clamp(4 / 255, 1))
    mean = (density * nucleus).sum(dim=(2, 3)) / nucleus.sum(dim=(2, 3)).clamp(min=1)
    gain = torch.from_numpy(REFERENCE) / mean.clamp(min=0.02)
    gain = torch.where(nucleus.sum(dim=(2, 3)) < 20, torch.ones(()), gain.clamp(*GAIN))
    return torch.where(distance > REACH * STEPS / 255, torch.ones(()), torch.exp(-density * gain[:, :, None, None]))
