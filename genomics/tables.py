"""Foreign text tables, read with bounds: gzip, encodings, delimiters, decimal marks, and where exactly one is bad."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ml.findings import InputRejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Array = npt.NDArray[np.float64]

MAX_BYTES = 400_000_000  # decompressed
MAX_LINE = 8_000_000  # 60,000 genes in one line are about 1 MB
MAX_LINES = 300_000
DELIMITERS = "\t;,|"
NOT_TEXT = {
    b"PK\x03\x04": "an Excel or zip file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
}
MISSING = {"", "na", "nan", "n/a", "null", "none", "-", "."}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_bytes(source: Path) -> bytes:
    """The bytes of a file, decompressed where it is gzip, never more than MAX_BYTES of them."""
    try:
        with source.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(source) if packed else source.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as broken:
        raise InputRejected(
            "truncated",
            place=source.name,
            problem="The gzip file is incomplete or damaged.",
            remedy="Export or upload it again.",
        ) from broken
    if len(data) > MAX_BYTES:
        raise InputRejected(
            "too_large",
            place=source.name,
            problem=f"The table is larger than {MAX_BYTES // 10**6} MB.",
            remedy="Send fewer samples a file.",
        )
    return data


def decode(data: bytes, name: str) -> str:
    """Bytes → text: UTF-8 or UTF-16 by their mark, else Windows-1252. Rejects what is no text."""
    for magic, what in NOT_TEXT.items():
        if data.startswith(magic):
            raise InputRejected(
                "wrong_type",
                place=name,
                problem=f"This is {what}, not a text table.",
                remedy="Export it as CSV or TSV.",
            )
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text or text.count("\ufffd") > len(text) // 100:
        raise InputRejected(
            "wrong_type", place=name, problem="This is no text file.", remedy="Export it as CSV or TSV in UTF-8."
        )
    return text


def split_lines(text: str, name: str) -> list[tuple[int, str]]:
    """(line number in the file, line) of the lines that say something; leading ``#`` comments are left out."""
    longest = text.find("\n", 0, MAX_LINE)
    if longest < 0 and len(text) > MAX_LINE:
        raise _line_too_long(name, 1)
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > MAX_LINE:
            raise _line_too_long(name, number)
        if line.strip(" \t\r,;|") and not (line.startswith("#") and not lines):
            lines.append((number, line))
    if not lines:
        raise InputRejected(
            "empty",
            place=name,
            problem="The file holds no table.",
            remedy="Check the export; send the file that has values.",
        )
    if len(lines) > MAX_LINES:
        raise InputRejected(
            "too_large",
            place=name,
            problem=f"More than {MAX_LINES} lines.",
            remedy="Send a table of genes and samples.",
        )
    return lines


def _line_too_long(name: str, number: int) -> InputRejected:
    return InputRejected(
        "line_too_long",
        place=f"{name}, line {number}",
        problem=f"One line is longer than {MAX_LINE // 10**6} MB.",
        remedy="Write one gene (or one sample) a line.",
    )


def find_delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)


@dataclass(frozen=True)
class Table:
    """A header and its rows, all text. Rows are (line number, cells), every one as wide as the header."""

    name: str
    header: list[str]
    lines: list[tuple[int, str]]
    delimiter: str

    def first_cells(self) -> list[str]:
        """The first cell of every row, without parsing the rest."""
        return [line.split(self.delimiter, 1)[0].strip().strip('"').strip() for _, line in self.lines]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        parsed = csv.reader((line for _, line in self.lines), delimiter=self.delimiter, strict=True)
        last = self.lines[-1][0] if self.lines else 0
        for number, _ in self.lines:
            try:
                cells = next(parsed)
            except (csv.Error, StopIteration) as broken:
                raise self._bad_row(number, "A quotation mark is not closed.") from broken
            if len(cells) != len(self.header):
                cut = " The file ends inside this row." if number == last and len(cells) < len(self.header) else ""
                raise self._bad_row(number, f"{len(cells)} cells where the header has {len(self.header)}.{cut}")
            yield number, [cell.strip() for cell in cells]

    def _bad_row(self, number: int, problem: str) -> InputRejected:
        return InputRejected(
            "ragged_row",
            place=f"{self.name}, line {number}",
            problem=problem,
            remedy="Export the table again; every row needs the same cells.",
        )


def read_table(source: Path) -> Table:
    """A table of ``source``: header and rows. Raises InputRejected (empty, header_only, truncated, wrong_type …)."""
    lines = split_lines(decode(read_bytes(source), source.name), source.name)
    delimiter = find_delimiter(lines[0][1])
    csv.field_size_limit(MAX_LINE)
    header = [cell.strip() for cell in next(csv.reader([lines[0][1]], delimiter=delimiter))]
    if len(lines) == 1:
        raise InputRejected(
            "header_only",
            place=source.name,
            problem="There is a header and not one row of values.",
            remedy="Export the table again, with its values.",
        )
    if len(next(csv.reader([lines[1][1]], delimiter=delimiter))) == len(header) + 1:
        header = ["", *header]  # as R's write.table leaves it
    return Table(source.name, header, lines[1:], delimiter)


def uses_decimal_comma(cells: Sequence[str], name: str) -> bool:
    """Whether ``cells`` write 1,5 for one and a half. Rejects what could as well be thousands (1,500)."""
    commas = [cell for cell in cells if "," in cell]
    if not commas:
        return False
    if all(re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", cell) for cell in commas):
        raise InputRejected(
            "ambiguous_decimal",
            place=name,
            problem=f"{commas[0]!r} can be a decimal fraction or thousands.",
            remedy="Write numbers with a decimal point and without thousands separators.",
        )
    return True


def to_numbers(cells: Sequence[str], columns: Sequence[str], place: str, *, decimal_comma: bool = False) -> Array:
    """Text cells → finite numbers. ``place`` names file and row; the column of the first bad cell is added to it."""
    if decimal_comma:
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if np.isfinite(values).all() and not any("_" in cell for cell in cells):
        return values
    for cell, column in zip(cells, columns, strict=True):
        if not NUMBER.fullmatch(cell) or not np.isfinite(float(cell)):
            raise _bad_number(cell, f"{place}, column {column!r}")
    return np.array(cells, dtype=np.float64)


def _bad_number(cell: str, place: str) -> InputRejected:
    if cell.lower() in MISSING:
        return InputRejected(
            "missing_value",
            place=place,
            problem=f"The value is missing ({cell!r}); a missing value is not a zero.",
            remedy="Leave the whole gene out, or give its measured value.",
        )
    if cell.lower().lstrip("+-") in ("inf", "infinity"):
        return InputRejected(
            "infinite",
            place=place,
            problem="The value is infinite.",
            remedy="Export the counts or TPM before any division.",
        )
    return InputRejected(
        "not_a_number",
        place=place,
        problem=f"{cell[:40]!r} is no number.",
        remedy="Correct the cell, or remove the text column.",
    )
