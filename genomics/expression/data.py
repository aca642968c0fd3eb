"""The training cohorts, read with the product's own reader, and the gene table that is derived from them."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from genomics.expression.genes import GENE_TABLE, RENAMED, load_genes
from genomics.expression.heads import CONFLICT, panel_ranks, t_over_b
from genomics.expression.reader import ExpressionTable, canonicalise, load_canonical

Array = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]

ALL_FILE, AML_FILE = "all_log10cpm_genes_x_samples.csv.gz", "aml_log2tpm_samples_x_genes.csv.gz"
RAW_FILE = "ball_raw_counts_genes_x_samples.txt.gz"
LINEAGE_ONLY = "GSE228632"
RAW_PREFIX = "raw "
BLURRED = "Cohort7_8"  # all T-ALL; its batch correction has made B- and T-cell genes as high as in B-ALL
BLURRED_WEIGHT = 0.04
OTHER_B = "B-ALL other"
OTHER_AML = "AML other"
MERGED = {"B-other": OTHER_B, "low HeH": OTHER_B, "NUTM1-r": OTHER_B}
MIN_CLASS = 4
AML_NAMES = {"CEBPA (bZIP/biallelic)": "CEBPA"}
TCGA_NAMES = {
    *("PML::RARA", "CBFB::MYH11", "RUNX1::RUNX1T1", "KMT2A-r", "NPM1", "CEBPA (bZIP/biallelic)", "TP53-mutated"),
    *("other", "MR/complex", "NUP98-r", "BCR::ABL1"),
}
AML_KEPT = {"PML::RARA", "CBFB::MYH11", "RUNX1::RUNX1T1", "KMT2A-r AML", "NPM1", "CEBPA", "TP53-mutated"}


@dataclass(frozen=True)
class Cohort:
    """Samples with what is known of them; "" where unknown. ``group`` is the patient.

    ``kind`` is the lineage (B-ALL, T-ALL, Normal), "" also where the antigens contradict it.
    """

    table: ExpressionTable
    label: Names
    lineage: Names
    kind: Names
    group: Names
    cohort: Names


def read_expression(source: Path, scale: str) -> ExpressionTable:
    with tempfile.TemporaryDirectory() as folder:
        canonicalise(source, Path(folder), {"many": True, "scale": scale})
        return load_canonical(Path(folder))


def load_all(data: Path) -> Cohort:
    """The ALL and normal cohorts: CPM."""
    said = pd.read_csv(data / "expression" / "all_labels.csv").set_index("sample")
    table = read_expression(data / "expression" / ALL_FILE, "log10cpm")
    said = said.loc[list(table.samples)]
    label = said["label_raw"].map(MERGED).fillna(said["y"]).fillna("")
    group = said["patient"].fillna(pd.Series(said.index, index=said.index)).str.replace("_r$", "", regex=True)
    lineage = said["lineage"].fillna("")
    panel = load_genes().panels["all_panel"]
    difference = t_over_b(panel_ranks(table, panel, per_length=False, floor=0.0), panel)
    kind = lineage.mask((lineage == "B-ALL") & (difference > CONFLICT), "")
    return Cohort(table, *(_names(c) for c in (label, lineage, kind, group, said["cohort"])))


def load_aml(data: Path) -> Cohort:
    """TCGA-LAML: TPM."""
    said = pd.read_csv(data / "expression" / "aml_labels_and_labs.csv").set_index("sample")
    table = read_expression(data / "expression" / AML_FILE, "log2tpm")
    said = said.loc[list(table.samples)]
    label = said["who"].map(aml_label)
    same = pd.Series("TCGA-LAML", index=said.index)
    aml, none = same.map(lambda _: "AML"), same.map(lambda _: "")
    return Cohort(table, *(_names(c) for c in (label, aml, none, said.index.to_series(), same)))


def aml_label(who: str) -> str:
    """The label of a TCGA genetic subtype; those with too few cases, or that expression cannot see, are AML other."""
    name = {**AML_NAMES, "KMT2A-r": "KMT2A-r AML"}.get(who, who)
    return name if name in AML_KEPT else OTHER_AML


def raw_cohort(table: ExpressionTable) -> Cohort:
    """GSE228632 once more, as counted: what no batch correction has touched. Its people are those of ``load_all``."""
    panel = load_genes().panels["all_panel"]
    difference = t_over_b(panel_ranks(table, panel, per_length=False, floor=0.0), panel)
    ids = pd.Series([RAW_PREFIX + sample for sample in table.samples])
    people = pd.Series(table.samples).str.replace("-", ".").str.replace("_r$", "", regex=True)
    lineage = pd.Series("B-ALL", index=ids.index)
    kind = lineage.mask(difference > CONFLICT, "")
    table = replace(table, samples=tuple(ids))
    return Cohort(
        table,
        *(_names(c) for c in (lineage.map(lambda _: ""), lineage, kind, people, lineage.map(lambda _: LINEAGE_ONLY))),
    )


def load_raw(data: Path) -> ExpressionTable:
    """GSE228632 as raw counts: the lineage (B-ALL) is known, the subtype is not."""
    return read_expression(data / "expression" / RAW_FILE, "counts")


def _names(column: pd.Series) -> Names:
    return column.astype(str).to_numpy(dtype=object)


def write_gene_table(data: Path, target: Path = GENE_TABLE) -> None:
    """Derive ``genes.csv.gz`` from the panels of the two training matrices and the Ensembl annotation."""
    folder = data / "expression"
    known = pd.read_csv(folder / "genes_ensembl103.csv.gz").set_index("id")
    matrix = pd.read_csv(folder / ALL_FILE, index_col=0)
    once = known["name"].dropna()
    by_symbol = {name: gene for gene, name in once[~once.duplicated(keep=False)].items()}
    symbols = [RENAMED.get(s, s) for s in pd.read_csv(folder / AML_FILE, nrows=0).columns]
    aml = [str(by_symbol[s]) for s in symbols if s in by_symbol]
    reference = (10.0**matrix - 1).median(axis=1).round(3)
    columns = ["ensembl_id", "symbol", "length", "all_panel", "aml_panel", "reference_cpm"]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    for gene in [*matrix.index, *(g for g in aml if g not in set(matrix.index))]:
        name, length = known.loc[gene, "name"], known.loc[gene, "length"]
        panels = (int(gene in set(matrix.index)), int(gene in set(aml)))
        rows.writerow([gene, "" if pd.isna(name) else name, length, *panels, reference.get(gene, "")])
    with target.open("wb") as stream, gzip.GzipFile("", "wb", mtime=0, fileobj=stream) as packed:
        packed.write(text.getvalue().encode())
    load_genes.cache_clear()
