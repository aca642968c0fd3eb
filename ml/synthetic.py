"""Synthetic blood smears for demonstration and tests: drawn from parameters, never from the pixels of a patient.

Romanowsky-stained cells are drawn as optical density on a bright field (Beer–Lambert: what overlaps adds up), as whole
smear fields in the manner of an oil-immersion camera and as single cells in the manner of a digital cell analyser. They
are realistic enough to pass the quality gate; they are no evidence of anything. Every image carries a printed mark, and
its PNG says SYNTHETIC in the metadata. The same kind and seed give the same pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Density = tuple[float, float, float]
CLUMPS = ((0.8, 0.3), (0.8, 1.0), (0.5, 2.5))  # (share, scale) of the textures that chromatin is made of
MARK = "SYNTHETIC"
NOTE = "SYNTHETIC image drawn by Marrow for demonstration; not of a patient"


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


def _ring(
    n: int, distance: float, size: float, sweep: float = 2 * math.pi
) -> tuple[tuple[float, float, float, float], ...]:
    angles = [sweep * i / n for i in range(n)]
    return tuple((distance * math.cos(a), distance * math.sin(a), size, size) for a in angles)


VIOLET, DARK, BLUE, PALE, PINK = (
    (0.92, 1.36, 0.60),
    (1.28, 1.58, 0.84),
    (0.52, 0.42, 0.12),
    (0.24, 0.20, 0.05),
    (0.22, 0.30, 0.12),
)
CELLS: dict[str, CellStyle] = {
    "Blast": CellStyle(
        2.05, VIOLET, BLUE, ((0.06, 0.04, 0.83, 0.80),), chromatin=0.1, clump=0.03, nucleoli=2, rough=0.08
    ),
    "Promyelocyte": CellStyle(
        2.15, (0.78, 1.25, 0.55), (0.42, 0.55, 0.16), ((0.22, 0.1, 0.68, 0.62),), nucleoli=1, granules=150
    ),
    "APL promyelocyte": CellStyle(
        2.2,
        (0.76, 1.28, 0.55),
        (0.4, 0.62, 0.2),
        ((-0.22, 0.12, 0.48, 0.56), (0.3, -0.08, 0.46, 0.54)),
        granules=260,
        granule=(0.32, 0.72, 0.25),
        auer_rods=3,
        rough=0.09,
    ),
    "Lymphocyte": CellStyle(1.5, DARK, (0.36, 0.28, 0.04), ((0.04, 0, 0.8, 0.78),), chromatin=0.22, clump=0.13),
    "Segmented neutrophil": CellStyle(
        1.75, DARK, PINK, _ring(4, 0.42, 0.25, 4.9), chromatin=0.2, clump=0.1, granules=220, granule=(0.06, 0.14, 0.07)
    ),
    "Band neutrophil": CellStyle(
        1.75, DARK, PINK, _ring(7, 0.42, 0.22, 4.2), chromatin=0.2, clump=0.1, granules=200, granule=(0.06, 0.14, 0.07)
    ),
    "Monocyte": CellStyle(
        2.15,
        (0.82, 1.15, 0.55),
        (0.4, 0.36, 0.14),
        ((0, 0, 0.68, 0.6),),
        notch=(0.05, -0.62, 0.36),
        vacuoles=5,
        rough=0.1,
    ),
    "Eosinophil": CellStyle(
        1.8, DARK, PINK, ((-0.3, 0.1, 0.36, 0.42), (0.32, 0.1, 0.36, 0.42)), granules=420, granule=(0.06, 0.5, 0.55)
    ),
    "Erythroblast": CellStyle(
        1.3, (1.5, 1.7, 0.8), (0.46, 0.5, 0.24), ((0, 0, 0.56, 0.54),), chromatin=0.25, clump=0.14
    ),
    "Haematogone": CellStyle(1.08, DARK, BLUE, ((0, 0, 0.9, 0.88),), chromatin=0.1, clump=0.1, rough=0.04),
    "Lymphoblast": CellStyle(
        1.55, VIOLET, BLUE, ((0.02, 0.02, 0.9, 0.88),), chromatin=0.1, clump=0.05, nucleoli=1, rough=0.06
    ),
}


@dataclass(frozen=True)
class FieldStyle:
    """One kind of smear field: light, red cells, and which white cells in which numbers."""

    light: tuple[float, float, float]
    red: Density
    n_red: tuple[int, int]
    white: tuple[tuple[str, int, int], ...]  # (kind, fewest, most)
    stain: Density = (1.0, 1.0, 1.0)  # the stain's strength by channel, on white cells
    pallor: float = 0.55


FIELDS: dict[str, FieldStyle] = {
    "haematogones": FieldStyle(
        (252, 254, 246),
        (0.42, 0.33, 0.21),
        (95, 130),
        (("Haematogone", 4, 7), ("Lymphocyte", 1, 2), ("Segmented neutrophil", 1, 2), ("Monocyte", 0, 1)),
        stain=(0.85, 0.93, 0.38),
    ),
    "Early Pre-B": FieldStyle(
        (250, 254, 251), (0.3, 0.27, 0.14), (75, 105), (("Lymphoblast", 4, 7),), stain=(0.73, 0.75, 0.34)
    ),
    "Pre-B": FieldStyle(
        (248, 255, 253), (0.52, 0.35, 0.09), (35, 55), (("Lymphoblast", 10, 15),), stain=(0.63, 0.68, 0.27), pallor=0.65
    ),
    "Pro-B": FieldStyle(
        (255, 255, 252), (0.36, 0.3, 0.2), (55, 85), (("Lymphoblast", 3, 6),), stain=(0.2, 0.36, 0.14), pallor=0.7
    ),
}
ANALYSER = FieldStyle((255, 230, 203), (0.36, 0.55, 0.4), (10, 17), (), pallor=0.4)
CASES: dict[str, dict[str, float]] = {
    "AML": {"Blast": 0.62, "Monocyte": 0.1, "Lymphocyte": 0.12, "Segmented neutrophil": 0.1, "Erythroblast": 0.06},
    "APL": {
        "APL promyelocyte": 0.62,
        "Promyelocyte": 0.16,
        "Blast": 0.06,
        "Lymphocyte": 0.1,
        "Segmented neutrophil": 0.06,
    },
}


def draw_field(kind: str, seed: int, size: int = 224) -> Pixels:
    """A smear field (size, size, 3) of a kind in FIELDS, about ten red cells across at any size."""
    style, rng = FIELDS[kind], _rng("field", kind, seed)
    red_radius = 0.041 * size * rng.uniform(0.95, 1.08)
    density = np.zeros((size, size, 3), np.float32)
    whites = [name for name, low, high in style.white for _ in range(rng.integers(low, high + 1))]
    places = _places(rng, size, [CELLS[name].radius * red_radius for name in whites])
    for at in _spread(rng, int(rng.integers(*style.n_red, endpoint=True)), (size, size), red_radius):
        _add_red(density, rng, at, red_radius, style, places)
    for name, (x, y, radius) in zip(whites, places, strict=True):
        _add_white(density, rng, (x, y), radius, CELLS[name], style.stain)
    for _ in range(rng.integers(2, 9)):
        _add_platelet(density, rng, rng.uniform(0, size, 2), red_radius)
    return _develop(density, style.light, rng, blur=rng.uniform(0.45, 0.7))


def draw_cell(kind: str, seed: int, size: tuple[int, int] = (363, 360)) -> Pixels:
    """A single cell of a kind in CELLS, centred in a crop (height, width, 3) with red cells around it."""
    height, width = size
    rng = _rng("cell", kind, seed)
    red_radius = 0.1 * width * rng.uniform(0.95, 1.08)
    style = replace(ANALYSER, light=_light(rng))
    radius = CELLS[kind].radius * red_radius * rng.uniform(0.92, 1.08)
    centre = (width / 2 + rng.normal(0, 4), height / 2 + rng.normal(0, 4))
    density = np.zeros((height, width, 3), np.float32)
    for at in _spread(rng, int(rng.integers(*style.n_red, endpoint=True)), size, red_radius):
        _add_red(density, rng, at, red_radius, style, [(*centre, radius)])
    _add_white(density, rng, centre, radius, CELLS[kind], style.stain)
    return _develop(density, style.light, rng, blur=rng.uniform(0.7, 1.0))


def _light(rng: np.random.Generator) -> tuple[float, float, float]:
    """The analyser's warm light, a little brighter or cooler from slide to slide."""
    red, green, blue = ANALYSER.light
    cooler, brighter = rng.uniform(0, 18), rng.normal(0, 1.5)
    return red - 0.2 * cooler, green + brighter, blue + cooler + brighter


def case_cells(diagnosis: str, n: int, seed: int) -> list[str]:
    """The kinds of n cells of a synthetic patient with a diagnosis in CASES."""
    kinds = CASES[diagnosis]
    return [str(kind) for kind in _rng("case", diagnosis, seed).choice(list(kinds), n, p=list(kinds.values()))]


def write_field(path: Path, kind: str, seed: int, size: int = 224) -> Path:
    return _write(path, draw_field(kind, seed, size), f"smear field, {kind}, seed {seed}")


def write_cell(path: Path, kind: str, seed: int) -> Path:
    return _write(path, draw_cell(kind, seed), f"single cell, {kind}, seed {seed}")


def write_case(folder: Path, diagnosis: str, n: int, seed: int) -> list[Path]:
    """The n images of one synthetic patient: fields for a kind in FIELDS, single cells for one in CASES."""
    folder.mkdir(parents=True, exist_ok=True)
    write: Callable[[Path, str, int], Path] = write_field if diagnosis in FIELDS else write_cell
    kinds = [diagnosis] * n if diagnosis in FIELDS else case_cells(diagnosis, n, seed)
    return [write(folder / f"SYNTHETIC-{seed}-{i:02d}.png", kind, seed * 1000 + i) for i, kind in enumerate(kinds)]


def _write(path: Path, pixels: Pixels, what: str) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("Description", f"{NOTE} ({what})")
    info.add_text("Source", MARK)
    Image.fromarray(pixels).save(path, format="PNG", pnginfo=info)
    return path


def _rng(*said: object) -> np.random.Generator:
    return np.random.default_rng(list(" ".join(map(str, said)).encode()))


def _places(rng: np.random.Generator, size: int, radii: list[float]) -> list[tuple[float, float, float]]:
    """Centres at which white cells touch, but hardly overlap; after 40 tries a cell goes where it falls."""
    places: list[tuple[float, float, float]] = []
    for radius in (radius * rng.uniform(0.88, 1.12) for radius in radii):
        for _ in range(40):
            x, y = rng.uniform(0.06 * size, 0.9 * size, 2)
            if all(math.hypot(x - a, y - b) > 0.95 * (radius + r) for a, b, r in places):
                break
        places.append((x, y, radius))
    return places


def _spread(rng: np.random.Generator, n: int, size: tuple[int, int], radius: float) -> list[npt.NDArray[np.float64]]:
    """The places of n red cells. They mostly lie apart: each is the loneliest of five random ones."""
    places: list[npt.NDArray[np.float64]] = []
    for _ in range(n):
        tries = rng.uniform(-radius, np.array(size)[::-1] + radius, (5, 2))
        room = [min((np.hypot(*(at - other)) for other in places), default=0.0) for at in tries]
        places.append(tries[int(np.argmax(np.minimum(room, 1.9 * radius)))])
    return places


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


def _add_red(
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


def _add_platelet(density: Plane, rng: np.random.Generator, at: npt.NDArray[np.float64], red_radius: float) -> None:
    radius = red_radius * rng.uniform(0.18, 0.36)
    patch = _patch(density, at[0], at[1], 1.8 * radius + 2)
    if patch is None:
        return
    target, dx, dy = patch
    u, v = _shape(rng, dx, dy, radius, 0.2)
    grain = 1 + 0.3 * _noise(rng, u.shape, 0.2 * radius)
    target += (_inside(np.hypot(u, v), radius, 1.5) * grain)[..., None] * np.array((0.4, 0.5, 0.12), np.float32)


def _add_white(
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


def _develop(density: Plane, light: tuple[float, float, float], rng: np.random.Generator, blur: float) -> Pixels:
    """From density to the picture: uneven light, the lens, the sensor's noise, and the printed mark."""
    height, width = density.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    away = np.hypot(x / width - rng.uniform(0.35, 0.65), y / height - rng.uniform(0.35, 0.65))
    glow = (1 - rng.uniform(0.03, 0.1) * away**2)[..., None]
    picture = np.array(light, np.float32) * glow * np.exp(-density)
    picture = (
        gaussian_filter(picture, (blur, blur, 0))
        + rng.normal(0, 1.6, (height, width, 1))
        + rng.normal(0, 0.8, picture.shape)
    )
    return _marked(np.clip(picture, 0, 255).astype(np.uint8))


def _marked(pixels: Pixels) -> Pixels:
    """The mark stands where a microscope prints its scale bar: bottom right, small."""
    image = Image.fromarray(pixels)
    font = ImageFont.load_default(size=max(7, pixels.shape[1] // 32))
    ImageDraw.Draw(image).text((image.width - 3, image.height - 2), MARK, fill=(90, 90, 105), font=font, anchor="rs")
    return np.asarray(image)
