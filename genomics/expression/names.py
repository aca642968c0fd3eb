"""What else a gene of interest is called: approved, previous and alias symbols, Entrez ids, and dates.

``gene_names.csv.gz`` is derived from the HGNC complete set (genenames.org, CC0), as of June 2026, its Entrez ids as of
July 2024, and holds only the genes of the panels and of the quality checks. A name is in it only if it means one gene:
no previous symbol or alias that another gene has too, or that is another gene's approved symbol.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME_TABLE = Path(__file__).with_name("gene_names.csv.gz")
QUALITY_TABLE = Path(__file__).with_name("quality_genes.csv")
COLUMNS = {
    "symbol": "symbol",
    "entrez_id": "entrez",
    "prev_symbol": "previous",
    "alias_symbol": "alias",
}  # of HGNC: kind

# Spreadsheets turn symbols into dates (Ziemann et al. 2016, doi:10.1186/s13059-016-1044-7). Month → what such a symbol
# began with, and the numbers that there are.
MANGLED = {
    "mar": (("MARCH", range(1, 12)), ("MARC", range(1, 3))),
    "sep": (("SEPT", range(1, 15)), ("SEP", range(15, 16))),
    "dec": (("DEC", range(1, 3)),),
    "oct": (("OCT", range(1, 12)),),
}
MONTHS = {"03": "mar", "09": "sep", "10": "oct", "12": "dec"}
MONTH_NAME = "(?P<name>mar|sep|dec|oct)(ch|t|tember|ember|ober)?"
DATES = (
    re.compile(rf"(?P<day>\d{{1,2}})[-./ ]{MONTH_NAME}\.?([-./ ]\d{{2,4}})?", re.IGNORECASE),
    re.compile(rf"{MONTH_NAME}[-./ ](?P<day>\d{{1,2}})", re.IGNORECASE),
    re.compile(r"(19|20)\d\d-(?P<month>\d\d)-(?P<day>\d\d)( 00:00:00)?"),
)


@dataclass(frozen=True)
class QualityGene:
    """A gene that the quality checks look at. ``role``: female, male or globin; ``length`` in bp."""

    id: str
    symbol: str
    length: float
    role: str
    source: str


@lru_cache(maxsize=1)
def quality_genes() -> dict[str, QualityGene]:
    """Ensembl id → gene."""
    with QUALITY_TABLE.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {
        r["ensembl_id"]: QualityGene(r["ensembl_id"], r["symbol"], float(r["length"]), r["role"], r["source"])
        for r in rows
    }


@lru_cache(maxsize=1)
def other_names() -> dict[str, tuple[str, str]]:
    """Name → (Ensembl id, ``symbol``, ``previous``, ``alias`` or ``entrez``)."""
    with gzip.open(NAME_TABLE, "rt", encoding="utf-8", newline="") as stream:
        return {row["name"]: (row["ensembl_id"], row["kind"]) for row in csv.DictReader(stream)}


def undated(name: str) -> list[str]:
    """The symbols that a spreadsheet may have turned into this date (``1-Mar`` → MARCH1, MARC1); none for no date."""
    match = next((m for m in (date.fullmatch(name) for date in DATES) if m), None)
    if match is None:
        return []
    said = match.groupdict()
    month = said["name"].lower() if "name" in said else MONTHS.get(said["month"], "")
    day = int(said["day"])
    return [f"{stem}{day}" for stem, days in MANGLED.get(month, ()) if day in days]


# --- how the table is made --------------------------------------------------------------------------------------------


def write_gene_names(hgnc: Path, wanted: Mapping[str, str], target: Path = NAME_TABLE) -> int:
    """Derive ``gene_names.csv.gz`` from ``hgnc_complete_set.txt`` for ``wanted`` (Ensembl id → its known symbol).

    Returns how many names. ``write_gene_names(path, known_symbols())`` makes the table that is shipped.
    Columns used: symbol, alias_symbol, prev_symbol (separated by ``|``), entrez_id, ensembl_gene_id.
    """
    with hgnc.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    text = io.StringIO()
    said = csv.writer(text, lineterminator="\n")
    said.writerow(["name", "ensembl_id", "kind"])
    names = sorted((gene, kind, name) for name, gene, kind in _unique_names(rows) if wanted.get(gene, name) != name)
    said.writerows([name, gene, kind] for gene, kind, name in names)
    with target.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed:
        packed.write(text.getvalue().encode())
    other_names.cache_clear()
    return len(names)


def _unique_names(rows: list[dict[str, str]]) -> Iterator[tuple[str, str, str]]:
    """(name, Ensembl id, kind) of the names that mean one gene; a previous symbol is worth more than an alias."""
    taken = {row["symbol"] for row in rows}
    for column, kind in COLUMNS.items():
        each = [(name, row["ensembl_gene_id"]) for row in rows for name in _split(row[column])]
        uses = Counter(name for name, _ in each)
        for name, gene in each:
            if uses[name] == 1 and (column == "symbol" or name not in taken):
                yield name, gene, kind
        taken |= set(uses)


def _split(cell: str) -> set[str]:
    return {name.strip() for name in cell.strip('"').split("|") if name.strip()}
