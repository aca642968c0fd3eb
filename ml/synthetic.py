"""Synthetic blood smears for demonstration and tests: drawn from parameters, never from the pixels of a patient.

Romanowsky-stained cells are drawn as optical density on a bright field (Beer–Lambert: what overlaps adds up), as whole
smear fields in the manner of an oil-immersion camera and as single cells in the manner of a digital cell analyser. They
are realistic enough to pass the quality gate; they are no evidence of anything. Every image carries a printed mark, and
its PNG says SYNTHETIC in the metadata. The same kind and seed give the same pixels.

``style`` says where the white cells come from: "drawn" like all else, or "gan", those of the generator in ``ml/demo``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, PngImagePlugin

from ml.stained_cells import MARK, CellStyle, FieldStyle, add_platelet, add_red, add_white, develop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from ml.stained_cells import Pixels, Plane

Style = Literal["drawn", "gan"]
NOTE = "SYNTHETIC image drawn by Marrow for demonstration; not of a patient"


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
        2.96,
        (0.7, 1.04, 0.35),
        (0.45, 0.37, 0.08),
        ((0.06, 0.04, 0.73, 0.71),),
        chromatin=0.09,
        clump=0.035,
        nucleoli=2,
        granules=0,
        granule=(0.33, 0.55, 0.27),
        auer_rods=0,
        rough=0.1,
    ),
    "Promyelocyte": CellStyle(
        2.15, (0.78, 1.25, 0.55), (0.42, 0.55, 0.16), ((0.22, 0.1, 0.68, 0.62),), nucleoli=1, granules=150
    ),
    "APL promyelocyte": CellStyle(
        1.81,
        (0.88, 1.22, 0.73),
        (0.33, 0.41, 0.19),
        ((-0.37, 0.2, 0.44, 0.51), (0.5, -0.13, 0.42, 0.49)),
        chromatin=0.17,
        clump=0.049,
        nucleoli=0,
        granules=323,
        granule=(0.4, 0.89, 0.31),
        auer_rods=3,
        rough=0.096,
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
    "Haematogone": CellStyle(
        1.35,
        (1.197, 1.392, 0.788),
        (0.704, 0.325, 0.189),
        ((0, 0, 0.9, 0.88),),
        chromatin=0.128,
        clump=0.053,
        nucleoli=0,
        rough=0.022,
    ),
    "Lymphoblast, Early Pre-B": CellStyle(
        1.48,
        (0.908, 1.101, 0.527),
        (0.537, 0.22, 0.072),
        ((0.02, 0.02, 0.9, 0.88),),
        chromatin=0.086,
        clump=0.059,
        nucleoli=1,
        rough=0.069,
    ),
    "Lymphoblast, Pre-B": CellStyle(
        1.8,
        (0.871, 1.31, 0.632),
        (0.265, 0.213, 0.09),
        ((0.02, 0.02, 0.9, 0.88),),
        chromatin=0.104,
        clump=0.027,
        nucleoli=1,
        rough=0.068,
    ),
    "Lymphoblast, Pro-B": CellStyle(
        1.38,
        (0.869, 1.194, 0.704),
        (0.577, 0.224, 0.14),
        ((0.02, 0.02, 0.9, 0.88),),
        chromatin=0.115,
        clump=0.019,
        nucleoli=1,
        rough=0.039,
    ),
}


FIELDS: dict[str, FieldStyle] = {  # fitted to what the training images look like to the trunk, colours held
    "haematogones": FieldStyle(
        (253, 251, 246),
        (0.355, 0.284, 0.119),
        (101, 125),
        (
            ("Haematogone", 2, 7),
            ("Lymphocyte", 1, 1),
            ("Segmented neutrophil", 1, 1),
            ("Monocyte", 0, 1),
        ),
        stain=(1.566, 1.887, 0.496),
        pallor=0.95,
        red_radius=0.0363,
        blur=(0.75, 1.47),
        grain=4.1,
    ),
    "Early Pre-B": FieldStyle(
        (248, 254, 253),
        (0.361, 0.267, 0.124),
        (117, 153),
        (("Lymphoblast, Early Pre-B", 4, 10),),
        stain=(0.849, 0.982, 0.341),
        pallor=0.95,
        red_radius=0.0367,
        blur=(0.62, 1.13),
        grain=3.5,
    ),
    "Pre-B": FieldStyle(
        (251, 254, 255),
        (0.547, 0.464, 0.09),
        (104, 185),
        (("Lymphoblast, Pre-B", 8, 19),),
        stain=(1.009, 0.973, 0.311),
        pallor=0.79,
        red_radius=0.0388,
        blur=(0.67, 1.36),
        grain=3.0,
    ),
    "Pro-B": FieldStyle(
        (255, 252, 254),
        (0.465, 0.369, 0.229),
        (127, 189),
        (("Lymphoblast, Pro-B", 4, 9),),
        stain=(0.27, 0.452, 0.116),
        pallor=0.95,
        red_radius=0.0312,
        blur=(0.96, 1.36),
        grain=1.9,
    ),
}
ANALYSER = FieldStyle(
    (255, 230, 203),
    (0.36, 0.55, 0.4),
    (10, 17),
    (),
    stain=(1.17, 1.45, 0.85),
    pallor=0.61,
    red_radius=0.08,
    blur=(1.2, 1.9),
    grain=0.9,
)
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


def draw_field(kind: str, seed: int, size: int = 224, *, style: Style = "drawn") -> Pixels:
    """A smear field (size, size, 3) of a kind in FIELDS, about ten red cells across at any size."""
    look, rng = FIELDS[kind], _rng("field", kind, seed)
    red_radius = look.red_radius * size * rng.uniform(0.95, 1.08)
    density = np.zeros((size, size, 3), np.float32)
    whites = [name for name, low, high in look.white for _ in range(rng.integers(low, high + 1))]
    places = _places(rng, size, [CELLS[name].radius * red_radius for name in whites])
    for at in _spread(rng, int(rng.integers(*look.n_red, endpoint=True)), (size, size), red_radius):
        add_red(density, rng, at, red_radius, look, places)
    for name, (x, y, radius) in zip(whites, places, strict=True):
        WHITE[style](density, rng, (x, y), radius, name, look)
    for _ in range(rng.integers(2, 9)):
        add_platelet(density, rng, rng.uniform(0, size, 2), red_radius)
    return develop(density, look, rng, blur=rng.uniform(*look.blur) * size / 224)


def draw_cell(kind: str, seed: int, size: tuple[int, int] = (363, 360), *, style: Style = "drawn") -> Pixels:
    """A single cell of a kind in CELLS, centred in a crop (height, width, 3) with red cells around it."""
    height, width = size
    rng = _rng("cell", kind, seed)
    red_radius = ANALYSER.red_radius * width * rng.uniform(0.95, 1.08)
    look = replace(ANALYSER, light=_light(rng))
    radius = CELLS[kind].radius * red_radius * rng.uniform(0.92, 1.08)
    centre = (width / 2 + rng.normal(0, 4), height / 2 + rng.normal(0, 4))
    density = np.zeros((height, width, 3), np.float32)
    for at in _spread(rng, int(rng.integers(*look.n_red, endpoint=True)), size, red_radius):
        add_red(density, rng, at, red_radius, look, [(*centre, radius)])
    WHITE[style](density, rng, centre, radius, kind, look)
    return develop(density, look, rng, blur=rng.uniform(*look.blur))


def _drawn(
    density: Plane, rng: np.random.Generator, at: tuple[float, float], radius: float, kind: str, look: FieldStyle
) -> None:
    add_white(density, rng, at, radius, CELLS[kind], look.stain)


def _gan(
    density: Plane, rng: np.random.Generator, at: tuple[float, float], radius: float, kind: str, look: FieldStyle
) -> None:
    """The GAN's cell: alone, as large and as coloured as its analyser saw it; in fields, as the drawn one would be."""
    from ml import gan_cells  # noqa: PLC0415 (torch, which drawing does without)

    patch, strength = gan_cells.gan_cell(kind, rng), np.float32(rng.uniform(0.9, 1.1))
    if not look.white:
        patch = patch.scaled(gan_cells.SEEN * density.shape[1] / len(patch.cell))
        gan_cells.lay(density, at, patch, strength * np.float32(np.mean(look.stain[:2])))
        return
    patch = patch.scaled(radius / patch.radius)
    nucleus = strength * np.array(CELLS[kind].nucleus, np.float32) * np.array(look.stain, np.float32)
    gan_cells.lay(density, at, patch, gan_cells.to_colour(patch, nucleus))


WHITE: dict[Style, Callable[..., None]] = {"drawn": _drawn, "gan": _gan}


def _light(rng: np.random.Generator) -> tuple[float, float, float]:
    """The analyser's warm light, a little brighter or cooler from slide to slide."""
    red, green, blue = ANALYSER.light
    cooler, brighter = rng.uniform(0, 18), rng.normal(0, 1.5)
    return red - 0.2 * cooler, green + brighter, blue + cooler + brighter


def case_cells(diagnosis: str, n: int, seed: int) -> list[str]:
    """The kinds of n cells of a synthetic patient with a diagnosis in CASES."""
    kinds = CASES[diagnosis]
    return [str(kind) for kind in _rng("case", diagnosis, seed).choice(list(kinds), n, p=list(kinds.values()))]


def write_field(path: Path, kind: str, seed: int, size: int = 224, *, style: Style = "drawn") -> Path:
    return _write(path, draw_field(kind, seed, size, style=style), f"smear field, {kind}, seed {seed}, {style}")


def write_cell(path: Path, kind: str, seed: int, *, style: Style = "drawn") -> Path:
    return _write(path, draw_cell(kind, seed, style=style), f"single cell, {kind}, seed {seed}, {style}")


def write_case(folder: Path, diagnosis: str, n: int, seed: int, *, style: Style = "drawn") -> list[Path]:
    """The n images of one synthetic patient: fields for a kind in FIELDS, single cells for one in CASES."""
    folder.mkdir(parents=True, exist_ok=True)
    write: Callable[..., Path] = write_field if diagnosis in FIELDS else write_cell
    kinds = [diagnosis] * n if diagnosis in FIELDS else case_cells(diagnosis, n, seed)
    names = [folder / f"SYNTHETIC-{seed}-{i:02d}.png" for i in range(n)]
    return [
        write(name, kind, seed * 1000 + i, style=style) for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]


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
