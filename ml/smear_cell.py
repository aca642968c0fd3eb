"""Single white cells of a smear: 18 classes, the differential, and whether the case's cells look like APL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.calibration import apply_temperature
from ml.differential import BLAST, BLAST_EQUIVALENTS, blast_share, differential
from ml.findings import Finding
from ml.smear import case_reasons, case_scope, load_model, no_images, read_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.bundle import Bundle
    from ml.smear import Progress, Reading, Rgb, SmearModel

Floats = npt.NDArray[np.float64]

BLAST_OR_PROMYELOCYTE = (BLAST, "Promyelocyte")
FEW_CELLS = 50
EVENLY = 0.5  # share of the attention that every cell has


def predict(images: Sequence[tuple[str, Rgb]], bundle: Bundle, *, progress: Progress | None = None) -> Finding:
    """What the cells of one case say together. ``images``: one (id, (h, w, 3) uint8) for each cell."""
    if not images:
        raise no_images("smear cells")
    model = load_model(bundle)
    return finding_of(read_images(images, model, progress), model)


def attention(blast_like: Floats, in_scope: Floats) -> Floats:
    """Weight of each cell in the case, (n,), sum 1: how surely it is a blast or a blast equivalent, times its in-scope
    score. Half of the weight is spread evenly: the other cells say something of the case too, and all of it where there
    are no blasts.
    """
    weights = (EVENLY + (1 - EVENLY) * blast_like) * in_scope
    return weights / weights.sum()


def pooled(z: Floats, weights: Floats) -> Floats:
    """Features of a case, (1, components): the weighted mean of its cells' places in the bundle's feature space."""
    return np.asarray((weights @ z)[None])


def blast_likeness(readings: Sequence[Reading]) -> Floats:
    return np.array([sum(r.probabilities[name] for name in BLAST_EQUIVALENTS) for r in readings])


def finding_of(readings: Sequence[Reading], model: SmearModel) -> Finding:
    bundle, labels = model.bundle, model.labels_of["case"]
    used = [r for r in readings if r.usable]
    p = case_probabilities(used, model) if used else np.array([bundle.training_share[label] for label in labels])
    weights = attention(blast_likeness(used), np.array([r.in_scope for r in used])) if used else np.zeros(0)
    return Finding(
        modality="smear_cell",
        bundle=bundle.reference,
        bundle_sha256=bundle.sha256,
        label=labels[int(p.argmax())] if used else None,
        probabilities=dict(zip(labels, (float(v) for v in p), strict=True)),
        in_scope=case_scope(readings) if used else 0.0,
        leaves=bundle.leaves,
        training_share=bundle.training_share,
        quality=tuple(dict.fromkeys(flag for r in readings for flag in r.quality)),
        reasons=(*few_cells(len(used)), *case_reasons(readings)),
        explanation=explain(readings, dict(zip((r.id for r in used), weights, strict=True))),
    )


def case_probabilities(readings: Sequence[Reading], model: SmearModel) -> Floats:
    weights = attention(blast_likeness(readings), np.array([r.in_scope for r in readings]))
    z = pooled(np.stack([r.z for r in readings]), weights)
    temperature = float(model.bundle.manifest["calibration"]["case_temperature"])
    return apply_temperature(model.heads["case"].logits(z), temperature)[0]


def few_cells(count: int) -> tuple[str, ...]:
    if count >= FEW_CELLS or not count:
        return ()
    return (f"Only {count} cells: a differential of fewer than {FEW_CELLS} is uncertain.",)


def explain(readings: Sequence[Reading], weights: dict[str, Any]) -> dict[str, Any]:
    """The differential with its blast share, and every cell with its class and its weight in the case."""
    cells = [r.as_dict() | {"attention": float(weights.get(r.id, 0.0))} for r in readings]
    labels = [r.label for r in readings]
    return {"differential": differential(labels), "blast_share": blast_share(labels), "cells": cells}
