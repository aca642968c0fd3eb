"""Two-point stain normalisation of Romanowsky smears: background to white, nuclei to one depth of colour.

Beer–Lambert: optical density OD = −ln(I/background) is linear in the amount of dye, so both anchors are set there
(Ruifrok & Johnston 2001). Statistics of the whole image, as in Reinhard 2001, would follow the number of cells in the
field; the two anchors do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

REFERENCE_NUCLEUS = 1.0  # mean optical density of a nucleus in red and green
NUCLEAR_SHARE = 2.0  # per cent of the pixels, those that absorb red light most, taken as nuclei
LARGEST_GAIN = 3.0


def background(image: Rgb) -> Floats:
    """Brightness of the empty slide per channel, (3,) in 0–1: the 95th percentile, never darker than 0.2."""
    return np.maximum(np.percentile(image.reshape(-1, 3), 95, axis=0) / 255, 0.2).astype(np.float32)


def optical_density(image: Rgb) -> Floats:
    """OD per pixel and channel, (h, w, 3), natural logarithm, 0 at the background."""
    light = np.maximum(image.astype(np.float32) / 255, 1 / 255)
    return np.maximum(-np.log(light / background(image)), 0)


def nuclear_density(density: Floats) -> Floats:
    """Median OD (3,) of the pixels that absorb red most: eosin and haemoglobin let red through, azure does not."""
    flat = density.reshape(-1, 3)
    dark = flat[:, 0] >= np.percentile(flat[:, 0], 100 - NUCLEAR_SHARE)
    return np.asarray(np.median(flat[dark], axis=0), dtype=np.float32)


def normalise(image: Rgb) -> Rgb:
    """The same image (h, w, 3, uint8) on a white background, with one gain so that nuclei are equally dark everywhere.

    One gain for the three channels: nuclei hardly absorb blue, and a gain of that channel's own would amplify noise.
    """
    density = optical_density(image)
    gain = REFERENCE_NUCLEUS / max(float(nuclear_density(density)[:2].mean()), 1e-3)
    return np.round(255 * np.exp(-density * np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN))).astype(np.uint8)
