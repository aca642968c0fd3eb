"""Synthetic expression tables and lab panels for demonstration and tests: drawn from class statistics, of no patient.

They are of the kind that the bundles have learned from, and more typical than real ones; they are no evidence
of anything. Every file says SYNTHETIC in its first line and in its sample's name. The same label and seed give the same
bytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from genomics.expression.genes import load_genes
from genomics.labs.analytes import load_analytes
from genomics.labs.features import BASE, SHARES
from ml.bundle import Bundle, find_bundle, load_bundle

Array = npt.NDArray[np.float64]

NOTE = "# SYNTHETIC {what}, drawn by Marrow for demonstration; not of a patient"
READS = 20_000_000
TYPICAL, TYPICAL_LABS = 0.3, 0.03  # share of a class's variance; more, and labs are as often mistaken as real ones
COMMON_DISPERSION = 0.1  # of genes for which the class has no statistics
DIFFERENTIAL = tuple(SHARES.values())
MOST_COUNTED = 98.0  # %: the differential leaves a little to other cells
ADULT = 18.0


def write_expression(path: Path, label: str, seed: int) -> Path:
    """A table of read counts (TSV, Ensembl ids with version) of one sample with the given label of the bundle.

    Counts are negative binomial. ValueError for a label that the bundle does not have.
    """
    bundle = _bundle("expression")
    rng = _generator(bundle, label, seed)
    ids, cpm, dispersion = _profile(bundle, label)
    depth = READS / cpm.sum() * rng.lognormal(0.0, 0.1)
    counts = rng.poisson(cpm * depth * rng.gamma(1 / dispersion, dispersion))
    lines = [NOTE.format(what=f"read counts of {label}"), f"gene_id\t{_name(label, seed)}"]
    lines += [f"{gene}.{1 + k % 17}\t{count}" for k, (gene, count) in enumerate(zip(ids, counts, strict=True))]
    return _write(path, lines)


def write_labs(path: Path, label: str, seed: int, *, age: float | None = None) -> Path:
    """One adult's panel as CSV (LOINC, name, value, UCUM unit) with the given label of the bundle; else ValueError.

    ``age`` in years: the patient's own, else it is drawn with the rest.
    """
    bundle = _bundle("labs")
    rng = _generator(bundle, label, seed)
    lines = [NOTE.format(what=f"laboratory values of {label}"), "sample,code,name,value,unit"]
    panel = _panel(bundle, label, rng)
    for key, value in (panel if age is None else {**panel, "age": age}).items():
        analyte = load_analytes()[key]
        said = (_name(label, seed), analyte.loinc[0], f'"{analyte.name}"', f"{value:g}", analyte.unit)
        lines.append(",".join(said))
    return _write(path, lines)


def _bundle(name: str) -> Bundle:
    return load_bundle(find_bundle(name))


def _generator(bundle: Bundle, label: str, seed: int) -> np.random.Generator:
    if label not in bundle.labels:
        raise ValueError(f"{label!r} is no label of {bundle.reference}; it has {', '.join(bundle.labels)}")
    return np.random.default_rng([seed, zlib.crc32(label.encode())])


def _name(label: str, seed: int) -> str:
    return f"SYNTHETIC-{re.sub(r'[^0-9A-Za-z]+', '-', label)}-{seed}"


def _write(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    return path


# --- expression -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _statistics(path: Path, sha256: str) -> dict[str, Array]:  # noqa: ARG001 (the hash is part of the key)
    return {name: tensor.astype(np.float64) for name, tensor in load_file(path).items()}


def _profile(bundle: Bundle, label: str) -> tuple[list[str], Array, Array]:
    """(gene ids, expected CPM (g,), dispersion (g,)) of a class.

    Of the AML classes the statistics are TPM of the AML panel; the other genes are given their usual CPM.
    """
    known = load_genes()
    said = _statistics(bundle.file("statistics.safetensors"), bundle.sha256)
    mean, sd = said[f"{label}.mean"], said[f"{label}.sd"]
    panel = next(ids for ids in (known.panels["all_panel"], known.panels["aml_panel"]) if len(ids) == len(mean))
    here = np.array([known.position[gene] for gene in panel])
    cpm, dispersion = known.reference_cpm.copy(), np.full(len(known.ids), COMMON_DISPERSION)
    level = np.maximum(2.0**mean - 1, 0.0)
    if panel == known.panels["aml_panel"]:
        level = _to_cpm(level * known.length[here], cpm[here])
    else:
        cpm[:] = np.nan
    cpm[here], dispersion[here] = level, TYPICAL * np.square(sd * np.log(2)) + 0.01
    use = np.isfinite(cpm)
    return [gene for gene, used in zip(known.ids, use, strict=True) if used], cpm[use], dispersion[use]


def _to_cpm(reads: Array, usual: Array) -> Array:
    """Reads of unknown total → CPM: the genes with a usual CPM have, in the middle, that."""
    both = (usual > 1) & (reads > 0)
    return np.asarray(reads / np.median(reads[both] / usual[both]))


# --- labs -------------------------------------------------------------------------------------------------------------


def _panel(bundle: Bundle, label: str, rng: np.random.Generator) -> dict[str, float]:
    """Values in canonical units; counts of cells follow from their shares and the white cells."""
    said: dict[str, Any] = bundle.read_json("statistics.json")[label]
    spread = np.linalg.cholesky(TYPICAL_LABS * np.array(said["covariance"]) + 1e-3 * np.eye(len(BASE)))
    drawn = np.expm1(np.array(said["mean"]) + spread @ rng.standard_normal(len(BASE)))
    values = dict(zip(BASE, drawn.tolist(), strict=True))
    counted = sum(max(values[key], 0.0) for key in DIFFERENTIAL)
    for count, share in SHARES.items():
        values[share] = max(values[share], 0.0) * min(1.0, MOST_COUNTED / counted)
        values[count] = values[share] * values["wbc"] / 100
    values["age"] = max(values["age"], ADULT)
    limits = {key: load_analytes()[key].plausible_for(values["age"], None) for key in BASE}
    return {key: float(f"{np.clip(value, *limits[key]):.3g}") for key, value in values.items()}
