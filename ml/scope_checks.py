"""What the in-scope score makes of images that are none of the bundle's business."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import skimage.data
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from ml.findings import InputRejected
from ml.networks import Trunk, embed
from ml.smear import prepare
from ml.smear_data import first_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.heads import Floats, Projection, Scope

Rgb = npt.NDArray[np.uint8]


def photographs() -> list[Rgb]:
    """Quarters of the photographs, textures and other medical images that scikit-image ships; none is a smear."""
    folder = Path(skimage.data.__file__).parent
    whole = [image for path in sorted(folder.iterdir()) if path.is_file() and (image := large_image(path)) is not None]
    return [part for image in whole for part in quarters(image)]


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
        "smears, blurred (σ 8 px)": [gaussian_filter(image, (8, 8, 0)) for image in images],
        "smears, noise (σ 90)": [noisy(image) for image in images],
        "smears, pixels shuffled": [shuffled(image) for image in images],
        "smears, colours inverted": [255 - image for image in images],
    }


def check(
    kinds: dict[str, list[Rgb]],
    held_out: Floats,
    trunk: Trunk,
    projection: Projection,
    scope: Scope,
    preprocessing: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    """For each kind of image: n, median score, share below one half, AUROC against the ``held_out`` scores."""
    said: dict[str, dict[str, Any]] = {"held-out training images": summary(held_out)}
    for name, images in kinds.items():
        prepared = [prepare(image, preprocessing) for image in images]
        features = embed(trunk, np.stack([picture for picture, _ in prepared]), turns=preprocessing["turns"])
        scores = scope.score(projection.distance(features)) * [shows for _, shows in prepared]
        truth = np.repeat([1, 0], [len(held_out), len(scores)])
        auroc = float(roc_auc_score(truth, np.concatenate([held_out, scores])))
        said[name] = summary(scores) | {"auroc": auroc}
    return said


def summary(scores: Floats) -> dict[str, Any]:
    return {"n": len(scores), "median": float(np.median(scores)), "below_half": float((scores < 0.5).mean())}
