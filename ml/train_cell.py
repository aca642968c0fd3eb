"""Train the smear-cell bundle: 18 classes of single cells; APL against other AML from all cells of a patient."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from ml import augment, smear_cell, training
from ml.blast_figures import BlastFigures
from ml.calibration import apply_temperature, fit_temperature
from ml.cell_view import REACH, REFERENCE, SIDE_OF_VIEWS, SPAN, central_cell, restained, shown
from ml.diagnosis_tree import load_tree
from ml.differential import BLAST, BLAST_EQUIVALENTS
from ml.finetune import Examples, Recipe, balanced
from ml.heads import fit_linear, fit_projection, fit_scope
from ml.networks import embed, load_trunk
from ml.smear_data import load_cells
from ml.training import COMPONENTS, FOLDS, Strangers, scored
from ml.weak_cells import WeakCells, weak_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    from ml.bundle import Bundle
    from ml.cell_view import View
    from ml.heads import Floats, Labels
    from ml.networks import Trunk
    from ml.training import Features

SIDE, TURNS = SIDE_OF_VIEWS, 1
PREPROCESSING = {
    "view": "cell",
    "side": SIDE,
    "turns": TURNS,
    "scale": f"{SPAN} red-cell diameters a side",
    "stain": f"nucleus to optical densities {REFERENCE.tolist()}",
    "surroundings": f"white beyond {REACH} red-cell diameters from the nucleus",
}
RECIPE = Recipe(view=augment.random_cell, epochs=9, per_epoch=4000)
DOUBT, WEAK_DOUBT, WEAK_SHARE = 0.02, 0.15, 0.3
CASE_LABELS = ("APL", "AML")
NAMES = {"APL": "Acute promyelocytic leukaemia", "AML": "Other acute myeloid leukaemia"}
CASE_PENALTY = 0.1  # per patient: there are few
DATA = "Sidhom et al. 2021, discovery cohort"
SPLIT = "5-fold grouped by patient"
INTENDED = (
    "For a haematologist's eyes: names single white cells of a Romanowsky-stained blood smear as a digital cell "
    "analyser crops them (18 classes), counts them, and says how much a case of acute myeloid leukaemia looks like "
    "APL. It decides nothing."
)
LIMITS = [
    "82 patients of one centre, all with AML, 22 of them APL: it cannot say that a case is no leukaemia, or ALL.",
    "The classes were named on one cell analyser's crops.",
    "Lymphoblasts come from one other laboratory, where nobody named the cells: their field's diagnosis stands for it.",
    "Size is judged by the red cells around; in a cut-out cell without any, by its own nucleus, and is then unknown.",
    "A threshold for blasts that fits one laboratory need not fit another: calibrate it on cells known to be normal.",
    "Plasma cells, thrombocyte aggregations, prolymphocytes and basophils have too few examples to be relied on.",
    "It never excludes APL: the hypogranular variant is not marked in the training data.",
    "The blast share is one of the cells that were sent; its interval counts chance, not the classifier's errors.",
]


def leaves() -> dict[str, tuple[str, ...]]:
    aml = load_tree().leaves_under("aml")
    return {"APL": ("apl",), "AML": tuple(leaf for leaf in aml if leaf != "apl")}


def train(
    data: Path,
    weights: Path,
    out: Path,
    seed: int = 0,
    *,
    fields: Path | None = None,
    strangers: Strangers | None = None,
    cache: Path | None = None,
    oof: Path | None = None,
) -> Bundle:
    """Write the bundle into ``out``, the held-out predictions of its cases into ``oof``.

    ``data``: a folder with ``cells.csv`` (see load_cells); ``weights``: ImageNet MobileNetV2; ``fields``: class folders
    (see load_fields) whose cells bring lymphoblasts and benign cells of another laboratory in, weakly labelled by their
    field; ``strangers``: only asked.
    """
    started, strangers = time.monotonic(), strangers or Strangers()
    cells, trunk = load_cells(data), load_trunk(weights)
    paths, names = [Path(name) for name in cells.file], tuple(sorted(cells.cell_class.unique()))
    y = np.array([names.index(name) for name in cells.cell_class])
    views, measured = training.gather(paths, PREPROCESSING, lambda image: central_cell(image, SIDE)[0], cache)
    weak = weak_cells(fields, cache) if fields else WeakCells.none()
    examples, fold = together(views, y, names, weak, cells.diagnosis.to_numpy()), patient_folds(cells, seed)
    both = np.concatenate([fold, weak.fold])
    held, held_weak = training.Held.empty(len(y), len(names)), np.zeros((len(weak.field), len(names)))
    frozen, frozen_weak = (embed(trunk, shown(stack), turns=TURNS) for stack in (views, weak.views))
    distance_weak = np.zeros(len(weak.field))
    for k in tqdm(range(FOLDS), desc="folds", disable=not sys.stderr.isatty(), leave=False):
        learned, head = training.tuned(trunk, examples, np.flatnonzero(both != k), RECIPE, seed, cache)
        near = training.nearness(np.concatenate([frozen[fold != k], frozen_weak[weak.fold != k]]), seed)
        rows, plain = np.flatnonzero(fold == k), embed(learned, shown(views[fold == k]), turns=TURNS)
        held.fill(rows, plain, shifted_features(learned, views[rows], seed), head, near.distance(frozen[rows]))
        distance_weak[weak.fold == k] = near.distance(frozen_weak[weak.fold == k])
        held_weak[weak.fold == k] = head.logits(embed(learned, shown(weak.views[weak.fold == k]), turns=TURNS))
    scope, p = fit_scope(np.concatenate([held.distance, distance_weak])), training.calibrated(held.logits, y, fold)
    temperature = fit_temperature(held.logits, y)
    weights_of_cells = CellWeights(likeness(p, names), scope.score(held.distance))
    cases = Cases.of(cells, fold)
    p_cases = {
        "attention": out_of_fold_cases(frozen, cases, weights_of_cells, seed),
        "mean": out_of_fold_cases(frozen, cases, None, seed),
    }
    if oof:
        table = {"id": cases.patients, "group": cases.patients, "cohort": "sidhom-2021", "y": cases.truth}
        in_scope = [weights_of_cells.in_scope[rows].mean() for rows in cases.rows]
        training.write_oof(oof, table | {"in_scope": in_scope}, p_cases["attention"].p, CASE_LABELS)
    learned, head = training.tuned(trunk, examples, np.arange(len(both)), RECIPE, seed, cache)
    projection = fit_projection(frozen, COMPONENTS, seed)
    near = training.nearness(np.concatenate([frozen, frozen_weak]), seed)
    case_z = cases.pool(projection.apply(frozen), weights_of_cells)
    checks = training.Checks(paths, measured, strangers, PREPROCESSING, seed)
    blasts = BlastFigures(p, y, names, cells.patient.to_numpy(), weak, apply_temperature(held_weak, temperature))
    manifest: dict[str, Any] = {
        "modality": "smear_cell",
        "labels": training.labels_of(CASE_LABELS, cases.y, leaves(), NAMES),
        "head_labels": {"image": list(names), "case": list(CASE_LABELS)},
        "preprocessing": PREPROCESSING,
        "calibration": {
            "image_temperature": temperature,
            "case_temperature": fit_temperature(p_cases["attention"].logits, cases.y),
        },
        "thresholds": training.thresholds(measured, scope) | {"blast": blasts.thresholds},
        "in_scope": checks.report(held.distance, trunk, near, scope)
        | {"notes": blasts.asked(learned, head, temperature, strangers.foreign)},
        "metrics": metrics(p, y, names, cells, cases, p_cases["attention"].p)
        | blasts.metrics(training.calibrated(held.logits, y, fold, held.shifted)),
        "baselines": baselines(measured, y, names, fold, cases, p_cases["mean"].p, seed),
        "data": [
            {"name": DATA, "n": len(y), "licence": "research use", "source": "CellaVision single cells, 82 patients"},
            *weak.data,
            {"name": "ImageNet (trunks)", "n": 1_281_167, "licence": "Apache-2.0 weights", "source": "MobileNetV2"},
        ],
        "intended_use": INTENDED,
        "limits": LIMITS,
    }
    heads = {"image": head, "case": fit_linear(case_z, cases.y, CASE_PENALTY)}
    return training.seal("smear-cell", out, (learned, trunk), (projection, near), heads, manifest, seed, started)


def together(
    views: View, y: Labels, names: tuple[str, ...], weak: WeakCells, diagnosis: npt.NDArray[np.object_]
) -> Examples:
    """Expert labels as they are; cells of a leukaemic field may be blasts, those of a benign one anything else.

    Blasts and their equivalents also teach their patient's diagnosis, all cells whether they are blasts at all.
    """
    allowed = np.eye(len(names), dtype=bool)[y]
    of_weak = np.zeros((len(weak.field), len(names)), dtype=bool)
    of_weak[weak.leukaemic, names.index(BLAST)] = True
    of_weak[~weak.leukaemic] = [name not in BLAST_EQUIVALENTS for name in names]
    draw = [balanced(y) / balanced(y).sum() * (1 - WEAK_SHARE), weak.draw * WEAK_SHARE]
    doubt = np.repeat([DOUBT, WEAK_DOUBT], [len(y), len(weak.field)])
    blast = np.isin(names, smear_cell.BLAST_OR_PROMYELOCYTE)
    coarse = np.concatenate([np.where(blast[y][:, None], blast, ~blast), of_weak])
    case = np.array([[kind == label for label in CASE_LABELS] for kind in diagnosis])
    case &= np.isin(names, BLAST_EQUIVALENTS)[y][:, None]
    return Examples(
        np.concatenate([views, weak.views]),
        np.concatenate([allowed, of_weak]),
        doubt,
        np.concatenate(draw),
        coarse,
        np.concatenate([case, np.zeros((len(weak.field), len(CASE_LABELS)), dtype=bool)]),
    )


def shifted_features(trunk: Trunk, views: View, seed: int) -> Features:
    """Of the same cells in another stain, brought to the reference by their nuclei as a foreign image would be."""
    generator = torch.Generator().manual_seed(seed)
    return embed(trunk, views, lambda x: restained(augment.shift(x[:, :3], generator), x[:, 3:]), turns=TURNS)


def patient_folds(cells: pd.DataFrame, seed: int) -> Labels:
    """Fold of each cell: all of a patient's cells in one, APL spread evenly."""
    fold = np.zeros(len(cells), dtype=np.int64)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for k, (_, rows) in enumerate(splitter.split(cells, cells.diagnosis, cells.patient)):
        fold[rows] = k
    return fold


@dataclass(frozen=True)
class CellWeights:
    """Of each cell, by a model that has not seen its patient: how likely a blast or equivalent, how in scope."""

    likeness: Floats
    in_scope: Floats


@dataclass(frozen=True)
class Cases:
    """Patients with the rows of their cells; ``y`` indexes CASE_LABELS."""

    patients: list[str]
    rows: list[npt.NDArray[np.int64]]
    y: Labels
    fold: Labels

    @classmethod
    def of(cls, cells: pd.DataFrame, fold: Labels) -> Cases:
        rows = {str(patient): np.asarray(r) for patient, r in cells.groupby("patient").indices.items()}
        first = [r[0] for r in rows.values()]
        y = [CASE_LABELS.index(cells.diagnosis.iloc[row]) for row in first]
        return cls(list(rows), list(rows.values()), np.array(y), fold[first])

    @property
    def truth(self) -> list[str]:
        return [CASE_LABELS[k] for k in self.y]

    def pool(self, z: Floats, weights: CellWeights | None) -> Floats:
        """(patients, components); plain means without ``weights``."""
        if weights is None:
            return np.stack([z[rows].mean(axis=0) for rows in self.rows])
        shares = [smear_cell.attention(weights.likeness[rows], weights.in_scope[rows]) for rows in self.rows]
        return np.concatenate(
            [smear_cell.pooled(z[rows], share) for rows, share in zip(self.rows, shares, strict=True)]
        )


@dataclass(frozen=True)
class CaseResult:
    logits: Floats
    p: Floats


def out_of_fold_cases(features: Features, cases: Cases, weights: CellWeights | None, seed: int) -> CaseResult:
    """Each patient from a projection and a case head that have not seen the patient.

    ``features`` (cells, features) are of the trunk as ImageNet left it: of the one bent towards single cells they told
    APL less well (out-of-fold AUROC 0.93).
    """
    logits = np.zeros((len(cases.y), len(CASE_LABELS)))
    for k in range(FOLDS):
        seen = cases.fold != k
        rows = np.concatenate([r for r, s in zip(cases.rows, seen, strict=True) if s])
        z = cases.pool(fit_projection(features[rows], COMPONENTS, seed).apply(features), weights)
        logits[~seen] = fit_linear(z[seen], cases.y[seen], CASE_PENALTY).logits(z[~seen])
    return CaseResult(logits, training.calibrated(logits, cases.y, cases.fold))


def likeness(p: Floats, names: Sequence[str]) -> Floats:
    return np.asarray(p[:, [names.index(name) for name in BLAST_EQUIVALENTS]].sum(axis=1))


def metrics(
    p: Floats, y: Labels, names: tuple[str, ...], cells: pd.DataFrame, cases: Cases, p_cases: Floats
) -> dict[str, Any]:
    patient = cells.patient.to_numpy()
    return {
        "cases: APL or other AML": scored(p_cases, cases.y, CASE_LABELS, DATA, SPLIT),
        "cells: 18 classes": scored(p, y, names, DATA, SPLIT, patient),
    }


def baselines(
    measured: pd.DataFrame,
    y: Labels,
    names: tuple[str, ...],
    fold: Labels,
    cases: Cases,
    p_mean: Floats,
    seed: int,
) -> dict[str, Any]:
    colours = measured.filter(like="colour").to_numpy()
    of_cases = np.stack([colours[rows].mean(axis=0) for rows in cases.rows])
    p_cells = training.colour_baseline(colours, y, fold, len(names), seed)
    p_cases = training.colour_baseline(of_cases, cases.y, cases.fold, 2, seed)
    return {
        "cells, majority": training.majority_baseline(y, names),
        "cells, colour alone": scored(p_cells, y, names, DATA, SPLIT),
        "cases, majority": training.majority_baseline(cases.y, CASE_LABELS),
        "cases, colour alone": scored(p_cases, cases.y, CASE_LABELS, DATA, SPLIT),
        "cases, plain mean of the cells": scored(p_mean, cases.y, CASE_LABELS, DATA, SPLIT),
    }
