"""How a stained cell looks: optical densities, drawn by shape and texture, and the camera that makes the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Density = tuple[float, float, float]
MARK = "SYNTHETIC"
CLUMPS = ((0.8, 0.3), (0.8, 1.0), (0.5, 2.5))  # (share, scale) of the textures that chromatin is made of


@dataclass(frozen=True)
class CellStyle:
    """One kind of white cell. Lengths in cell radii, ``radius`` in red-cell radii; densities per channel (R, G, B)."""

    radius: float
    nucleus: Density
    cytoplasm: Density
    lobes: tuple[tuple[float, float, float, float], ...]  # (x, y, half width, half height) of each part of the nucleus
    notch: tuple[float, float, float] | None = None  # (x, y, radius) of what is missing from the nucleus
    chromatin: float = 0.18  # strength of the clumping
    clump: float = 0.06  # its size
    nucleoli: int = 0
    granules: int = 0
    granule: Density = (0.3, 0.5, 0.25)
    vacuoles: int = 0
    auer_rods: int = 0
    rough: float = 0.05


@dataclass(frozen=True)
class FieldStyle:
    """One kind of smear field: light, red cells, and which white cells in which numbers."""

    light: tuple[float, float, float]
    red: Density
    n_red: tuple[int, int]
    white: tuple[tuple[str, int, int], ...]  # (kind, fewest, most)
    stain: Density = (1.0, 1.0, 1.0)  # the stain's strength by channel, on white cells
    pallor: float = 0.55
    red_radius: float = 0.041  # of the image's width
    blur: tuple[float, float] = (0.3, 0.55)  # pixels at 224
    grain: float = 1.6  # of the sensor, grey levels


def _patch(density: Plane, x: float, y: float, reach: float) -> tuple[Plane, Plane, Plane] | None:
    """The part of the picture around (x, y), and its pixels' distances from there; None where that is outside."""
    height, width = density.shape[:2]
    top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    left, right = max(0, int(x - reach)), min(width, int(x + reach) + 1)
    if top >= bottom or left >= right:
        return None
    dy, dx = np.mgrid[top:bottom, left:right].astype(np.float32)
    return density[top:bottom, left:right], dx - np.float32(x), dy - np.float32(y)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Plane:
    smooth = gaussian_filter(rng.standard_normal(shape).astype(np.float32), max(scale, 0.3))
    return np.asarray((smooth - smooth.mean()) / (smooth.std() + 1e-6), dtype=np.float32)


def _shape(rng: np.random.Generator, dx: Plane, dy: Plane, radius: float, rough: float) -> tuple[Plane, Plane]:
    """Coordinates in radii, turned at random and bent so that no outline is a perfect circle."""
    turn = rng.uniform(0, 2 * math.pi)
    u, v = (dx * math.cos(turn) + dy * math.sin(turn)) / radius, (dy * math.cos(turn) - dx * math.sin(turn)) / radius
    stretch = 1 + rng.normal(0, 0.6 * rough)
    bend = rough * 0.6
    u = u * stretch + bend * _noise(rng, u.shape, 0.45 * radius)
    v = v / stretch + bend * _noise(rng, v.shape, 0.45 * radius)
    return u.astype(np.float32), v.astype(np.float32)


def _inside(distance: Plane, radius: float, edge: float = 1.0) -> Plane:
    """1 inside (distance < 1), 0 outside, with an edge about ``edge`` pixels wide."""
    return np.clip((1 - distance) * radius / edge + 0.5, 0, 1)


def add_red(
    density: Plane,
    rng: np.random.Generator,
    at: npt.NDArray[np.float64],
    radius: float,
    style: FieldStyle,
    whites: list[tuple[float, float, float]],
) -> None:
    """A red cell with its central pallor, unless a white cell is in the way (the smear pushes them apart)."""
    x, y = at
    radius *= rng.uniform(0.86, 1.1)
    if any(math.hypot(x - a, y - b) < r + 0.55 * radius for a, b, r in whites):
        return
    patch = _patch(density, x, y, 1.5 * radius)
    if patch is None:
        return
    target, dx, dy = patch
    u, v = _shape(rng, dx, dy, radius, 0.09)
    d = np.hypot(u, v)
    pallor = style.pallor * rng.uniform(0.3, 1.15) * np.exp(-((d / rng.uniform(0.38, 0.52)) ** 2))
    thickness = _inside(d, radius, 1.2) * (1 - pallor) * (1 + 0.25 * np.exp(-(((d - 0.9) / 0.1) ** 2)))
    cell = thickness[..., None] * np.array(style.red, np.float32) * np.float32(rng.uniform(0.85, 1.15))
    target[...] = np.maximum(target, cell) + 0.4 * np.minimum(target, cell)  # cells on top of each other are thin there


def add_platelet(density: Plane, rng: np.random.Generator, at: npt.NDArray[np.float64], red_radius: float) -> None:
    radius = red_radius * rng.uniform(0.18, 0.36)
    patch = _patch(density, at[0], at[1], 1.8 * radius + 2)
    if patch is None:
        return
    target, dx, dy = patch
    u, v = _shape(rng, dx, dy, radius, 0.2)
    grain = 1 + 0.3 * _noise(rng, u.shape, 0.2 * radius)
    target += (_inside(np.hypot(u, v), radius, 1.5) * grain)[..., None] * np.array((0.4, 0.5, 0.12), np.float32)


def add_white(
    density: Plane,
    rng: np.random.Generator,
    at: tuple[float, float],
    radius: float,
    style: CellStyle,
    stain: Density,
) -> None:
    patch = _patch(density, *at, 1.35 * radius)
    if patch is None:
        return
    target, dx, dy = patch
    u, v = _shape(rng, dx, dy, radius, style.rough)
    body = _inside(np.hypot(u, v), radius)
    nucleus = np.minimum(_nucleus(u, v, radius, style), body)
    strength = np.float32(rng.uniform(0.9, 1.1))
    colour = np.array(stain, np.float32) * strength
    cytoplasm = _cytoplasm(rng, u, v, radius, style) * (body * (1 - nucleus))[..., None]
    chromatin = (_chromatin(rng, u, v, radius, style) * nucleus)[..., None] * np.array(style.nucleus, np.float32)
    target *= (1 - body)[..., None]
    target += (cytoplasm + chromatin) * colour


def _nucleus(u: Plane, v: Plane, radius: float, style: CellStyle) -> Plane:
    """1 inside the lobes (joined smoothly) and outside the notch."""
    lobes = np.stack([np.hypot((u - x) / a, (v - y) / b) for x, y, a, b in style.lobes])
    distance = -np.log(np.exp(-9 * lobes).sum(axis=0) + 1e-9) / 9
    if style.notch:
        x, y, size = style.notch
        distance = np.maximum(distance, 2 - np.hypot(u - x, v - y) / size)
    return _inside(distance, 0.6 * radius)


def _chromatin(rng: np.random.Generator, u: Plane, v: Plane, radius: float, style: CellStyle) -> Plane:
    """Relative density of the nucleus: clumps, and paler nucleoli with a darker rim."""
    clumps = sum(part * _noise(rng, u.shape, scale * style.clump * radius) for part, scale in CLUMPS)
    density = 1 + style.chromatin * np.asarray(clumps, dtype=np.float32)
    for _ in range(style.nucleoli):
        angle, away, size = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.45), rng.uniform(0.12, 0.19)
        d = np.hypot(u - away * math.cos(angle), v - away * math.sin(angle)) / size
        density += -0.3 * np.exp(-(d**4)) + 0.1 * np.exp(-(((d - 1.15) / 0.25) ** 2))
    return np.asarray(np.clip(density, 0.25, 1.8), dtype=np.float32)


def _cytoplasm(rng: np.random.Generator, u: Plane, v: Plane, radius: float, style: CellStyle) -> Plane:
    """Density by channel: denser to the rim, with granules, Auer rods and pale vacuoles."""
    rim = 0.8 + 0.45 * np.clip(np.hypot(u, v), 0, 1) ** 3 + 0.06 * _noise(rng, u.shape, 0.05 * radius)
    density = rim[..., None] * np.array(style.cytoplasm, np.float32)
    density += _granules(rng, u.shape, style.granules, 0.024 * radius)[..., None] * np.array(style.granule, np.float32)
    for _ in range(style.auer_rods):
        density += _rod(rng, u, v)[..., None] * np.array((0.2, 0.9, 0.35), np.float32)
    for x, y in rng.uniform(-0.85, 0.85, (style.vacuoles, 2)):
        density *= (1 - 0.75 * np.exp(-((np.hypot(u - x, v - y) / rng.uniform(0.05, 0.09)) ** 4)))[..., None]
    return density


def _granules(rng: np.random.Generator, shape: tuple[int, ...], n: int, sigma: float) -> Plane:
    """The sum of n round grains of peak density about 1, anywhere in the patch."""
    points = np.zeros(shape, np.float32)
    np.add.at(points, tuple(rng.integers(0, np.array(shape)[:, None], (2, n))), rng.uniform(0.6, 1.4, n))
    return np.asarray(
        gaussian_filter(points, sigma) * (2 * math.pi * sigma**2 if sigma > 0.4 else 1.0), dtype=np.float32
    )


def _rod(rng: np.random.Generator, u: Plane, v: Plane) -> Plane:
    angle, place = rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi)
    x, y = u - 0.75 * math.cos(place), v - 0.75 * math.sin(place)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return np.asarray(np.exp(-((along / 0.2) ** 4) - (across / 0.022) ** 2), dtype=np.float32)


def develop(density: Plane, style: FieldStyle, rng: np.random.Generator, blur: float) -> Pixels:
    """From density to the picture: uneven light, the lens, the sensor's noise, and the printed mark."""
    height, width = density.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    away = np.hypot(x / width - rng.uniform(0.35, 0.65), y / height - rng.uniform(0.35, 0.65))
    glow = (1 - rng.uniform(0.03, 0.1) * away**2)[..., None]
    picture = np.array(style.light, np.float32) * glow * np.exp(-density)
    picture = (
        gaussian_filter(picture, (blur, blur, 0))
        + rng.normal(0, style.grain, (height, width, 1))
        + rng.normal(0, 0.8, picture.shape)
    )
    return _marked(np.clip(picture, 0, 255).astype(np.uint8))


def _marked(pixels: Pixels) -> Pixels:
    """The mark stands where a microscope prints its scale bar: bottom right, small."""
    image = Image.fromarray(pixels)
    font = ImageFont.load_default(size=max(7, pixels.shape[1] // 32))
    ImageDraw.Draw(image).text((image.width - 3, image.height - 2), MARK, fill=(90, 90, 105), font=font, anchor="rs")
    return np.asarray(image)
