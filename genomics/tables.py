"""Foreign tables, read with bounds: encodings, delimiters, workbooks, decimal marks, and where exactly one is bad."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from genomics.packed import is_workbook, read_bytes
from genomics.sheets import sheet_lines
from ml.findings import InputRejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Array = npt.NDArray[np.float64]

__all__ = [
    "MISSING",
    "Array",
    "Table",
    "decode",
    "find_decimal_comma",
    "plain_numbers",
    "read_bytes",
    "read_table",
    "to_numbers",
    "uses_decimal_comma",
]

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
COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
FORMULA = re.compile(r"[=@].*|[+-][A-Za-z(].*", re.DOTALL)


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
    """(line number in the file, line) of the lines that say something.

    Left out: ``#`` comments above the table, and lines with ``!``, which are what GEO says around its matrices.
    """
    if text.find("\n", 0, MAX_LINE) < 0 and len(text) > MAX_LINE:
        raise _line_too_long(name, 1)
    if text.count("\n") > 2 * MAX_LINES:  # before a list of them is made
        raise _too_many_lines(name)
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > MAX_LINE:
            raise _line_too_long(name, number)
        if line.strip(" \t\r,;|") and not line.startswith("!" if lines else ("#", "!")):
            lines.append((number, line))
    if len(lines) > MAX_LINES:
        raise _too_many_lines(name)
    return lines


def _empty(name: str) -> InputRejected:
    return InputRejected(
        "empty",
        place=name,
        problem="The file holds no table.",
        remedy="Check the export; send the file that has values.",
    )


def _too_many_lines(name: str) -> InputRejected:
    return InputRejected(
        "too_large",
        place=f"{name}, line {MAX_LINES + 1}",
        problem=f"More than {MAX_LINES:,} lines.",
        remedy="Send a table of genes and samples: a line a gene, or a line a sample.",
    )


def _line_too_long(name: str, number: int) -> InputRejected:
    return InputRejected(
        "line_too_long",
        place=f"{name}, line {number}",
        problem=f"One line is longer than {MAX_LINE // 10**6} MB.",
        remedy="Write one gene (or one sample) a line.",
    )


def find_delimiter(header: str, row: str = "") -> str:
    """The delimiter that the header has most of; where it has none, the row's; blanks (R's write.table) at last."""
    for line in (header, row):
        best = max(DELIMITERS, key=line.count)
        if best in line:
            return best
    return " " if " " in header or " " in row else DELIMITERS[0]


@dataclass(frozen=True)
class Table:
    """A header and its rows, all text. Rows are (line number, cells), every one as wide as the header."""

    name: str
    header: list[str]
    lines: list[tuple[int, str]]
    delimiter: str
    header_line: tuple[int, str] = (1, "")

    def first_cells(self) -> list[str]:
        """The first cell of every row, without parsing the rest."""
        return [line.split(self.delimiter, 1)[0].strip().strip('"').strip() for _, line in self.lines]

    def rows(self, *, strip: bool = True) -> Iterator[tuple[int, list[str]]]:
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
            yield number, [cell.strip() for cell in cells] if strip else cells

    def with_header(self, header: list[str]) -> Table:
        """The same where the first line is no header but a row: it becomes one, below ``header``."""
        return replace(self, header=header, lines=[self.header_line, *self.lines])

    def without_header(self) -> Table:
        """The same where the header is none and the first row is the true one."""
        number, cells = next(self.rows())
        return replace(self, header=cells, lines=self.lines[1:], header_line=(number, self.lines[0][1]))

    def _bad_row(self, number: int, problem: str) -> InputRejected:
        return InputRejected(
            "ragged_row",
            place=f"{self.name}, line {number}",
            problem=problem,
            remedy="Export the table again; every row needs the same cells.",
        )


def read_table(source: Path, sheet: str | None = None) -> Table:
    """A table of ``source``: header and rows; of a workbook, those of its only ``sheet`` with values or the one named.

    Raises InputRejected (empty, header_only, truncated, wrong_type, too_large, line_too_long, several_sheets …).
    """
    if is_workbook(source):
        name, lines = sheet_lines(source, sheet)
        delimiter = "\t"
    else:
        name, lines = source.name, split_lines(decode(read_bytes(source), source.name), source.name)
        delimiter = find_delimiter(*(line for _, line in lines[:2])) if lines else ""
    if not lines:
        raise _empty(name)
    csv.field_size_limit(MAX_LINE)
    header = [cell.strip() for cell in next(csv.reader([lines[0][1]], delimiter=delimiter))]
    if len(lines) == 1:
        raise InputRejected(
            "header_only",
            place=name,
            problem="There is a header and not one row of values.",
            remedy="Export the table again, with its values.",
        )
    if len(next(csv.reader([lines[1][1]], delimiter=delimiter))) == len(header) + 1:
        header = ["", *header]  # as R's write.table leaves it
    return Table(name, header, lines[1:], delimiter, lines[0])


def uses_decimal_comma(cells: Sequence[str], name: str) -> bool:
    """Whether ``cells`` write 1,5 for one and a half. Rejects what could as well be thousands (1,500)."""
    commas = [cell for cell in cells if "," in cell]
    if not commas:
        return False
    if all(re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", cell) for cell in commas):
        raise _ambiguous(commas[0], name)
    return True


def find_decimal_comma(text: Table, columns: Sequence[int]) -> bool:
    """Whether the numbers in ``columns`` of the whole table are written 1,5 for one and a half.

    Raises InputRejected: ``mixed_decimal`` where 1.5 is there too, ``ambiguous_decimal`` where every comma may as well
    stand between thousands (1,500). Tables with commas between the cells have none within.
    """
    if text.delimiter == "," or not any("," in line for _, line in text.lines):
        return False
    first: dict[str, tuple[str, str]] = {}
    for number, cells in text.rows():
        for k in columns:
            if kind := _mark(cells[k]):
                first.setdefault(kind, (cells[k], f"{text.name}, line {number}, column {text.header[k]!r}"))
    if "comma" in first and "point" in first:
        (cell, place), (other, where) = (first[kind] for kind in sorted(first.keys() & {"comma", "point"}))
        raise InputRejected(
            "mixed_decimal",
            place=place,
            problem=f"{cell!r} has a decimal comma, and {other!r} ({where}) a decimal point.",
            remedy="Write all numbers with a decimal point and without thousands separators.",
        )
    if "either" in first and "comma" not in first:
        raise _ambiguous(*first["either"])
    return "comma" in first


def _mark(cell: str) -> str:
    """``comma`` or ``point`` for a decimal fraction, ``either`` for what may be thousands, "" for other cells."""
    if "," in cell:
        return "either" if THOUSANDS.fullmatch(cell) else "comma" * bool(COMMA_NUMBER.fullmatch(cell))
    return "point" if "." in cell and NUMBER.fullmatch(cell) else ""


def _ambiguous(cell: str, place: str) -> InputRejected:
    return InputRejected(
        "ambiguous_decimal",
        place=place,
        problem=f"{cell!r} can be a decimal fraction or thousands.",
        remedy="Write numbers with a decimal point and without thousands separators.",
    )


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


def plain_numbers(cells: Sequence[str]) -> Array | None:
    """``cells`` as finite numbers, fast; None where one of them is none, and ``to_numbers`` can say which."""
    if "_" in "".join(cells):  # Python reads 1_000 as a number; nobody else does
        return None
    try:
        values = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _bad_number(cell: str, place: str) -> InputRejected:
    if cell.lower() in MISSING:
        return InputRejected(
            "missing_value",
            place=place,
            problem=f"The value is missing ({cell!r}); a missing value is not a zero.",
            remedy="Leave the whole gene out, or give its measured value.",
        )
    if cell.lower().lstrip("+-") in ("inf", "infinity") or NUMBER.fullmatch(cell):  # or 1e999
        return InputRejected(
            "infinite",
            place=place,
            problem="The value is infinite.",
            remedy="Export the counts or TPM before any division.",
        )
    if FORMULA.fullmatch(cell):
        return InputRejected(
            "formula",
            place=place,
            problem=f"The cell holds a formula ({cell[:40]!r}), not its value.",
            remedy="In the spreadsheet, copy the table and paste it as values; then save it again.",
        )
    return InputRejected(
        "not_a_number",
        place=place,
        problem=f"{cell[:40]!r} is no number.",
        remedy="Correct the cell, or remove the text column.",
    )
