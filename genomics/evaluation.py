"""The metrics of a labelled set of expression samples or laboratory panels."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genomics.batch import Answered, answer_file
from genomics.expression.data import ALL_FILE, AML_FILE, MERGED, TCGA_NAMES, aml_label
from genomics.labs.reader import ID_COLUMNS
from genomics.tables import MISSING, Table, read_table
from ml.bundle import Bundle
from ml.calibration import metrics_report
from ml.diagnosis_tree import load_tree
from ml.findings import Finding, InputRejected

Floats = npt.NDArray[np.float64]
NOTE = "If these samples are among the training data, the figures are apparent; held-out ones are in the card."
LABEL_COLUMNS = ("label", "y", "who", "response", "diagnosis")
LINEAGES = {"B-ALL": "b_all", "T-ALL": "t_all", "AML": "aml", "Normal": "no_leukaemia"}
SHARED = ((ALL_FILE, "all_labels.csv"), (AML_FILE, "aml_labels_and_labs.csv"))


@dataclass(frozen=True)
class Truth:
    """What is known of one sample: its ``label`` or, where the subtype is unknown, the ``lineage`` alone; "" if not."""

    label: str
    lineage: str
    group: str


def evaluate(bundle: Bundle, data: Path, labels: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """One JSON object: metrics_report, and for expression also that of the lineages.

    Answers that the product would withhold are counted in ``withheld`` and scored all the same; ``unlabelled`` samples
    are not scored, ``refused`` ones cannot be.
    """
    truths: list[Truth] = []
    findings: list[Finding] = []
    refused: list[InputRejected] = []
    unlabelled = 0
    for source, said in _sources(bundle, data, labels):
        known = read_truths(said, bundle)
        answered: Answered = answer_file(bundle, source, options)
        refused += answered.refused
        pairs = [(_of(name, known), finding) for name, finding in answered.findings]
        truths += [truth for truth, _ in pairs if truth]
        findings += [finding for truth, finding in pairs if truth]
        unlabelled += sum(truth is None for truth, _ in pairs)
    if not findings:
        raise _bad_labels(str(labels or data), "No sample has a label.", "Name the samples as the data file does.")
    return {
        "bundle": bundle.reference,
        "bundle_sha256": bundle.sha256,
        "data": data.name,
        "trained_on": [source["name"] for source in bundle.manifest["data"]],
        "note": NOTE,
        **_metrics(bundle, truths, findings),
        "withheld": sum(f.label is None for f in findings),
        "median_in_scope": float(np.median([f.in_scope for f in findings])),
        "unlabelled": unlabelled,
        "refused": [fault.as_dict() for fault in refused],
    }


def _sources(bundle: Bundle, data: Path, labels: Path | None) -> list[tuple[Path, Path]]:
    """(data file, label file) pairs: ``data`` itself, or the cohorts of a folder laid out like the training set."""
    if not data.is_dir():
        return [(data, labels or data)]
    folders = [data, data / "expression"] if bundle.name == "expression" else []
    found = [(f / table, labels or f / said) for f in folders for table, said in SHARED if (f / table).is_file()]
    if not found:
        raise InputRejected(
            "missing_file",
            place=str(data),
            problem="This folder holds no data that is known here.",
            remedy=f"Name the table itself, or a folder with {ALL_FILE} or {AML_FILE} (expression only).",
        )
    return found


# --- what is known ----------------------------------------------------------------------------------------------------


def read_truths(source: Path, bundle: Bundle) -> dict[str, Truth]:
    """Sample → truth, from a CSV with a column of samples (else rows are numbered from 1) and one of labels.

    InputRejected (no_labels, unknown_label). An empty label is unknown; a column ``lineage`` then may still name the
    lineage, as a label B-ALL, T-ALL, AML or Normal does.
    """
    if not source.is_file():
        raise InputRejected("missing_file", place=str(source), problem="No such file.", remedy="Check the path.")
    table = read_table(source)
    name, label = _column(table, ID_COLUMNS), _column(table, LABEL_COLUMNS)
    if name is None and bundle.name == "expression":
        name = 0
    if label is None:
        raise _bad_labels(source.name, "There is no column of labels.", f"Call it {' or '.join(LABEL_COLUMNS[:3])}.")
    more = {key: _column(table, (key,)) for key in ("lineage", "patient", "label_raw")}
    known: dict[str, Truth] = {}
    for count, (line, cells) in enumerate(table.rows(), start=1):
        sample = cells[name] if name is not None else str(count)
        said = {key: cells[k] for key, k in more.items() if k is not None and cells[k].lower() not in MISSING}
        place = f"{source.name}, line {line}, column {table.header[label]!r}"
        truth = _truth(cells[label], table.header[label].lower(), said, bundle, place)
        known[sample] = Truth(*truth, re.sub("_r$", "", said.get("patient", sample)))
    return known


def _truth(label: str, column: str, said: dict[str, str], bundle: Bundle, place: str) -> tuple[str, str]:
    """(label, lineage) of one row, "" where unknown."""
    label = "" if label.lower() in MISSING else label
    if bundle.name == "expression":
        if column == "who" and label in TCGA_NAMES:
            label = aml_label(label)
        label = MERGED.get(said.get("label_raw", label), label)
    lineage = said.get("lineage", "")
    if label in bundle.labels:
        return label, lineage_of(bundle, label)
    if label and (bundle.name != "expression" or label not in LINEAGES):
        names = [*bundle.labels, *(LINEAGES if bundle.name == "expression" else ())]
        raise _bad_labels(place, f"{label!r} is no label of this bundle.", f"The labels are {', '.join(names)}.")
    return "", label or (lineage if lineage in LINEAGES else "")


def lineage_of(bundle: Bundle, label: str) -> str:
    """The one of LINEAGES that a label of the expression bundle belongs to; "" for other bundles."""
    leaf, tree = bundle.leaves[label][0], load_tree()
    found = [name for name, node in LINEAGES.items() if leaf in tree.leaves_under(node)]
    return found[0] if bundle.name == "expression" and found else ""


def _of(name: str, known: dict[str, Truth]) -> Truth | None:
    """The truth of a sample by its name, or by its name as R spells it (no signs but dots)."""
    truth = known.get(name) or known.get(re.sub(r"[^\w.]", ".", name))
    return truth if truth and (truth.label or truth.lineage) else None


def _column(table: Table, names: tuple[str, ...]) -> int | None:
    lower = [cell.strip().lower() for cell in table.header]
    return next((lower.index(name) for name in names if name in lower), None)


def _bad_labels(place: str, problem: str, remedy: str) -> InputRejected:
    return InputRejected(
        "unknown_label" if "is no label" in problem else "no_labels", place=place, problem=problem, remedy=remedy
    )


# --- figures ----------------------------------------------------------------------------------------------------------


def _metrics(bundle: Bundle, truths: list[Truth], findings: list[Finding]) -> dict[str, Any]:
    """Of the samples whose label is known, with ``lineage``; of the lineage alone, where no label is known."""
    p = np.array([[f.probabilities[label] for label in bundle.labels] for f in findings])
    groups = np.array([truth.group for truth in truths])
    named = np.array([bool(truth.label) for truth in truths])
    out: dict[str, Any] = {}
    if named.any():
        y = np.array([bundle.labels.index(truth.label) for truth in truths if truth.label])
        out = {"level": "label", **_report(p[named], y, bundle.labels, groups[named])}
    if bundle.name == "expression":
        lineages = tuple(LINEAGES)
        of_label = [lineage_of(bundle, label) for label in bundle.labels]
        summed = np.column_stack(
            [p[:, [k for k, n in enumerate(of_label) if n == name]].sum(axis=1) for name in lineages]
        )
        y = np.array([lineages.index(truth.lineage) for truth in truths])
        report = _report(summed, y, lineages, groups)
        out = {**out, "lineage": report} if out else {"level": "lineage", **report}
    return out


def _report(p: Floats, y: npt.NDArray[np.int64], labels: tuple[str, ...], groups: npt.NDArray[Any]) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice", category=RuntimeWarning)  # one class has no AUC
        return metrics_report(p, y, labels, groups)
