"""Whole fields of a smear: haematogones or B-ALL, and which of three stages of maturation the blasts resemble."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ml import field_cells
from ml.findings import Finding
from ml.smear import case_reasons, case_scope, load_model, no_images, read_images, weights_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.bundle import Bundle
    from ml.smear import Progress, Reading, Rgb

MATURATION = ("Pro-B", "Early Pre-B", "Pre-B")


def predict(
    images: Sequence[tuple[str, Rgb]],
    bundle: Bundle,
    *,
    companion: Bundle | None = None,
    progress: Progress | None = None,
) -> Finding:
    """What the fields of one case say together. ``images``: (id, (h, w, 3) uint8).

    The case's probabilities are the mean of its images', weighted by their in-scope scores (see weights_of). With a
    ``companion``, the cell bundle, the explanation also holds the fields' white cells (see field_cells.read_cells).
    """
    if not images:
        raise no_images("smear field")
    finding = finding_of(read_images(images, load_model(bundle), progress), bundle)
    if companion is None:
        return finding
    cells = field_cells.read_cells(images, companion, progress=progress)
    return replace(finding, explanation=finding.explanation | {"white_cells": cells})


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


def explain(readings: Sequence[Reading], probabilities: dict[str, float]) -> dict[str, Any]:
    stages = sum(probabilities[label] for label in MATURATION)
    return {
        "images": [r.as_dict() for r in readings],
        "maturation": {label: probabilities[label] / stages for label in MATURATION},
    }
