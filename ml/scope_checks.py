"""What the in-scope score makes of images that are none of the bundle's business."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import skimage.data
from pydicom.pixels.utils import pixel_array
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from ml.findings import InputRejected
from ml.images import read_image
from ml.smear_data import SUFFIXES, first_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ml.heads import Floats

Rgb = npt.NDArray[np.uint8]


OTHER_ORGANS = ("ihc.png",)  # colon, immunohistochemistry


def photographs() -> list[Rgb]:
    """Quarters of the photographs, textures and other medical images that scikit-image ships; none is a smear."""
    return [part for path in _shipped() if path.name not in OTHER_ORGANS for part in quarters_of(path)]


def other_organs(slides: Path | None) -> list[Rgb]:
    """Slides of other organs: what scikit-image ships, and every frame of the images in the folder ``slides``."""
    shipped = [part for path in _shipped() if path.name in OTHER_ORGANS for part in quarters_of(path)]
    paths = sorted(p for p in slides.iterdir() if p.suffix.lower() in SUFFIXES) if slides else []
    return shipped + [frame for path in paths for frame in frames_of(path)]


def frames_of(path: Path) -> list[Rgb]:
    """Every frame of an image, also of a slide's coarse level, which the reader refuses (another check than this)."""
    if path.suffix.lower() != ".dcm":
        return list(read_image(path)[0])
    pixels = np.asarray(pixel_array(path), dtype=np.uint8)
    return list(pixels.reshape(-1, *pixels.shape[-3:]))


def _shipped() -> list[Path]:
    return [path for path in sorted(Path(skimage.data.__file__).parent.iterdir()) if path.is_file()]


def quarters_of(path: Path) -> list[Rgb]:
    image = large_image(path)
    return [] if image is None else quarters(image)


def large_image(path: Path) -> Rgb | None:
    """None where the file is no image, or smaller than 200 pixels."""
    try:
        image = first_frame(path)
    except InputRejected:
        return None
    return image if min(image.shape[:2]) >= 200 else None


def quarters(image: Rgb) -> list[Rgb]:
    h, w = image.shape[0] // 2, image.shape[1] // 2
    return [image[y : y + h, x : x + w] for y in (0, h) for x in (0, w)]


def spoiled(images: Sequence[Rgb], seed: int) -> dict[str, list[Rgb]]:
    """What can go wrong with a smear: heavy blur, sensor noise, pixels in disorder, colours inverted."""
    rng = np.random.default_rng(seed)

    def noisy(image: Rgb) -> Rgb:
        return np.clip(image + rng.normal(0, 90, image.shape), 0, 255).astype(np.uint8)

    def shuffled(image: Rgb) -> Rgb:
        return rng.permutation(image.reshape(-1, 3)).reshape(image.shape)

    return {
        "smears, out of focus (σ 8 px)": [gaussian_filter(image, (8, 8, 0)) for image in images],
        "smears, noise (σ 90)": [noisy(image) for image in images],
        "smears, pixels shuffled": [shuffled(image) for image in images],
        "smears, colours inverted": [255 - image for image in images],
        "smears, haematoxylin and eosin instead": [recoloured(image) for image in images],
        "empty slides": [empty(image.shape, rng) for image in images],
    }


def recoloured(image: Rgb) -> Rgb:
    """The two dyes that a smear's colours are made of replaced by haematoxylin and eosin (Ruifrok & Johnston 2001)."""
    density = -np.log(np.maximum(image, 4) / 255.0)
    nuclear = np.minimum(density[..., 1], 1.5 * np.maximum(density[..., 1] - density[..., 2], 0))
    rest = np.maximum(density.mean(axis=2) - nuclear, 0)
    dyed = nuclear[..., None] * np.array([0.65, 0.70, 0.29]) + rest[..., None] * np.array([0.07, 0.99, 0.11])
    return np.asarray(np.round(255 * np.exp(-dyed)), dtype=np.uint8)


def empty(shape: tuple[int, ...], rng: np.random.Generator) -> Rgb:
    """A slide without a cell: one bright colour, shaded towards one side, with a camera's noise."""
    h, w, _ = shape
    colour, slope = rng.uniform(190, 250, 3), rng.uniform(-30, 30, 2)
    shade = slope[0] * np.linspace(-0.5, 0.5, h)[:, None] + slope[1] * np.linspace(-0.5, 0.5, w)
    return np.clip(colour + shade[..., None] + rng.normal(0, 3, shape), 0, 255).astype(np.uint8)


def check(
    kinds: dict[str, list[Rgb]], held_out: Floats, judge: Callable[[list[Rgb]], Floats]
) -> dict[str, dict[str, Any]]:
    """For each kind of image: n, median score, share below one half, AUROC against the ``held_out`` scores.

    ``judge``: images → in-scope scores (n,), as the product gives them.
    """
    said: dict[str, dict[str, Any]] = {"held-out training images": summary(held_out)}
    for name, images in kinds.items():
        scores = judge(images)
        truth = np.repeat([1, 0], [len(held_out), len(scores)])
        auroc = float(roc_auc_score(truth, np.concatenate([held_out, scores])))
        said[name] = summary(scores) | {"auroc": auroc}
    return said


def summary(scores: Floats) -> dict[str, Any]:
    return {"n": len(scores), "median": float(np.median(scores)), "below_half": float((scores < 0.5).mean())}
