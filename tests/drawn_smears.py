"""Discs on a bright field: smears of which every cell's place and size is known."""

import numpy as np
from scipy.ndimage import gaussian_filter

RED, NUCLEUS, CYTOPLASM = (0.10, 0.45, 0.40), (1.0, 1.4, 0.5), (0.30, 0.25, 0.08)  # optical densities


def smear(shape, red=(), white=(), background=(235, 232, 238), stain=1.0):
    """``red``: (y, x, radius); ``white``: (y, x, radius of the nucleus). (h, w, 3) uint8."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    density = np.zeros((*shape, 3))
    for cy, cx, radius in red:
        density[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = RED
    for cy, cx, radius in white:
        distance = (y - cy) ** 2 + (x - cx) ** 2
        density[distance <= (1.25 * radius) ** 2] = CYTOPLASM
        density[distance <= radius**2] = NUCLEUS
    density = gaussian_filter(density, (0.7, 0.7, 0)) * stain
    return np.round(np.asarray(background) * np.exp(-density)).astype(np.uint8)


REDS = [(40, 60, 20), (60, 300, 20), (200, 60, 20), (330, 340, 20), (320, 190, 20), (120, 390, 20)]
WHITES = [(180, 200, 26), (90, 180, 24)]


def usual(**changes):
    return smear((384, 448), REDS, WHITES, **changes)
