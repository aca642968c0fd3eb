"""Leukaemic or normal on any labelled set: what the threshold fixed at home is worth there, and what a site's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.metrics import balanced_accuracy_score
from tqdm import tqdm

from ml.calibration import metrics_report
from ml.evaluation import read_paths
from ml.field_cells import read_cells
from ml.findings import InputRejected
from ml.site_threshold import LEAST_CELLS, blast_probability, home_of, learn, log_odds
from ml.smear_cell import BLAST_OR_PROMYELOCYTE
from ml.smear_data import first_frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ml.bundle import Bundle
    from ml.datasets import ImageSet

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEUKAEMIC = {
    "c-nmc": ("ALL",),
    "all-idb1": ("ALL",),
    "all-idb2": ("ALL",),
    "four-class-all": ("Early Pre-B", "Pre-B", "Pro-B"),
    "cells": BLAST_OR_PROMYELOCYTE,
    "bccd": (),
}
OF_FIELDS = ("all-idb1", "four-class-all", "bccd")  # layouts of whole fields; the others are of single cells
LABELS = ("normal", "leukaemic")
KNOWN_NORMAL, DRAWS = 30, 200
NOTE = (
    "Home: the threshold that the bundle brings. Site: one learned from 30 normal cells of the set itself, which are "
    "then not asked; mean and middle 95 % of 200 draws."
)


def evaluate_blasts(bundle: Bundle, images: ImageSet) -> dict[str, Any]:
    """One JSON object: metrics_report of leukaemic against normal at the home threshold, and the same after a site's
    own calibration where the set is of single cells and has enough normal ones.

    ``bundle``: smear-cell. Fields are judged by the mean P(blast) of their cells; those without a cell are counted in
    ``without_cells`` and left out. Answers that the product would withhold are scored all the same.
    """
    home, of_fields = home_of(bundle), images.layout in OF_FIELDS
    truth = np.isin(images.y, [images.labels.index(name) for name in LEUKAEMIC[images.layout] if name in images.labels])
    p = _of_fields(images, bundle) if of_fields else _of_cells(images, bundle)
    seen = np.isfinite(p)
    if not seen.any():
        raise InputRejected(
            "no_cells", place=images.name, problem="No white cell was found.", remedy="Bring stained smears."
        )
    threshold = home["of_field" if of_fields else "threshold"]
    said = {"bundle": bundle.reference, "data": images.name, "threshold": threshold, "note": NOTE}
    said |= _at(threshold, p[seen], truth[seen], images.groups[seen]) | {"without_cells": int((~seen).sum())}
    normal = int((~truth[seen]).sum())
    if of_fields or normal < KNOWN_NORMAL + LEAST_CELLS or not truth.any():
        return said
    return said | {"site_balanced_accuracy": at_site(p[seen], truth[seen], home)}


def _of_cells(images: ImageSet, bundle: Bundle) -> Floats:
    """P(blast) of the cell in the middle of each image."""
    return np.array([blast_probability(reading.probabilities) for reading in read_paths(bundle, images.paths)])


def _of_fields(images: ImageSet, bundle: Bundle) -> Floats:
    """The mean P(blast) of each field's cells; NaN without any."""
    means = []
    for path in tqdm(images.paths, disable=None, leave=False):
        (field,) = read_cells([(str(path), first_frame(path))], bundle)["fields"]
        means.append(np.nan if field["blast"] is None else field["blast"])
    return np.array(means)


def _at(threshold: float, p: Floats, truth: Flags, groups: npt.NDArray[Any]) -> dict[str, Any]:
    """metrics_report with ``threshold`` moved to one half: the ranking stays."""
    moved = expit(log_odds(p) - log_odds(threshold))
    return metrics_report(np.column_stack([1 - moved, moved]), truth.astype(np.int64), LABELS, groups)


def at_site(p: Floats, truth: Flags, home: Mapping[str, float]) -> dict[str, float]:
    """Balanced accuracy of cells' P(blast) (n,) after the site's threshold was learned from KNOWN_NORMAL normal ones:
    the mean and the middle 95 % over DRAWS draws of them, which are then not asked.
    """
    normal, rng, said = np.flatnonzero(~truth), np.random.default_rng(0), []
    for _ in range(DRAWS):
        known = rng.choice(normal, KNOWN_NORMAL, replace=False)
        rest = np.setdiff1d(np.arange(len(p)), known)
        said.append(balanced_accuracy_score(truth[rest], p[rest] >= learn(list(p[known]), home)))
    low, high = np.percentile(said, [2.5, 97.5])
    return {"value": float(np.mean(said)), "low": float(low), "high": float(high)}
