"""Laboratory panels of any hospital (CSV wide or long, JSON, FHIR) → values in canonical units, by analyte."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from genomics.labs.analytes import Analyte, by_loinc, by_name, convert, load_analytes, plain
from genomics.labs.observations import as_number, read_panels
from genomics.tables import MISSING, Table, decode, read_bytes, read_table, to_numbers, uses_decimal_comma
from ml.findings import InputRejected, QualityFlag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIN_ANALYTES = 3  # with WBC among them
MAX_PANELS = 20_000
SUFFIXES = {
    "_G_L": "G/L",
    "_10e9_L": "10*9/L",
    "_fL": "fL",
    "_g_L": "g/L",
    "_g_dL": "g/dL",
    "_mg_dL": "mg/dL",
    "_percent": "%",
    "_pct": "%",
    "_UI_L": "U/L",
    "_IU_L": "U/L",
    "_U_L": "U/L",
    "_years": "a",
    "_s": "s",
}
BRACKETED = re.compile(r"(.+?)\s*[\[(]\s*([^\])]+?)\s*[\])]\s*$")
NAME_COLUMNS = ("code", "loinc", "analyte", "name", "test", "parameter")
VALUE_COLUMNS = ("value", "result")
UNIT_COLUMNS = ("unit", "units")
ID_COLUMNS = ("id", "sample", "case", "patient", "mrn", "panel", "row")
NOT_ANALYTES = {*ID_COLUMNS, "response", "centre", "center", "sex", "label", "diagnosis", "y"}


@dataclass(frozen=True)
class LabPanels:
    """Panels in file order. ``values`` has one dict a panel: analyte key → value in the analyte's unit."""

    ids: tuple[str, ...]
    values: tuple[dict[str, float], ...]
    unused: tuple[str, ...] = ()
    flags: tuple[QualityFlag, ...] = ()

    def only(self, panel: str) -> LabPanels:
        """The one panel of that id (or row number, from 1). InputRejected (unknown_panel) where there is none."""
        if panel not in self.ids:
            raise InputRejected(
                "unknown_panel",
                place="option sample",
                problem=f"The file has no row {panel!r}; it has {', '.join(self.ids[:5])}"
                + (" …" if len(self.ids) > 5 else "."),
                remedy="Name one of them.",
            )
        one = replace(self, ids=(panel,), values=(self.values[self.ids.index(panel)],))
        return replace(one, flags=_flags(one))

    def each(self) -> list[LabPanels]:
        return [self.only(panel) for panel in self.ids]


@dataclass
class _Found:
    """Values of the panels as they are found, what is kept but not used, and the first fault of each bad panel."""

    values: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    unused: set[str] = field(default_factory=set)
    refused: dict[str, InputRejected] = field(default_factory=dict)

    @contextmanager
    def panel(self, panel: str) -> Iterator[dict[str, float]]:
        """The panel's values. A fault inside is that panel's alone: kept, not raised."""
        try:
            yield self.values[panel]
        except InputRejected as fault:
            self.refused.setdefault(panel, fault)

    def add(self, panel: str, analyte: Analyte, value: float, place: str) -> None:
        if (panel, analyte.key) in self.places:
            raise InputRejected(
                "duplicate_analyte",
                place=place,
                problem=f"{analyte.name} is given twice (first: {self.places[panel, analyte.key]}).",
                remedy="Send one value for each analyte: the one at diagnosis, before treatment.",
            )
        self.places[panel, analyte.key] = place
        self.values[panel][analyte.key] = value
        if not analyte.used:
            self.unused.add(analyte.key)


def canonicalise(source: Path, target_dir: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Read ``source`` (CSV, TSV or JSON) and write ``labs.json`` to ``target_dir``.

    Options: ``sample`` or ``row`` (take this panel), ``many`` (true: several panels are welcome), ``keep_going`` (true:
    leave out the panels that have a fault of their own).
    Returns {panels, refused, analytes, unused, flags}. Raises InputRejected.
    """
    text = decode(read_bytes(source), source.name)
    found = _from_json(text, source.name) if text.lstrip()[:1] in ("{", "[") else _from_table(read_table(source))
    panels = _choose(LabPanels(tuple(found.values), tuple(found.values.values())), options, source.name)
    for panel, values in zip(panels.ids, panels.values, strict=True):
        with found.panel(panel):
            check_enough(values, f"{source.name}, panel {panel}")
    refused = {panel: found.refused[panel] for panel in panels.ids if panel in found.refused}
    if refused and (not options.get("keep_going") or len(refused) == len(panels.ids)):
        raise next(iter(refused.values()))
    kept = {panel: found.values[panel] for panel in panels.ids if panel not in refused}
    panels = LabPanels(tuple(kept), tuple(kept.values()), tuple(sorted(found.unused)))
    panels = replace(panels, flags=_flags(panels))
    said = asdict(panels)
    (target_dir / "labs.json").write_text(json.dumps(said, ensure_ascii=False), "utf-8")
    return {
        "panels": list(panels.ids),
        "refused": [{"sample": panel, **fault.as_dict()} for panel, fault in refused.items()],
        "analytes": sorted({key for values in panels.values for key in values}),
        "unused": list(panels.unused),
        "flags": list(said["flags"]),
    }


def _choose(panels: LabPanels, options: dict[str, Any], name: str) -> LabPanels:
    wanted = options.get("sample", options.get("row"))
    if wanted is not None:
        return panels.only(str(wanted))
    if len(panels.ids) > 1 and not options.get("many"):
        raise InputRejected(
            "several_panels",
            place=name,
            problem=f"The file has {len(panels.ids)} panels; a case takes one.",
            remedy=f"Name it with the option `sample` (for example {panels.ids[0]!r}), or send one panel.",
        )
    return panels


def load_canonical(target_dir: Path) -> LabPanels:
    """What ``canonicalise`` wrote to ``target_dir``."""
    said = json.loads((target_dir / "labs.json").read_text("utf-8"))
    flags = tuple(QualityFlag(**flag) for flag in said["flags"])
    return LabPanels(tuple(said["ids"]), tuple(said["values"]), tuple(said["unused"]), flags)


def check_enough(values: dict[str, float], place: str) -> None:
    used = [key for key in values if load_analytes()[key].used and key != "age"] if values else []
    if len(used) < MIN_ANALYTES or "wbc" not in values:
        raise InputRejected(
            "insufficient",
            place=place,
            problem=f"{len(used)} usable values ({', '.join(used) or 'none'}); white cells and two more are needed.",
            remedy="Add values of the blood count, coagulation or LDH, each with its unit.",
        )


def _flags(panels: LabPanels) -> tuple[QualityFlag, ...]:
    notes = []
    if panels.unused:
        notes.append(QualityFlag("not_used", f"Read, kept, and not used by the model: {', '.join(panels.unused)}."))
    parts = ("anc_percent", "lymphocytes_percent", "monocytes_percent")
    over = [p for p, v in zip(panels.ids, panels.values, strict=True) if sum(v.get(k, 0) for k in parts) > 105]
    if over:
        notes.append(QualityFlag("differential_sum", f"The differential adds up to more than 100 % ({over[0]})."))
    return tuple(notes)


# --- tables ---------------------------------------------------------------------------------------------------------


def _column(table: Table, names: tuple[str, ...]) -> int | None:
    lower = [plain(cell) for cell in table.header]
    return next((lower.index(name) for name in names if name in lower), None)


def _from_table(table: Table) -> _Found:
    found = _Found()
    if len(table.lines) > MAX_PANELS:
        raise InputRejected(
            "too_large", place=table.name, problem=f"More than {MAX_PANELS} rows.", remedy="Send fewer panels a file."
        )
    name, value, unit = (_column(table, names) for names in (NAME_COLUMNS, VALUE_COLUMNS, UNIT_COLUMNS))
    if name is not None and value is not None:
        _read_long(table, found, name, value, unit)
    else:
        _read_wide(table, found)
    return found


def _number(cell: str, column: str, place: str, table: Table) -> float:
    if cell[:1] in "<>":
        raise InputRejected(
            "not_a_number",
            place=f"{place}, column {column!r}",
            problem=f"{cell!r} is a bound, not a value.",
            remedy="Leave the cell empty, or give the measured value.",
        )
    comma = table.delimiter != "," and uses_decimal_comma([cell], place)
    return float(to_numbers([cell], [column], place, decimal_comma=comma)[0])


def _read_wide(table: Table, found: _Found) -> None:
    columns = {k: _header(cell) for k, cell in enumerate(table.header)}
    id_column = _column(table, ID_COLUMNS)
    known = {k: said for k, said in columns.items() if said[1] and k != id_column}
    found.unused |= {
        table.header[k]
        for k in columns
        if k not in known and k != id_column and plain(table.header[k]) not in NOT_ANALYTES
    } - {""}
    for count, (number, cells) in enumerate(table.rows(), start=1):
        panel = cells[id_column] if id_column is not None else str(count)
        if panel in found.values:
            raise InputRejected(
                "duplicate_panel",
                place=f"{table.name}, line {number}",
                problem=f"The id {panel!r} is there twice.",
                remedy="Give every row its own id.",
            )
        with found.panel(panel):
            _read_row(table, found, panel, known, (number, cells))


def _read_row(
    table: Table,
    found: _Found,
    panel: str,
    known: dict[int, tuple[str | None, list[Analyte]]],
    row: tuple[int, list[str]],
) -> None:
    number, cells = row
    for k, (unit, candidates) in known.items():
        if cells[k].lower() not in MISSING:
            place = f"{table.name}, line {number}"
            value = _number(cells[k], table.header[k], place, table)
            place = f"{place}, column {table.header[k]!r}"
            found.add(panel, *convert(value, unit, candidates, place), place)


def _header(cell: str) -> tuple[str | None, list[Analyte]]:
    """A wide table's header cell → (unit that it states, analytes that it can mean)."""
    if match := BRACKETED.fullmatch(cell):
        return match[2], by_name(match[1]) or _by_code(match[1])
    for suffix, unit in SUFFIXES.items():
        if cell.endswith(suffix) and by_name(cell.removesuffix(suffix)):
            return unit, by_name(cell.removesuffix(suffix))
    return None, by_name(cell) or _by_code(cell)


def _by_code(code: str) -> list[Analyte]:
    analyte = by_loinc(code.strip())
    return [analyte] if analyte else []


def _read_long(table: Table, found: _Found, name: int, value: int, unit: int | None) -> None:
    id_column = _column(table, ID_COLUMNS)
    for number, cells in table.rows():
        place = f"{table.name}, line {number}"
        panel = cells[id_column] if id_column is not None else "1"
        candidates = _by_code(cells[name]) or by_name(cells[name])
        with found.panel(panel):
            if not candidates:
                found.unused.add(cells[name])
            elif cells[value].lower() not in MISSING:
                measured = _number(cells[value], table.header[value], place, table)
                said = cells[unit] if unit is not None else None
                found.add(panel, *convert(measured, said, candidates, f"{place} ({cells[name]})"), place)


# --- JSON and FHIR --------------------------------------------------------------------------------------------------


def _from_json(text: str, name: str) -> _Found:
    found = _Found()
    for panel, said in read_panels(text, name):
        found.values[panel].update({})
        for place, codes, value, unit in said:
            candidates = next((c for code in codes if (c := _by_code(code) or by_name(code))), [])
            if not candidates:
                found.unused.add(codes[0] if codes else place)
            elif value is not None:
                found.add(panel, *convert(as_number(value, place), unit, candidates, place), place)
    return found
