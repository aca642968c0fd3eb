"""The genes that the models use: Ensembl id, symbol, length, panel; and what other tables call them.

``genes.csv.gz`` is derived from the public Ensembl 103 annotation, restricted to the two panels; ``reference_cpm`` is
the median over the ALL cohorts, a class statistic that the scale detection leans on.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

GENE_TABLE = Path(__file__).with_name("genes.csv.gz")
ENSEMBL = re.compile(r"(ENSG\d{11})(?:\.\d+)?(_PAR_Y)?")
RENAMED = {"GRASP": "TAMALIN", "DUSP27": "STYXL2"}  # symbols before and after HGNC's renaming
FOREIGN = (
    (re.compile(r"ENST\d{11}.*"), "transcript ids", "Sum the transcripts of each gene (tximport) and send gene ids."),
    (re.compile(r"ENS[A-Z]{3,4}G\d{11}.*"), "genes of another species", "Send human genes."),
    (re.compile(r"\d+"), "Entrez ids", "Map them to Ensembl ids or gene symbols (biomaRt, org.Hs.eg.db) first."),
    (re.compile(r".+_at"), "microarray probe sets", "Send RNA-seq counts; microarrays are not supported."),
    (re.compile(r"N[MR]_\d+.*"), "RefSeq transcript ids", "Sum them by gene and send Ensembl ids or gene symbols."),
)


@dataclass(frozen=True)
class Genes:
    """Parallel over the panel genes: ids, symbols (``""`` if none), length (bp), reference CPM (NaN if unknown)."""

    ids: tuple[str, ...]
    symbols: tuple[str, ...]
    length: npt.NDArray[np.float64]
    reference_cpm: npt.NDArray[np.float64]
    panels: dict[str, tuple[str, ...]]

    @cached_property
    def position(self) -> dict[str, int]:
        return {gene: k for k, gene in enumerate(self.ids)}

    def symbol(self, gene: str) -> str:
        return self.symbols[self.position[gene]] or gene


@lru_cache(maxsize=1)
def load_genes() -> Genes:
    with gzip.open(GENE_TABLE, "rt", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    panels = {p: tuple(r["ensembl_id"] for r in rows if r[p] == "1") for p in ("all_panel", "aml_panel")}
    both = set(panels["aml_panel"])
    panels["lineage_panel"] = tuple(gene for gene in panels["all_panel"] if gene in both)
    return Genes(
        ids=tuple(r["ensembl_id"] for r in rows),
        symbols=tuple(r["symbol"] for r in rows),
        length=np.array([float(r["length"]) for r in rows]),
        reference_cpm=np.array([float(r["reference_cpm"] or "nan") for r in rows]),
        panels=panels,
    )


@lru_cache(maxsize=1)
def _by_symbol() -> dict[str, str]:
    genes = load_genes()
    uses = Counter(genes.symbols)
    named = {s: g for g, s in zip(genes.ids, genes.symbols, strict=True) if s and uses[s] == 1}
    return named | {old: named[new] for old, new in RENAMED.items() if new in named}


def panel_gene(name: str) -> str | None:
    """The panel's Ensembl id for an Ensembl id (with or without version) or a symbol; None for every other gene."""
    if match := ENSEMBL.fullmatch(name):
        return match[1] if match[1] in load_genes().position else None
    return _by_symbol().get(name)  # case matters: Cd19 is the mouse's


def gene_share(names: Sequence[str]) -> float:
    """The share of ``names`` that are plainly gene names: Ensembl ids of any gene, symbols of the panel."""
    return sum(bool(ENSEMBL.fullmatch(n)) or panel_gene(n) is not None for n in names) / max(len(names), 1)


def id_type(names: Sequence[str]) -> str:
    ensembl = [n for n in names if ENSEMBL.fullmatch(n)]
    if 2 * len(ensembl) < len(names):
        return "symbol"
    return "ensembl_version" if any("." in n for n in ensembl) else "ensembl"


def foreign_kind(names: Sequence[str]) -> tuple[str, str] | None:
    """(what they are, what to do) where most of ``names`` are ids that we know and do not take."""
    for pattern, what, remedy in FOREIGN:
        if 2 * sum(bool(pattern.fullmatch(n)) for n in names) > len(names):
            return what, remedy
    return None
