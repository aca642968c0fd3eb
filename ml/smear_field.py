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

BENIGN = "haematogones"
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
    ``companion``, the cell bundle, the explanation also holds the fields' white cells (see field_cells.read_cells), and
    the finding counts less where whole fields and their cells disagree (see agreement). Cells of a field that is
    too dark, blurred or unstained to be used are not counted.
    """
    if not images:
        raise no_images("smear field")
    readings = read_images(images, load_model(bundle), progress)
    finding = finding_of(readings, bundle)
    if companion is None:
        return finding
    usable = [(image, reading.found) for image, reading in zip(images, readings, strict=True) if reading.found]
    shown, found = [image for image, _ in usable], [cells for _, cells in usable]
    cells = field_cells.read_cells(shown, companion, found, progress=progress)
    share, reasons = agreement(readings, cells["fields"])
    return replace(
        finding,
        in_scope=finding.in_scope * share,
        reasons=(*finding.reasons, *reasons),
        explanation=finding.explanation | {"white_cells": cells},
    )


def agreement(readings: Sequence[Reading], fields: Sequence[dict[str, Any]]) -> tuple[float, tuple[str, ...]]:
    """In what share of the fields their cells, one by one, say leukaemic or not as the whole field does; and why not.

    Cells are shown to their network without the field's colours, so the two err for different reasons; 1 where no field
    can be compared.
    """
    called = {field["id"]: field["called"] for field in fields}
    compared = [r for r in readings if r.usable and called[r.id] is not None]
    apart = sum((r.label != BENIGN) is not called[r.id] for r in compared)
    if not apart:
        return 1.0, ()
    said = f"In {apart} of {len(compared)} fields the whole field and its cells disagree on whether there are blasts."
    return 1 - apart / len(compared), (said,)


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
