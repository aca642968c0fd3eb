"""Stain normalisation of Romanowsky smears: two-point (what the field bundle uses), Reinhard and Macenko by name.

Two-point: background to white, nuclei to one depth of colour. Beer–Lambert: optical density OD = −ln(I/background) is
linear in the amount of dye, so both anchors are set there (Ruifrok & Johnston 2001). Statistics of the whole image, as
in Reinhard 2001, follow the number of cells in the field; the two anchors do not.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from skimage.color import lab2rgb, rgb2lab

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

REFERENCE_NUCLEUS = 1.0  # mean optical density of a nucleus in red and green
NUCLEAR_SHARE = 2.0  # per cent of the pixels, those that absorb red light most, taken as nuclei
LARGEST_GAIN = 3.0
LEAST_DENSITY, LEAST_PIXELS = 0.15, 200  # what counts as stained, and how much of it is needed
ONE_COLOUR = 0.9999  # cosine between two dyes that are one
ONE_SHADE = 1.0  # spread in CIELAB of an image that shows nothing


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


def normalise(image: Rgb, nucleus: float = REFERENCE_NUCLEUS) -> Rgb:
    """The same image (h, w, 3, uint8) on a white background, with one gain so that nuclei are equally dark everywhere.

    One gain for the three channels: nuclei hardly absorb blue, and a gain of that channel's own would amplify noise.
    """
    density = optical_density(image)
    gain = nucleus / max(float(nuclear_density(density)[:2].mean()), 1e-3)
    return np.round(255 * np.exp(-density * np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN))).astype(np.uint8)


def foreground(density: Floats) -> npt.NDArray[np.bool_]:
    """Pixels (h, w) that absorb at all; the empty slide has no stain to speak of."""
    return np.asarray(density.mean(axis=2) > LEAST_DENSITY)


@dataclass(frozen=True)
class Reinhard:
    """Mean and spread of the stained pixels in CIELAB brought to a reference's (Reinhard et al. 2001,
    doi:10.1109/38.946629, with the empty slide left out). ``mean``, ``spread``: three numbers each.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def fit(cls, images: Sequence[Rgb]) -> Reinhard:
        """The reference: all stained pixels of ``images`` together. ValueError where there are too few."""
        densities = [optical_density(image) for image in images]
        lab = np.concatenate([rgb2lab(np.exp(-density))[foreground(density)] for density in densities])
        if len(lab) < LEAST_PIXELS:
            raise ValueError("the reference images hold hardly any stain")
        return cls(tuple(lab.mean(axis=0).tolist()), tuple(lab.std(axis=0).tolist()))

    def __call__(self, image: Rgb) -> Rgb:
        """(h, w, 3) → the same shape on white; an image without stain, or of one shade, comes back as it is."""
        density = optical_density(image)
        stained = foreground(density)
        lab = rgb2lab(np.exp(-density))
        own = lab[stained]
        if len(own) < LEAST_PIXELS or own.std(axis=0).max() < ONE_SHADE:
            return image.copy()
        gain = np.clip(np.array(self.spread) / np.maximum(own.std(axis=0), 1e-3), 1 / LARGEST_GAIN, LARGEST_GAIN)
        lab[stained] = (own - own.mean(axis=0)) * gain + self.mean
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # colours outside sRGB are clipped
            return np.round(np.clip(lab2rgb(lab), 0, 1) * 255).astype(np.uint8)


@dataclass(frozen=True)
class Macenko:
    """Two dyes' colours found in the image itself and replaced by a reference's (Macenko et al. 2009,
    doi:10.1109/ISBI.2009.5193250); the dyes are azure B and eosin Y here, not haematoxylin and eosin.

    ``dyes``: (2, 3) unit vectors of optical density, azure first; ``most``: 99th percentile of each one's amount.
    """

    dyes: tuple[tuple[float, ...], ...]
    most: tuple[float, ...]

    @classmethod
    def fit(cls, images: Sequence[Rgb]) -> Macenko:
        """The reference: medians over ``images``. ValueError where none shows two dyes."""
        found = [said for image in images if (said := dyes_of(optical_density(image))) is not None]
        if not found:
            raise ValueError("no reference image shows two dyes")
        dyes = np.median([dyes for dyes, _ in found], axis=0)
        dyes /= np.linalg.norm(dyes, axis=1, keepdims=True)
        most = np.median([most for _, most in found], axis=0)
        return cls(tuple(tuple(row) for row in dyes.tolist()), tuple(most.tolist()))

    def __call__(self, image: Rgb) -> Rgb:
        """(h, w, 3) → the same shape on white; an image in which no two dyes are seen comes back as it is."""
        density = optical_density(image)
        said = dyes_of(density)
        if said is None:
            return image.copy()
        own, most = said
        gain = np.clip(np.array(self.most) / np.maximum(most, 1e-3), 1 / LARGEST_GAIN, LARGEST_GAIN)
        mixed = (_amounts(density.reshape(-1, 3), own) * gain) @ np.array(self.dyes)
        return np.round(255 * np.exp(-mixed.reshape(image.shape))).astype(np.uint8)


def dyes_of(density: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """The two extreme colours (2, 3) in the plane of most stain, azure first, and 99th percentiles of their amounts;
    None where there is too little stain or one colour alone.
    """
    stained = density[foreground(density)].astype(np.float64)
    if len(stained) < LEAST_PIXELS:
        return None
    plane = np.linalg.eigh(stained.T @ stained)[1][:, :0:-1].T
    plane *= np.where(plane.sum(axis=1, keepdims=True) < 0, -1, 1)
    along, across = plane @ stained.T
    ends = np.percentile(np.arctan2(across, along), [1, 99])
    dyes = np.abs(np.column_stack([np.cos(ends), np.sin(ends)]) @ plane)
    dyes = dyes[np.argsort(-dyes[:, 0])]  # azure absorbs red, eosin does not
    if float(dyes[0] @ dyes[1]) > ONE_COLOUR:
        return None
    return dyes, np.percentile(_amounts(stained, dyes), 99, axis=0)


def _amounts(density: npt.NDArray[Any], dyes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.maximum(np.linalg.lstsq(dyes.T, density.T, rcond=None)[0].T, 0))


@dataclass(frozen=True)
class TwoPoint:
    """``normalise`` with a reference's ``density`` of nuclei."""

    density: float = REFERENCE_NUCLEUS

    @classmethod
    def fit(cls, images: Sequence[Rgb]) -> TwoPoint:
        """The reference: the median over ``images``. ValueError where none is stained."""
        density = float(np.median([nuclear_density(optical_density(image))[:2].mean() for image in images]))
        if density < LEAST_DENSITY:
            raise ValueError("the reference images hold hardly any stain")
        return cls(density)

    def __call__(self, image: Rgb) -> Rgb:
        return normalise(image, self.density)


METHODS: dict[str, type[Reinhard | Macenko | TwoPoint]] = {
    "two-point": TwoPoint,
    "reinhard": Reinhard,
    "macenko": Macenko,
}


def normaliser(said: Mapping[str, Any] | None) -> Callable[[Rgb], Rgb]:
    """What a bundle's ``stain_reference`` stands for: {"method": one of METHODS, …its numbers}; None is two-point."""
    said = said or {"method": "two-point"}
    return METHODS[said["method"]](**{name: _tuples(value) for name, value in said.items() if name != "method"})


def reference(method: str, images: Sequence[Rgb]) -> dict[str, Any]:
    """A fitted reference as JSON for a bundle."""
    return {"method": method} | asdict(METHODS[method].fit(images))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
