"""What a file is, by its content alone: an image of a field or of a single cell, a table of genes or of laboratory
values, or a text. Runs where readers run: in a capped child process, without Django.
"""

from __future__ import annotations

import contextlib
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from genomics.expression.genes import is_gene
from genomics.labs.tabular import NAME_COLUMNS, VALUE_COLUMNS, column, header
from genomics.tables import Table, decode, read_bytes, read_table
from ml.findings import InputRejected

if TYPE_CHECKING:
    from pathlib import Path

LEAST_GENES = 20
LEAST_ANALYTES = 3
LOOKED = 2000  # lines and columns
IMAGE_HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF8", b"RIFF")
PROSE = re.compile(r"[^\W\d_]{2,}[^\n]*?\s[^\W\d_]{2,}")  # two words in a row
CELL_AT_MOST = 7.0  # red cells across an image: cut-out cells have up to 5.3, fields of an objective 100× from 8.9 on


def recognise(source: Path, _target: Path, options: dict[str, Any]) -> dict[str, Any]:
    """{kind}: one of smear_field, smear_cell, expression, labs, history. Raises InputRejected where nothing fits.

    ``options["name"]`` is what the person calls the file.
    """
    name = str(options.get("name") or source.name)
    with source.open("rb") as stream:
        head = stream.read(132)
    if not head:
        raise InputRejected("empty", place=name, problem="The file is empty.", remedy="Export it again.")
    if head.startswith(IMAGE_HEADS) or head[128:132] == b"DICM":
        return {"kind": _kind_of_image(source, name)}
    if head.startswith(b"%PDF"):
        raise _unknown(name, "This is a PDF; no reader here takes findings from one.")
    return {"kind": _kind_of_text(source, name)}


def _kind_of_image(source: Path, name: str) -> str:
    from ml.images import read_image  # noqa: PLC0415 (a text needs none of it)
    from ml.white_cells import find_cells  # noqa: PLC0415

    frames, _ = read_image(source, name)
    image = next(iter(frames))
    found = find_cells(image)
    if found.red_diameter and found.measured:
        return "smear_cell" if min(image.shape[:2]) / found.red_diameter < CELL_AT_MOST else "smear_field"
    if len(found.cells) == 1:  # without a red cell beside it
        top, left, bottom, right = found.cells[0].box
        whole = max(bottom - top, right - left) / min(image.shape[:2])
        return "smear_cell" if whole > 1 / CELL_AT_MOST else "smear_field"
    return "smear_field"


def _kind_of_text(source: Path, name: str) -> str:
    try:
        table = read_table(source)
    except InputRejected as refused:
        return _without_table(source, name, refused)
    if _genes_of(table) >= LEAST_GENES:
        return "expression"
    if _analytes_of(table) >= LEAST_ANALYTES:
        return "labs"
    return _without_table(source, name, None)


def _without_table(source: Path, name: str, refused: InputRejected | None) -> str:
    try:
        text = decode(read_bytes(source), name)
    except InputRejected:
        raise refused or _unknown(name, "This is no file that Marrow can read.") from None
    if text.lstrip()[:1] in ("{", "["):
        return "labs"
    if len(PROSE.findall(text)) >= max(1, text.count("\n") // 4):
        return "history"
    raise _unknown(name, "Neither genes nor laboratory values were found in this file.")


def _rows(table: Table) -> list[list[str]]:
    """The first rows, up to one that is none: what is wrong with it is for the reader to say."""
    rows: list[list[str]] = []
    with contextlib.suppress(InputRejected):
        rows.extend(cells for _, cells in islice(table.rows(), LOOKED))
    return rows


def _genes_of(table: Table) -> int:
    rows = _rows(table)
    columns = [[cells[k] for cells in rows] for k in range(min(4, len(table.header)))]
    return max(sum(_names_a_gene(cell) for cell in names) for names in (table.header[:LOOKED], *columns))


def _names_a_gene(cell: str) -> bool:
    return not cell.isdigit() and is_gene(cell)


def _analytes_of(table: Table) -> int:
    """Analytes named in the header, or down the first column of names."""
    down = column(table, NAME_COLUMNS)
    k = down if down is not None and column(table, VALUE_COLUMNS) is not None else 0
    names = [cells[k] for cells in _rows(table)]
    return max(len({header(cell)[1][0].key for cell in said if header(cell)[1]}) for said in (table.header, names))


def _unknown(name: str, problem: str) -> InputRejected:
    return InputRejected(
        "unknown_content",
        place=name,
        problem=problem,
        remedy="Send smear images, a gene table, laboratory values or a plain text; or say below what it is.",
    )
