"""White cells from the shipped GAN, laid as optical density into a drawn smear: shape and texture are the GAN's,
place, size and surroundings the drawing's.

The GAN knows six groups of the white cells of acute myeloid leukaemia. A kind of cell that it does not know is taken
from the nearest group; in fields every cell has its own kind's size and nuclear colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ml.stain import nuclear_density, optical_density

if TYPE_CHECKING:
    import numpy.typing as npt

    from ml.gan import Generator
    from ml.stained_cells import Density, Pixels, Plane

GENERATOR = Path(__file__).resolve().parent / "demo" / "cells_gan.safetensors"
GROUP_OF = {
    "Blast": "blast",
    "Promyelocyte": "promyelocyte",
    "APL promyelocyte": "promyelocyte",
    "Lymphocyte": "lymphocyte",
    "Segmented neutrophil": "granulocyte",
    "Band neutrophil": "granulocyte",
    "Eosinophil": "granulocyte",
    "Monocyte": "monocyte",
    "Erythroblast": "erythroblast",
    "Haematogone": "lymphocyte",
    "Lymphoblast, Early Pre-B": "blast",
    "Lymphoblast, Pre-B": "blast",
    "Lymphoblast, Pro-B": "blast",
}
SEEN = 0.6  # share of an analyser's image that the generator's square is
CANDIDATES = 12  # cells drawn for each that is kept
SPREAD = 0.8  # of the noise: usual cells rather than rare ones
WHITE_CELL = 0.04  # how much denser a white cell is in red light than in blue: haemoglobin is denser in blue
CUT_OFF = 0.1  # share of the patch's border that a whole cell may touch


@dataclass(frozen=True)
class Patch:
    """One cell: density (side, side, 3) above the empty slide, and how much of each pixel is the cell, (side, side)."""

    density: Plane
    cell: Plane

    @property
    def radius(self) -> float:
        """Of a disc as large as the cell, in pixels."""
        return max(1.0, math.sqrt(float(self.cell.sum()) / math.pi))

    @property
    def border(self) -> float:
        """Share of the border that the cell touches: it goes on outside."""
        edge = [self.cell[0], self.cell[-1], self.cell[:, 0], self.cell[:, -1]]
        return float(np.mean(np.concatenate(edge) > 0.5))

    def scaled(self, zoom: float) -> Patch:
        """The same cell ``zoom`` times as large."""
        density = ndimage.zoom(self.density, (zoom, zoom, 1), order=3)
        cell = ndimage.zoom(self.cell, zoom, order=1)
        return Patch(np.maximum(density, 0), np.clip(cell, 0, 1))


@cache
def generator() -> Generator:
    from ml.gan import load_generator  # noqa: PLC0415 (torch, which drawing does without)

    return load_generator(GENERATOR)


def gan_cell(kind: str, rng: np.random.Generator) -> Patch:
    """A whole cell of a kind in GROUP_OF: the first of CANDIDATES that is not cut off, else the least so; turned."""
    from ml.gan import sample  # noqa: PLC0415

    seed = int(rng.integers(2**31))
    patches = [cut_out(pixels) for pixels in sample(generator(), GROUP_OF[kind], CANDIDATES, seed, SPREAD)]
    whole = [patch for patch in patches if patch.border <= CUT_OFF and patch.radius > 4]
    patch = whole[0] if whole else min(patches, key=lambda patch: patch.border)
    turns, mirror = int(rng.integers(4)), int(rng.choice([-1, 1]))
    return Patch(np.rot90(patch.density[:, ::mirror], turns), np.rot90(patch.cell[:, ::mirror], turns))


def cut_out(pixels: Pixels) -> Patch:
    """The cell in the middle of ``pixels`` (side, side, 3), without the red cells and parts of others around it."""
    density = optical_density(pixels)
    side = len(pixels)
    blue = ndimage.gaussian_filter(density[..., 0] - density[..., 2], side / 64) > WHITE_CELL
    blue = ndimage.binary_opening(ndimage.binary_closing(np.pad(blue, side // 4), iterations=side // 16), iterations=3)
    regions, _ = ndimage.label(ndimage.binary_fill_holes(blue[side // 4 : -side // 4, side // 4 : -side // 4]))
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    middle = np.exp(-(x**2 + y**2) / (side / 6) ** 2)
    weight = np.bincount(regions.ravel(), weights=middle.ravel())
    weight[0] = 0
    cell = (regions == weight.argmax()) & (weight.max() > 0)
    soft = ndimage.gaussian_filter(cell.astype(np.float32), side / 64)
    return Patch(density, np.asarray(soft, dtype=np.float32))


def lay(density: Plane, at: tuple[float, float], patch: Patch, gain: Density | np.float32 | float) -> None:
    """Put ``patch`` with its middle at (x, y) into ``density`` (h, w, 3), its edge blended; what lay there yields."""
    height, width = density.shape[:2]
    side = patch.cell.shape[0]
    left, top = round(at[0] - side / 2), round(at[1] - side / 2)
    rows, columns = slice(max(0, top), min(height, top + side)), slice(max(0, left), min(width, left + side))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    cell = patch.cell[inner][..., None]
    new = patch.density[inner] * np.asarray(gain, dtype=np.float32)
    density[rows, columns] += cell * (new - density[rows, columns])


def to_colour(patch: Patch, nucleus: npt.NDArray[np.float32]) -> Density:
    """The gain by channel that gives the patch's nucleus the density ``nucleus`` (3,)."""
    red, green, blue = nucleus / np.maximum(nuclear_density(patch.density * patch.cell[..., None]), 0.05)
    return float(red), float(green), float(blue)
