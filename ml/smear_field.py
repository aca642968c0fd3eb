"""Whole fields of a smear: haematogones or B-ALL, and which of three stages of maturation the blasts resemble."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.findings import Finding, InputRejected
from ml.smear import case_scope, load_model, read_images, weights_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.bundle import Bundle
    from ml.findings import QualityFlag
    from ml.smear import Progress, Reading, Rgb

MATURATION = ("Pro-B", "Early Pre-B", "Pre-B")


def predict(images: Sequence[tuple[str, Rgb]], bundle: Bundle, *, progress: Progress | None = None) -> Finding:
    """What the fields of one case say together. ``images``: (id, (h, w, 3) uint8).

    The case's probabilities are the mean of its images', weighted by their in-scope scores (see weights_of).
    """
    if not images:
        raise no_images("smear field")
    readings = read_images(images, load_model(bundle), progress)
    return finding_of(readings, bundle)


def no_images(kind: str) -> InputRejected:
    return InputRejected("empty", place=kind, problem="There is no image.", remedy="Send at least one.")


def finding_of(readings: Sequence[Reading], bundle: Bundle) -> Finding:
    weights, labels = weights_of(readings), bundle.labels
    table = np.array([[r.probabilities[label] for label in labels] for r in readings])
    usable = bool(weights.sum() > 0)
    p = weights @ table if usable else np.array([bundle.training_share[label] for label in labels])
    probabilities = dict(zip(labels, (float(v) for v in p), strict=True))
    return Finding(
        modality="smear_field",
        bundle=bundle.reference,
        bundle_sha256=bundle.sha256,
        label=labels[int(p.argmax())] if usable else None,
        probabilities=probabilities,
        in_scope=case_scope(readings) if usable else 0.0,
        leaves=bundle.leaves,
        training_share=bundle.training_share,
        quality=tuple(dict.fromkeys(flag for r in readings for flag in r.quality)),
        reasons=case_reasons(readings),
        explanation=explain(readings, probabilities),
    )


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


def explain(readings: Sequence[Reading], probabilities: dict[str, float]) -> dict[str, Any]:
    stages = sum(probabilities[label] for label in MATURATION)
    return {
        "images": [r.as_dict() for r in readings],
        "maturation": {label: probabilities[label] / stages for label in MATURATION},
    }
