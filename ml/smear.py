"""One smear image → probabilities, in-scope score and quality. What the field and the cell bundles have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from skimage.transform import resize

from ml import quality
from ml.calibration import apply_temperature
from ml.heads import Head, Projection, Scope, load_arrays
from ml.networks import Trunk, embed, load_trunk
from ml.stain import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ml.bundle import Bundle
    from ml.findings import QualityFlag

    Progress = Callable[[int, int, str], object]

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

TRUNK, ARRAYS = "trunk.safetensors", "arrays.safetensors"
CHUNK = 32


@dataclass(frozen=True)
class SmearModel:
    """A bundle in memory. ``labels_of``: head → its labels in the order of its logits (a JSON object has no order)."""

    bundle: Bundle
    trunk: Trunk
    projection: Projection
    heads: dict[str, Head]
    scope: Scope
    labels_of: dict[str, tuple[str, ...]]

    @property
    def image_labels(self) -> tuple[str, ...]:
        """What one image can be called."""
        return self.labels_of["image"]

    @property
    def thresholds(self) -> dict[str, Any]:
        return dict(self.bundle.manifest["thresholds"])


@dataclass(frozen=True)
class Reading:
    """What one image says. ``z`` (components,) is its place in the bundle's feature space."""

    id: str
    label: str | None
    probabilities: dict[str, float]
    in_scope: float
    quality: tuple[QualityFlag, ...]
    reasons: tuple[str, ...]
    z: Floats

    @property
    def usable(self) -> bool:
        return self.label is not None

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "label": self.label,
            "probabilities": self.probabilities,
            "in_scope": self.in_scope,
            "quality": [vars(flag) for flag in self.quality],
            "reasons": list(self.reasons),
        }


def prepare(image: Rgb, preprocessing: dict[str, Any]) -> Rgb:
    """(h, w, 3) of any size → the square that the trunk sees: its centre, stain-normalised, scale bar painted white.

    The aspect is not kept: the training fields were themselves 4:3 photographs stored as squares.
    """
    side = int(preprocessing["side"])
    image = centre(image, float(preprocessing["centre"]))
    square = resize(image, (side, side), anti_aliasing=image.shape[0] > side, preserve_range=True)
    square = np.round(square).astype(np.uint8)
    corner = round(side * float(preprocessing["masked_corner"]))
    masked = slice(side - corner, side)
    square[masked, masked] = square[:corner, :corner]  # so that a scale bar does not count as stain either
    square = normalise(square)
    square[masked, masked] = 255
    return square


def centre(image: npt.NDArray[Any], share: float) -> npt.NDArray[Any]:
    """The middle of an image (h, w, …), as a view: ``share`` of its height and width."""
    margins = [round(side * (1 - share) / 2) for side in image.shape[:2]]
    rows, columns = (slice(m, side - m) for m, side in zip(margins, image.shape[:2], strict=True))
    return image[rows, columns]


def load_model(bundle: Bundle) -> SmearModel:
    """The bundle's networks; built once per process and bundle hash."""
    if bundle.sha256 not in _LOADED:
        projection, heads = load_arrays(bundle.file(ARRAYS))
        said = bundle.manifest
        _LOADED[bundle.sha256] = SmearModel(
            bundle=bundle,
            trunk=load_trunk(bundle.file(TRUNK)),
            projection=projection,
            heads=heads,
            scope=Scope(**said["thresholds"]["distance"]),
            labels_of={head: tuple(labels) for head, labels in said["head_labels"].items()},
        )
    return _LOADED[bundle.sha256]


_LOADED: dict[str, SmearModel] = {}


def read_images(
    images: Sequence[tuple[str, Rgb]], model: SmearModel, progress: Progress | None = None
) -> list[Reading]:
    """One Reading for each (id, image (h, w, 3) uint8). ``progress(done, total, stage)`` is called after each batch."""
    readings: list[Reading] = []
    for start in range(0, len(images), CHUNK):
        readings += _read_chunk(images[start : start + CHUNK], model)
        if progress:
            progress(len(readings), len(images), model.bundle.name)
    return readings


def _read_chunk(images: Sequence[tuple[str, Rgb]], model: SmearModel) -> list[Reading]:
    squares = np.stack([prepare(image, model.bundle.manifest["preprocessing"]) for _, image in images])
    features = embed(model.trunk, squares)
    z = model.projection.apply(features)
    temperature = float(model.bundle.manifest["calibration"]["image_temperature"])
    p = apply_temperature(model.heads["image"].logits(z), temperature)
    scores = model.scope.score(model.projection.distance(features))
    return [_reading(name, image, p[k], float(scores[k]), z[k], model) for k, (name, image) in enumerate(images)]


def _reading(name: str, image: Rgb, p: Floats, score: float, z: Floats, model: SmearModel) -> Reading:
    flags = quality.judge(quality.measure(image), model.thresholds["quality"])
    reasons = [flag.message for flag in flags if flag.blocking]
    blocked = bool(reasons)
    limits = model.thresholds["in_scope"]
    if score < limits["warn"]:
        reasons.append(f"Unlike the images of {model.bundle.reference}'s training set (in-scope score {score:.2f}).")
    label = None if blocked or score < limits["block"] else model.image_labels[int(p.argmax())]
    probabilities = dict(zip(model.image_labels, (float(v) for v in p), strict=True))
    return Reading(name, label, probabilities, 0.0 if blocked else score, flags, tuple(reasons), z)


def weights_of(readings: Sequence[Reading]) -> Floats:
    """How much each image counts in the case, (n,), sum 1: its in-scope score, 0 where it is not usable.

    Images of one case show the same marrow through the same lens and are not independent; their probabilities are
    therefore averaged, never multiplied, and the case is never surer than its surest image.
    """
    scores = np.array([reading.in_scope if reading.usable else 0.0 for reading in readings])
    return scores / scores.sum() if scores.sum() > 0 else scores


def case_scope(readings: Sequence[Reading]) -> float:
    """The mean in-scope score of the images that are not blocked by their quality; 0 where all are."""
    scores = [r.in_scope for r in readings if not any(flag.blocking for flag in r.quality)]
    return float(np.mean(scores)) if scores else 0.0
