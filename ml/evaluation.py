"""The metrics of a labelled set of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from ml import smear_cell
from ml.calibration import metrics_report
from ml.datasets import FIELD_LABELS
from ml.findings import InputRejected
from ml.smear import load_model, read_images
from ml.smear_data import first_frame, load_cells, load_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.bundle import Bundle
    from ml.smear import Reading

Floats = npt.NDArray[np.float64]
NOTE = "If these images are among the training data, the figures are apparent; held-out ones are in the card."


def evaluate(bundle: Bundle, data: Path) -> dict[str, Any]:
    """One JSON object: metrics_report and, for cells, also that of the cases.

    ``data`` is what load_fields or load_cells reads. Answers that the product would withhold (blocked or out of scope)
    are counted in ``withheld`` and scored all the same.
    """
    how = {"smear_field": _evaluate_fields, "smear_cell": _evaluate_cells}[bundle.manifest["modality"]]
    said = {"bundle": bundle.reference, "bundle_sha256": bundle.sha256, "data": data.name}
    trained_on = [source["name"] for source in bundle.manifest["data"]]
    return said | {"trained_on": trained_on, "note": NOTE} | how(bundle, data)


def read_paths(bundle: Bundle, paths: Sequence[Path]) -> list[Reading]:
    model = load_model(bundle)
    step = 32
    readings: list[Reading] = []
    for start in tqdm(range(0, len(paths), step), disable=None, leave=False):
        readings += read_images([(str(path), first_frame(path)) for path in paths[start : start + step]], model)
    return readings


def _table(readings: Sequence[Reading]) -> Floats:
    return np.array([list(reading.probabilities.values()) for reading in readings])


def _common(readings: Sequence[Reading]) -> dict[str, Any]:
    scores = np.array([reading.in_scope for reading in readings])
    return {"withheld": sum(not r.usable for r in readings), "median_in_scope": float(np.median(scores))}


def _evaluate_fields(bundle: Bundle, data: Path) -> dict[str, Any]:
    fields = load_fields(data)
    readings, names = read_paths(bundle, fields.paths), load_model(bundle).image_labels
    y = np.array([_index(FIELD_LABELS[k], names, str(path)) for k, path in zip(fields.y, fields.paths, strict=True)])
    return metrics_report(_table(readings), y, names) | _common(readings)


def _evaluate_cells(bundle: Bundle, data: Path) -> dict[str, Any]:
    cells = load_cells(data)
    model = load_model(bundle)
    readings = read_paths(bundle, [Path(name) for name in cells.file])
    names, diagnoses = model.image_labels, model.labels_of["case"]
    y = np.array([_index(name, names, f"cells.csv, row {k + 2}") for k, name in enumerate(cells.cell_class)])
    p = _table(readings)
    blast = np.isin(cells.cell_class, smear_cell.BLAST_OR_PROMYELOCYTE)
    p_blast = p[:, [names.index(name) for name in smear_cell.BLAST_OR_PROMYELOCYTE]].sum(axis=1)
    of_cases, truth = [], []
    for rows in cells.groupby("patient").indices.values():
        of_cases.append(list(smear_cell.finding_of([readings[k] for k in rows], model).probabilities.values()))
        truth.append(_index(str(cells.diagnosis.iloc[rows[0]]), diagnoses, f"cells.csv, row {rows[0] + 2}"))
    return (
        metrics_report(p, y, names, cells.patient.to_numpy())
        | _common(readings)
        | {
            "blast_or_promyelocyte_auc": _auc(blast, p_blast),
            "cases": metrics_report(np.array(of_cases), np.array(truth), diagnoses),
            "apl_auc_per_patient": _auc(
                np.array(truth) == diagnoses.index("APL"), np.array(of_cases)[:, diagnoses.index("APL")]
            ),
        }
    )


def _auc(truth: npt.NDArray[np.bool_], score: Floats) -> float | None:
    return float(roc_auc_score(truth, score)) if 0 < int(truth.sum()) < len(truth) else None


def _index(name: str, known: Sequence[str], place: str) -> int:
    if name not in known:
        raise InputRejected(
            "unknown_label",
            place=place,
            problem=f"{name!r} is no label of this bundle.",
            remedy=f"The labels are {', '.join(known)}.",
        )
    return known.index(name)
