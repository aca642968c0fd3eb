"""Excel workbooks (.xlsx) → lines of text, row by row and in bounded memory, so that one reader reads them all.

A formula is never computed nor its stored value believed: the cell keeps its ``=`` and is refused as no number.
"""

from __future__ import annotations

import datetime as dt
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from genomics.packed import MAX_BYTES
from ml.findings import InputRejected

if TYPE_CHECKING:
    from pathlib import Path

MAX_ROWS = 300_000
MAX_CELLS = 12_000_000
MAX_STRINGS = 60_000_000  # bytes of the table of strings, which is read at once
DAMAGED = (KeyError, ValueError, TypeError, AttributeError, EOFError, SyntaxError, zlib.error, zipfile.BadZipFile)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Rows = list[tuple[int, list[str]]]


def sheet_lines(source: Path, sheet: str | None = None) -> tuple[str, list[tuple[int, str]]]:
    """(place, [(row number, tab-separated text)]) of the one sheet that has values, or of ``sheet``.

    Titles above the table are left out. Raises InputRejected: ``too_large`` (also a bomb), ``wrong_type`` (damaged),
    ``several_sheets``, ``unknown_sheet``; a sheet without values gives no line.
    """
    _check_size(source)
    try:
        with warnings.catch_warnings(), source.open("rb") as raw:
            warnings.simplefilter("ignore", UserWarning)  # styles and validations that openpyxl leaves out
            book = load_workbook(raw, read_only=True, keep_links=False)
            found = {s.title: _rows(s, source.name) for s in book.worksheets if sheet in (None, s.title)}
    except (*DAMAGED, InvalidFileException) as broken:
        raise InputRejected(
            "wrong_type",
            place=source.name,
            problem="The Excel workbook is incomplete or damaged.",
            remedy="Save it again, or export it as CSV or TSV.",
        ) from broken
    title, rows = _choose(found, sheet, source.name)
    place = f"{source.name}, sheet {title!r}" if title else source.name
    return place, _lines(_without_title(rows))


def _check_size(source: Path) -> None:
    """The zipfile module gives out no more bytes than an entry states, so that what is stated can be summed."""
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
    strings = sum(entry.file_size for entry in entries if entry.filename.endswith("sharedStrings.xml"))
    if sum(entry.file_size for entry in entries) > MAX_BYTES or strings > MAX_STRINGS:
        raise _too_large(source.name, f"Unpacked, the workbook is larger than {MAX_BYTES // 10**6} MB")


def _too_large(place: str, problem: str) -> InputRejected:
    remedy = "Send one sample a file, or the table as TSV (.tsv.gz)."
    return InputRejected("too_large", place=place, problem=f"{problem}.", remedy=remedy)


def _rows(sheet: Any, name: str) -> Rows:
    """(row number, cells) of the rows that say something."""
    sheet.reset_dimensions()  # what the file states about its size is not believed
    rows: Rows = []
    cells = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row)
        if number > MAX_ROWS or cells > MAX_CELLS:
            limit = f"More than {MAX_ROWS:,} rows or {MAX_CELLS:,} cells"
            raise _too_large(f"{name}, sheet {sheet.title!r}, row {number}", limit)
        if any(value is not None for value in row):
            rows.append((number, [_text(value) for value in row]))
    return rows


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dt.datetime | dt.date):
        return f"{value.day}-{MONTHS[value.month - 1]}"  # as the spreadsheet shows MARCH1
    return str(value) if isinstance(value, str) else f"={getattr(value, 'text', '')}"


def _choose(found: dict[str, Rows], sheet: str | None, name: str) -> tuple[str, Rows]:
    full = {title: rows for title, rows in found.items() if rows}
    if sheet is not None and sheet not in found:
        raise InputRejected(
            "unknown_sheet",
            place="option sheet",
            problem=f"{name} has no sheet {sheet!r}.",
            remedy="Name one of its sheets.",
        )
    if len(full) > 1:
        raise InputRejected(
            "several_sheets",
            place=name,
            problem=f"{len(full)} sheets have values: {', '.join(map(repr, list(full)[:5]))}.",
            remedy="Name the one to read with the option `sheet`, or send a workbook of one sheet.",
        )
    return next(iter(full.items()), ("", []))


def _without_title(rows: Rows) -> Rows:
    """The rows from the first one with two cells on, where there is such a row."""
    said = (k for k, (_, row) in enumerate(rows) if sum(map(bool, row)) > 1)
    return rows[next(said, 0) :]


def _lines(rows: Rows) -> list[tuple[int, str]]:
    width = max((len(row) for _, row in rows), default=0)
    while width and not any(len(row) >= width and row[width - 1] for _, row in rows):
        width -= 1
    return [(number, "\t".join(_quoted(cell) for cell in (row + [""] * width)[:width])) for number, row in rows]


def _quoted(cell: str) -> str:
    cell = " ".join(cell.split()) if cell.strip() != cell or any(c in cell for c in "\t\r\n") else cell
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if '"' in cell else cell
