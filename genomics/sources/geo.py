"""NCBI Gene Expression Omnibus: a series' matrices, and the supplementary files where authors put counts of RNA-seq.

A series lies at https://ftp.ncbi.nlm.nih.gov/geo/series/GSE227nnn/GSE227832/, its matrices (one a platform) in
``matrix/``, the authors' files in ``suppl/``. GEO states no sums: gzip's own CRC is checked, and SHA256SUMS is kept.
https://www.ncbi.nlm.nih.gov/geo/info/soft.html (SOFT attributes, which a matrix repeats).
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from genomics.packed import MAX_BYTES
from genomics.sources.download import Remote, ask, fetch_all
from ml.findings import InputRejected

BASE = "https://ftp.ncbi.nlm.nih.gov/geo/series"
ACCESSION = re.compile(r"GSE\d{1,9}")
MATRIX = re.compile(r"GSE\d+(-GPL\d+)?_series_matrix\.txt\.gz")
TABLE_BEGINS, TABLE_ENDS = "!series_matrix_table_begin", "!series_matrix_table_end"

Sleep = Callable[[float], None]


@dataclass(frozen=True)
class SeriesMatrix:
    """``series``: attribute → its values; ``samples``: a row a sample (GSM), characteristics as columns of their own;
    ``values``: ids × samples, without a row where the authors sent their values as supplementary files.
    """

    series: dict[str, list[str]]
    samples: pd.DataFrame
    values: pd.DataFrame


def series_folder(accession: str, base: str = BASE) -> str:
    """The address of a series. InputRejected (bad_accession) for what is none."""
    if not ACCESSION.fullmatch(accession):
        raise InputRejected(
            "bad_accession",
            place=f"accession {accession!r}",
            problem="This is no accession of a GEO series.",
            remedy="Name one like GSE227832.",
        )
    number = accession.removeprefix("GSE")
    return f"{base}/GSE{number[:-3]}nnn/{accession}"


def fetch_series(
    client: httpx.Client,
    accession: str,
    out: Path,
    *,
    base: str = BASE,
    supplementary: bool = False,
    sleep: Sleep = time.sleep,
) -> dict[str, Any]:
    """Fetch the matrices of a series to ``out``, and with ``supplementary`` its other files; call it again to go on.

    Written: ``matrix/``, ``suppl/``, ``samples.tsv``, ``values_NAME.tsv.gz`` for each matrix that has values, and
    ``source.json``, which is returned. Raises InputRejected as ``fetch_all``, and bad_accession, bad_matrix.
    """
    folder = series_folder(accession, base)
    remotes = [
        Remote(f"{folder}/matrix/{name}", f"matrix/{name}") for name in _listed(client, f"{folder}/matrix/", sleep)
    ]
    remotes = [remote for remote in remotes if MATRIX.fullmatch(Path(remote.path).name)]
    if not remotes:
        raise InputRejected(
            "not_found",
            place=f"{folder}/matrix/",
            problem="The series has no matrix.",
            remedy="Check the accession; a series that is not released yet has none.",
        )
    count = len(remotes)
    if supplementary:
        names = _listed(client, f"{folder}/suppl/", sleep)
        remotes += [Remote(f"{folder}/suppl/{name}", f"suppl/{name}") for name in names]
    out.mkdir(parents=True, exist_ok=True)
    paths = fetch_all(client, remotes, out, what=f"GEO {accession}", sleep=sleep)
    said = _write(out, [(path, read_series_matrix(path)) for path in paths[:count]])
    said = {"source": folder, "accession": accession, "fetched": time.strftime("%Y-%m-%d"), **said}
    said["supplementary"] = [remote.path for remote in remotes[count:]]
    (out / "source.json").write_text(json.dumps(said, indent=1, ensure_ascii=False), "utf-8")
    return said


def _write(out: Path, matrices: list[tuple[Path, SeriesMatrix]]) -> dict[str, Any]:
    samples = pd.concat([matrix.samples for _, matrix in matrices])
    samples.to_csv(out / "samples.tsv", sep="\t", index_label="sample", lineterminator="\n")
    written = []
    for path, matrix in matrices:
        if len(matrix.values):
            name = f"values_{path.name.removesuffix('_series_matrix.txt.gz')}.tsv.gz"
            matrix.values.to_csv(out / name, sep="\t", compression={"method": "gzip", "mtime": 0})
            written.append(name)
    title = next(iter(matrices[0][1].series.get("title", [])), "")
    return {"title": title, "samples": len(samples), "values": written}


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        link = dict(attrs).get("href") or ""
        if tag == "a" and re.fullmatch(r"[\w.+-]+", link) and not link.startswith("."):  # a file of this folder
            self.names.append(link)


def _listed(client: httpx.Client, address: str, sleep: Sleep) -> list[str]:
    """The names of the files in a folder, from the page that lists it."""
    page = _Links()
    page.feed(ask(client, address, sleep=sleep).text)
    return sorted(set(page.names))


# --- reading ----------------------------------------------------------------------------------------------------------


def read_series_matrix(path: Path) -> SeriesMatrix:
    """A ``series_matrix.txt.gz``. Raises InputRejected (bad_matrix, too_large) with the line."""
    series: dict[str, list[str]] = {}
    samples: list[tuple[str, list[str]]] = []
    table: list[list[str]] = []
    inside = ended = False
    for number, cells in _rows(path):
        first = cells[0]
        if first in (TABLE_BEGINS, TABLE_ENDS):
            inside, ended = first == TABLE_BEGINS, first == TABLE_ENDS
        elif inside:
            if table and len(cells) != len(table[0]):
                raise _bad(path, number, f"{len(cells)} cells where the header has {len(table[0])}")
            table.append(cells)
        elif first.startswith("!Series_"):
            series.setdefault(first.removeprefix("!Series_"), []).extend(cells[1:])
        elif first.startswith("!Sample_"):
            samples.append((first.removeprefix("!Sample_"), cells[1:]))
    if not table or not ended:
        raise _bad(path, 0, "its table does not begin, or does not end")
    names = table[0][1:]
    return SeriesMatrix(series, _samples(samples, names, path), _values(table, path))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    size = 0
    with gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="") as stream:
        for number, line in enumerate(stream, start=1):
            size += len(line)
            if size > MAX_BYTES:
                remedy = "Take the authors' supplementary files instead."
                problem = f"Unpacked, the matrix is larger than {MAX_BYTES // 10**6} MB."
                raise InputRejected("too_large", place=f"{path.name}, line {number}", problem=problem, remedy=remedy)
            if line.strip():
                yield number, next(csv.reader([line.rstrip("\r\n")], delimiter="\t"))


def _samples(rows: list[tuple[str, list[str]]], names: list[str], path: Path) -> pd.DataFrame:
    """A row a sample. ``characteristics_ch1`` holds "age: 5" in any order, which becomes a column ``age``."""
    frame: dict[str, list[str]] = {}
    for attribute, cells in rows:
        if len(cells) != len(names):
            raise _bad(path, 0, f"{len(cells)} samples in {attribute}, and {len(names)} in the table")
        for k, cell in enumerate(cells):
            named = attribute.startswith("characteristics") and ": " in cell
            key, _, value = cell.partition(": ") if named else (attribute, "", cell)
            column = frame.setdefault(key.strip() or attribute, [""] * len(names))
            column[k] = (
                f"{column[k]}; {value}" if column[k] and value and value not in column[k] else column[k] or value
            )
    return pd.DataFrame(frame, index=pd.Index(names, name="sample"))


def _values(table: list[list[str]], path: Path) -> pd.DataFrame:
    ids = [row[0] for row in table[1:]]
    cells = pd.DataFrame([row[1:] for row in table[1:]], index=pd.Index(ids, name=table[0][0]), columns=table[0][1:])
    try:
        return cells.replace({"": None, "null": None, "NULL": None}).astype(float)
    except ValueError as broken:
        raise _bad(path, 0, str(broken)) from broken


def _bad(path: Path, line: int, what: str) -> InputRejected:
    return InputRejected(
        "bad_matrix",
        place=f"{path.name}, line {line}" if line else path.name,
        problem=f"This is no whole series matrix: {what}.",
        remedy="Fetch it again; if it stays so, tell GEO.",
    )
