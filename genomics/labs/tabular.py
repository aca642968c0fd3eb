"""Panels in text tables: a row a panel, a row a value, or (transposed) a row an analyte and a column a panel."""

from __future__ import annotations

import re

from genomics.labs.analytes import Analyte, by_name, plain
from genomics.labs.found import Found, candidates_of
from genomics.labs.plausible import is_bound
from genomics.tables import MISSING, Table, find_decimal_comma, to_numbers, uses_decimal_comma
from ml.findings import InputRejected

MAX_PANELS = 20_000
SUFFIXES = {
    "_G_L": "G/L",
    "_10e9_L": "10*9/L",
    "_10e3_uL": "10*3/uL",
    "_uL": "/uL",
    "_fL": "fL",
    "_g_L": "g/L",
    "_g_dL": "g/dL",
    "_mg_dL": "mg/dL",
    "_mmol_L": "mmol/L",
    "_percent": "%",
    "_pct": "%",
    "_UI_L": "U/L",
    "_IU_L": "U/L",
    "_U_L": "U/L",
    "_ukat_L": "ukat/L",
    "_years": "a",
    "_s": "s",
}
BRACKETED = re.compile(r"(.+?)\s*[\[(]\s*(.+?)\s*[\])]\s*$")
NAME_COLUMNS = ("code", "loinc", "analyte", "name", "test", "parameter")
VALUE_COLUMNS = ("value", "result")
UNIT_COLUMNS = ("unit", "units")
ID_COLUMNS = ("id", "sample", "case", "patient", "mrn", "panel", "row")
DATE_COLUMNS = ("date", "time", "datetime", "day", "taken", "collected", "effective")
SEX_COLUMNS = ("sex", "gender", "sexe", "geschlecht")
NOT_ANALYTES = {
    *ID_COLUMNS,
    *SEX_COLUMNS,
    *DATE_COLUMNS,
    *("response", "centre", "center", "label", "diagnosis", "y"),
}
LEAST_TRANSPOSED = 3  # rows that are analytes, in a table that has none in its header
Header = tuple[str | None, list[Analyte]]  # the unit that a cell states, the analytes that it can mean


def column(table: Table, names: tuple[str, ...]) -> int | None:
    lower = [plain(cell) for cell in table.header]
    return next((lower.index(name) for name in names if name in lower), None)


def from_table(table: Table, ids: tuple[str, ...] = ID_COLUMNS) -> Found:
    """InputRejected where the table as a whole is none of panels; faults of one panel are kept with it.

    ``ids``: the columns that may name a panel; those of dates where all panels are of one patient.
    """
    if len(table.lines) > MAX_PANELS:
        raise InputRejected(
            "too_large", place=table.name, problem=f"More than {MAX_PANELS} rows.", remedy="Send fewer panels a file."
        )
    _check_decimals(table)
    found = Found()
    name, value, unit = (column(table, names) for names in (NAME_COLUMNS, VALUE_COLUMNS, UNIT_COLUMNS))
    if name is not None and value is not None:
        _read_long(table, found, (name, value, unit), ids)
    elif _is_transposed(table):
        _read_transposed(table, found)
    else:
        _read_wide(table, found, ids)
    return found


def _check_decimals(table: Table) -> None:
    """InputRejected (mixed_decimal) where one value has a decimal comma and another a decimal point.

    A comma that may stand between thousands is the fault of its own panel (``number``).
    """
    no_values = NOT_ANALYTES | {*NAME_COLUMNS, *UNIT_COLUMNS}
    try:
        find_decimal_comma(table, [k for k, cell in enumerate(table.header) if plain(cell) not in no_values])
    except InputRejected as fault:
        if fault.code == "mixed_decimal":
            raise


def number(cell: str, name: str, place: str, table: Table) -> float | str:
    """A cell as a finite number; a bound (``<0.6``) as it is. InputRejected (not_a_number, infinite …)."""
    if is_bound(cell):
        return cell
    comma = table.delimiter != "," and uses_decimal_comma([cell], place)
    return float(to_numbers([cell], [name], place, decimal_comma=comma)[0])


def header(cell: str) -> Header:
    """A header cell such as ``WBC_G_L``, ``MCHC [g/dL]``, ``LDH, U/L`` or ``6690-2``."""
    if match := BRACKETED.fullmatch(cell):
        return match[2], candidates_of(match[1])
    for suffix, unit in SUFFIXES.items():
        if cell.endswith(suffix) and by_name(cell.removesuffix(suffix)):
            return unit, by_name(cell.removesuffix(suffix))
    name, comma, unit = cell.partition(",")
    if comma and candidates_of(name):
        return unit.strip(), candidates_of(name)
    return None, candidates_of(cell)


# --- a row a panel ----------------------------------------------------------------------------------------------------


def _read_wide(table: Table, found: Found, ids: tuple[str, ...]) -> None:
    columns = {k: header(cell) for k, cell in enumerate(table.header)}
    id_column, sex = column(table, ids), column(table, SEX_COLUMNS)
    known = {k: said for k, said in columns.items() if said[1] and k not in (id_column, sex)}
    found.unused |= {
        table.header[k]
        for k in columns
        if k not in known and k != id_column and plain(table.header[k]) not in NOT_ANALYTES
    } - {""}
    for count, (line, cells) in enumerate(table.rows(), start=1):
        panel = cells[id_column] if id_column is not None else str(count)
        if panel in found.values:
            raise InputRejected(
                "duplicate_panel",
                place=f"{table.name}, line {line}",
                problem=f"The id {panel!r} is there twice.",
                remedy="Give every row its own id; the panels of one patient over time go to `series labs`.",
            )
        if sex is not None:
            found.set_sex(panel, cells[sex])
        with found.panel(panel):
            read_row(table, found, panel, known, (line, cells))


def read_row(table: Table, found: Found, panel: str, known: dict[int, Header], row: tuple[int, list[str]]) -> None:
    """The values of one row of a wide table."""
    line, cells = row
    for k, (unit, candidates) in known.items():
        if cells[k].lower() not in MISSING:
            place = f"{table.name}, line {line}"
            value = number(cells[k], table.header[k], place, table)
            found.add(panel, value, unit, candidates, f"{place}, column {table.header[k]!r}")


# --- a row a value ----------------------------------------------------------------------------------------------------


def _read_long(table: Table, found: Found, columns: tuple[int, int, int | None], ids: tuple[str, ...]) -> None:
    name, value, _ = columns
    id_column = column(table, ids)
    for line, cells in table.rows():
        panel = cells[id_column] if id_column is not None else "1"
        if plain(cells[name]) in SEX_COLUMNS:
            found.set_sex(panel, cells[value])
            continue
        with found.panel(panel):
            _read_value(table, found, panel, (line, cells), columns)


def _read_value(
    table: Table, found: Found, panel: str, row: tuple[int, list[str]], columns: tuple[int, int, int | None]
) -> None:
    (line, cells), (name, value, unit) = row, columns
    place = f"{table.name}, line {line}"
    stated, candidates = header(cells[name])
    if not candidates:
        found.unused.add(cells[name])
    elif cells[value].lower() not in MISSING:
        measured = number(cells[value], table.header[value], place, table)
        said = cells[unit] if unit is not None and cells[unit] else stated
        found.add(panel, measured, said, candidates, f"{place} ({cells[name]})")


# --- a row an analyte -------------------------------------------------------------------------------------------------


def _is_transposed(table: Table) -> bool:
    if any(header(cell)[1] for cell in table.header[1:]):
        return False
    return sum(bool(header(cell)[1]) for cell in table.first_cells()) >= LEAST_TRANSPOSED


def _read_transposed(table: Table, found: Found) -> None:
    unit = column(table, UNIT_COLUMNS)
    panels = {k: name for k, name in enumerate(table.header) if k not in (0, unit)}
    for line, cells in table.rows():
        stated, candidates = header(cells[0])
        said = cells[unit] if unit is not None and cells[unit] else stated
        for k, panel in panels.items():
            if plain(cells[0]) in SEX_COLUMNS:
                found.set_sex(panel, cells[k])
            elif not candidates:
                found.unused |= {cells[0]} - {""}
            elif cells[k].lower() not in MISSING:
                with found.panel(panel):
                    place = f"{table.name}, line {line}"
                    value = number(cells[k], table.header[k], place, table)
                    found.add(panel, value, said, candidates, f"{place}, column {panel!r}")
