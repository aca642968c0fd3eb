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

from genomics.expression.names import other_names, quality_genes, undated

if TYPE_CHECKING:
    from collections.abc import Sequence

GENE_TABLE = Path(__file__).with_name("genes.csv.gz")
ENSEMBL = re.compile(r"(ENSG\d{11})(?:\.\d+)?(_PAR_Y)?(?:[_:;][A-Za-z][\w.-]*)?")  # ENSG00000141510.18_TP53, too
MAX_DATE = 24  # letters: longer names are no dates
RENAMED = {"GRASP": "TAMALIN", "DUSP27": "STYXL2"}  # symbols before and after HGNC's renaming
FOREIGN = (
    (re.compile(r"ENST\d{11}.*"), "transcript ids", "Sum the transcripts of each gene (tximport) and send gene ids."),
    (re.compile(r"ENS[A-Z]{3,4}G\d{11}.*"), "genes of another species", "Send human genes."),
    (re.compile(r"\d+"), "numbers that are no Entrez ids of its genes", "Send Ensembl or Entrez gene ids, or symbols."),
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
def _by_name() -> dict[str, tuple[str, str]]:
    """Name → (Ensembl id, kind) of the panels and the quality checks; Ensembl's symbols are worth more than HGNC's."""
    genes = load_genes()
    uses = Counter(genes.symbols)
    named = {s: (g, "symbol") for g, s in zip(genes.ids, genes.symbols, strict=True) if s and uses[s] == 1}
    named |= {gene.symbol: (gene.id, "symbol") for gene in quality_genes().values()}
    said = other_names() | named
    r_names = {name.replace("-", "."): gene for name, gene in said.items() if "-" in name}  # as R writes HLA-A
    return r_names | said


def find_gene(name: str) -> tuple[str, str] | None:
    """(Ensembl id, how it is named) of a gene of the panels or the quality checks; None for every other gene.

    ``name`` is an Ensembl id with or without version, a symbol (also previous, alias, or made a date), an Entrez id, or
    several of them with ``|`` between (``TP53|7157``, GENCODE's transcripts). Kinds: ensembl, transcript, symbol,
    previous, alias, entrez, date. Case matters: Cd19 is the mouse's.
    """
    if match := ENSEMBL.fullmatch(name):
        return (match[1], "ensembl") if match[1] in _of_interest() else None
    if name in _by_name():
        return _by_name()[name]
    if "|" in name:
        found = [gene for gene in map(find_gene, name.split("|")) if gene]
        return (found[0][0], "transcript" if name.startswith("ENST") else found[0][1]) if found else None
    meant = undated(name) if len(name) < MAX_DATE else []
    return (_by_name()[meant[0]][0], "date") if len(meant) == 1 and meant[0] in _by_name() else None


def known_symbols() -> dict[str, str]:
    """Ensembl id → Ensembl's symbol, of the panels and the quality checks."""
    genes = load_genes()
    known = dict(zip(genes.ids, genes.symbols, strict=True))
    return known | {gene.id: gene.symbol for gene in quality_genes().values()}


@lru_cache(maxsize=1)
def _of_interest() -> frozenset[str]:
    return frozenset(load_genes().position) | frozenset(quality_genes())


def panel_gene(name: str) -> str | None:
    """The panel's Ensembl id for any name that ``find_gene`` knows; None for every other gene."""
    found = find_gene(name)
    return found[0] if found and found[0] in load_genes().position else None


def is_gene(name: str) -> bool:
    """Whether ``name`` is plainly a gene's: an Ensembl id of any human gene, or what ``find_gene`` knows."""
    return bool(ENSEMBL.fullmatch(name.split("|", 2)[1] if name.startswith("ENST") and "|" in name else name)) or (
        find_gene(name) is not None
    )


def gene_share(names: Sequence[str]) -> float:
    """The share of ``names`` that are plainly gene names."""
    return sum(map(is_gene, names)) / max(len(names), 1)


def id_type(names: Sequence[str]) -> str:
    """``ensembl``, ``ensembl_version``, ``entrez``, ``transcript`` (GENCODE, with their genes) or ``symbol``."""
    ensembl = [n for n in names if ENSEMBL.fullmatch(n)]
    if 2 * len(ensembl) >= len(names):
        return "ensembl_version" if any("." in n for n in ensembl) else "ensembl"
    for kind, is_kind in (("entrez", str.isdigit), ("transcript", lambda n: n.startswith("ENST"))):
        if 2 * sum(map(is_kind, names)) > len(names):
            return kind
    return "symbol"


def foreign_kind(names: Sequence[str]) -> tuple[str, str] | None:
    """(what they are, what to do) where most of ``names`` are ids that we know and do not take."""
    for pattern, what, remedy in FOREIGN:
        if 2 * sum(bool(pattern.fullmatch(n)) for n in names) > len(names):
            return what, remedy
    return None
