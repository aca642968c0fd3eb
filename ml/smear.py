"""One smear image → probabilities, in-scope score and quality. What the field and the cell bundles have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from ml import engine, quality
from ml.calibration import apply_temperature
from ml.cell_view import central_cell, shown
from ml.findings import InputRejected, QualityFlag
from ml.heads import Head, Projection, Scope, load_arrays
from ml.networks import Trunk, load_trunk
from ml.stain import normaliser
from ml.white_cells import find_cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml.bundle import Bundle
    from ml.white_cells import Found

    Progress = Callable[[int, int, str], object]

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

TRUNK, CASE_TRUNK, ARRAYS = "trunk.safetensors", "case_trunk.safetensors", "arrays.safetensors"
CHUNK = 32


@dataclass(frozen=True)
class SmearModel:
    """A bundle in memory. ``labels_of``: head → its labels in the order of its logits (a JSON object has no order).

    ``case_trunk``: the network in whose features an image has its place, among the others of its case and near or far
    from the training images; ``trunk`` itself where the bundle has no other.
    """

    bundle: Bundle
    trunk: Trunk
    case_trunk: Trunk
    projection: Projection
    near: Projection
    heads: dict[str, Head]
    scope: Scope
    labels_of: dict[str, tuple[str, ...]]

    @property
    def image_labels(self) -> tuple[str, ...]:
        """What one image can be called."""
        return self.labels_of["image"]

    @property
    def side(self) -> int:
        return int(self.bundle.manifest["preprocessing"]["side"])

    @property
    def turns(self) -> int:
        return int(self.bundle.manifest["preprocessing"]["turns"])

    @property
    def thresholds(self) -> dict[str, Any]:
        return dict(self.bundle.manifest["thresholds"])


@dataclass(frozen=True)
class Reading:
    """What one image says. ``z`` (components,) is its place in the bundle's feature space; ``found`` the white cells
    of a field.
    """

    id: str
    label: str | None
    probabilities: dict[str, float]
    in_scope: float
    quality: tuple[QualityFlag, ...]
    reasons: tuple[str, ...]
    z: Floats
    found: Found | None = None

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


def prepare(image: Rgb, preprocessing: dict[str, Any]) -> tuple[Rgb, bool]:
    """(h, w, 3) of any size → the square that the trunk sees, and whether it shows what the bundle reads."""
    return VIEWS[preprocessing["view"]](image, preprocessing)


def whole_field(image: Rgb, preprocessing: dict[str, Any]) -> tuple[Rgb, bool]:
    """The field, stain-normalised, scale bar painted white.

    The aspect is not kept: the training fields were themselves 4:3 photographs stored as squares.
    """
    side = int(preprocessing["side"])
    how = cv2.INTER_AREA if min(image.shape[:2]) > side else cv2.INTER_LINEAR
    square = np.asarray(cv2.resize(image, (side, side), interpolation=how), dtype=np.uint8)
    normalise = normaliser(preprocessing.get("stain_reference"))
    return without_scale_bar(square, float(preprocessing["masked_corner"]), normalise), True


def without_scale_bar(square: Rgb, share: float, normalise: Callable[[Rgb], Rgb]) -> Rgb:
    """``square`` (side, side, 3) normalised, its lower right corner of that ``share`` white; a scale bar there does not
    count as stain either. Changes ``square``.
    """
    side, corner = len(square), round(len(square) * share)
    masked = slice(side - corner, side)
    square[masked, masked] = square[:corner, :corner]
    square = normalise(square)
    square[masked, masked] = 255
    return square


def one_cell(image: Rgb, preprocessing: dict[str, Any]) -> tuple[Rgb, bool]:
    """The white cell in the middle (see ml.cell_view)."""
    seen, nucleus = central_cell(image, int(preprocessing["side"]))
    return shown(seen), nucleus


VIEWS: dict[str, Callable[[Rgb, dict[str, Any]], tuple[Rgb, bool]]] = {"field": whole_field, "cell": one_cell}


def load_model(bundle: Bundle) -> SmearModel:
    """The bundle's networks; built once per process and bundle hash."""
    if bundle.sha256 not in _LOADED:
        projection, near, heads = load_arrays(bundle.file(ARRAYS))
        said, trunk = bundle.manifest, load_trunk(bundle.file(TRUNK))
        _LOADED[bundle.sha256] = SmearModel(
            bundle=bundle,
            trunk=trunk,
            case_trunk=load_trunk(bundle.file(CASE_TRUNK)) if CASE_TRUNK in said["files"] else trunk,
            projection=projection,
            near=near,
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
    prepared = [prepare(image, model.bundle.manifest["preprocessing"]) for _, image in images]
    said = see(np.stack([picture for picture, _ in prepared]), model)
    return [
        _reading(name, image, seen, model, has_nucleus=shows)
        for (name, image), seen, (_, shows) in zip(images, said, prepared, strict=True)
    ]


def see(pictures: Rgb, model: SmearModel) -> list[Seen]:
    """What the network says of prepared pictures (n, side, side, 3)."""
    sha256 = model.bundle.sha256
    features = engine.embed(model.trunk, sha256, pictures, model.turns)
    placed = features
    if model.case_trunk is not model.trunk:
        placed = engine.embed(model.case_trunk, f"{sha256}-case", pictures, model.turns)
    temperature = float(model.bundle.manifest["calibration"]["image_temperature"])
    p = apply_temperature(model.heads["image"].logits(features), temperature)
    z, scores = model.projection.apply(placed), model.scope.score(model.near.distance(placed))
    return [Seen(p[k], float(scores[k]), z[k]) for k in range(len(pictures))]


@dataclass(frozen=True)
class Seen:
    """``p`` (labels,) calibrated; in-scope ``score``; ``z`` (components,)."""

    p: Floats
    score: float
    z: Floats


NO_NUCLEUS = QualityFlag(
    "no_nucleus",
    "No nucleus of a white cell was found; send a stained smear with the cell in the middle.",
    blocking=True,
)


def measured(
    image: Rgb, view: str, thresholds: Mapping[str, Mapping[str, float]] | None = None
) -> tuple[dict[str, float], Found | None]:
    """Quality measures of an image, and the white cells that were found for them where it is a field.

    With ``thresholds`` no cells are looked for in a field that is too dark, blurred or unstained to be used.
    """
    measures = quality.measure(image)
    if view != "field" or any(flag.blocking for flag in quality.judge(measures, thresholds or {})):
        return measures, None
    found = find_cells(image)
    return measures | quality.measure_cells(image, found), found


def _reading(name: str, image: Rgb, seen: Seen, model: SmearModel, *, has_nucleus: bool) -> Reading:
    limits_of_quality = model.thresholds["quality"]
    measures, found = measured(image, model.bundle.manifest["preprocessing"]["view"], limits_of_quality)
    flags = quality.judge(measures, limits_of_quality)
    if not has_nucleus and not any(flag.blocking for flag in flags):
        flags = (*flags, NO_NUCLEUS)
    reasons = [flag.message for flag in flags if flag.blocking]
    blocked = bool(reasons)
    limits = model.thresholds["in_scope"]
    if seen.score < limits["warn"]:
        reasons.append(
            f"Unlike the images of {model.bundle.reference}'s training set (in-scope score {seen.score:.2f})."
        )
    label = None if blocked or seen.score < limits["block"] else model.image_labels[int(seen.p.argmax())]
    probabilities = dict(zip(model.image_labels, (float(v) for v in seen.p), strict=True))
    score = 0.0 if blocked else seen.score
    return Reading(name, label, probabilities, score, flags, tuple(reasons), seen.z, found)


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


def no_images(kind: str) -> InputRejected:
    return InputRejected("empty", place=kind, problem="There is no image.", remedy="Send at least one.")


def case_reasons(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Why the finding is weak or absent: each kind of trouble once, with the number of images that have it."""
    weak = [r for r in readings if r.usable and r.reasons]
    strange = [r for r in readings if not r.usable and not blocked(r)]
    faults = Counter(flag.message for r in readings for flag in blocked(r))
    counted = [
        *((count, f"could not be used: {message}") for message, count in faults.items()),
        (len(strange), "could not be used: they are too unlike the training set."),
        (len(weak), "are unlike the training set and count less."),
    ]
    return tuple(f"{count} of {len(readings)} images {what}" for count, what in counted if count)


def blocked(reading: Reading) -> list[QualityFlag]:
    return [flag for flag in reading.quality if flag.blocking]
