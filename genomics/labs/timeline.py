"""The panels of one patient with their times, from a table with a column of dates, from JSON or FHIR."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genomics.labs.found import Found, candidates_of
from genomics.labs.observations import as_number, observations_of, panels_of, parse
from genomics.labs.tabular import DATE_COLUMNS, ID_COLUMNS, column, from_table
from genomics.packed import is_workbook
from genomics.tables import Table, decode, read_bytes, read_table
from ml.findings import InputRejected, QualityFlag

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]

DAY_ZERO = datetime(1970, 1, 1, tzinfo=UTC)  # for series that count days
MAX_POINTS = 2_000
FEWEST = 2


@dataclass(frozen=True)
class Course:
    """Panels in order of time. ``days`` (n,) since the first; ``values`` and ``flags`` one a panel."""

    times: tuple[datetime, ...]
    values: tuple[dict[str, float], ...]
    flags: tuple[tuple[QualityFlag, ...], ...]
    unused: tuple[str, ...] = ()

    @property
    def days(self) -> Array:
        return np.array([(time - self.times[0]).total_seconds() / 86400 for time in self.times])

    def of(self, key: str) -> tuple[Array, Array]:
        """(days, values) of one analyte, where it was measured."""
        here = [k for k, values in enumerate(self.values) if key in values]
        return self.days[here], np.array([self.values[k][key] for k in here])


def read_series(source: Path) -> Course:
    """A table with a column date, time or day (ISO 8601, or days as numbers); JSON ``{"panels": [{"date", …}]}``; FHIR
    Observations with effectiveDateTime.

    InputRejected: no_dates, bad_date, several_patients, too_few_panels, duplicate_panel, and what the panel reader
    refuses; the first bad panel is named, none is left out in silence.
    """
    if not source.is_file():
        raise InputRejected("missing_file", place=str(source), problem="No such file.", remedy="Check the path.")
    text = "" if is_workbook(source) else decode(read_bytes(source), source.name)
    found = _from_json(text, source.name) if text.lstrip()[:1] in ("{", "[") else _from_table(read_table(source))
    if found.refused:
        raise next(iter(found.refused.values()))
    named = sorted((_time(panel, source.name), panel) for panel in found.values)
    if len(named) < FEWEST:
        raise InputRejected(
            "too_few_panels",
            place=source.name,
            problem=f"There is {len(named)} panel.",
            remedy="A series needs the panels of one patient at two times or more.",
        )
    return Course(
        tuple(time for time, _ in named),
        tuple(dict(found.values[panel]) for _, panel in named),
        tuple(tuple(doubt.flag for doubt in found.doubts(panel)) for _, panel in named),
        tuple(sorted(found.unused)),
    )


def _from_table(table: Table) -> Found:
    if column(table, DATE_COLUMNS) is None:
        raise _no_dates(table.name)
    if (who := column(table, ID_COLUMNS)) is not None:
        _check_one_patient({cells[who] for _, cells in table.rows()}, table.name)
    return from_table(table, DATE_COLUMNS)


def _from_json(text: str, name: str) -> Found:
    found = Found()
    for date, said in _dated(parse(text, name), name).items():
        for _, sex, observations in panels_of(said, f"{name}, {date}"):
            found.values[date].update({})
            found.set_sex(date, sex)
            for place, codes, value, unit in observations:
                candidates = next((c for code in codes if (c := candidates_of(code))), [])
                if not candidates:
                    found.unused.add(codes[0] if codes else place)
                elif value is not None:
                    found.add(date, as_number(value, place), unit, candidates, place)
    return found


def _dated(said: Any, name: str) -> dict[str, Any]:
    """Date → what was observed then."""
    panels = said.get("panels") if isinstance(said, dict) else None
    if panels is not None:
        return _dated_panels(panels, name)
    entries = observations_of(said)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _no_dates(name)
    _check_one_patient(
        {str(e["subject"].get("reference")) for e in entries if isinstance(e.get("subject"), dict)}, name
    )
    groups: dict[str, list[Any]] = defaultdict(list)
    for entry in entries:
        date = entry.get("effectiveDateTime", entry.get("date"))
        if date is None:
            raise _no_dates(name)
        groups[str(date)].append(entry)
    return dict(groups)


def _dated_panels(panels: Any, name: str) -> dict[str, Any]:
    if not isinstance(panels, list) or not all(isinstance(p, dict) and p.get("date") is not None for p in panels):
        raise _no_dates(name)
    dated = {str(panel["date"]): panel for panel in panels}
    if len(dated) < len(panels):
        raise InputRejected(
            "duplicate_panel", place=name, problem="Two panels have one date.", remedy="Give each its own time."
        )
    return dated


def _check_one_patient(people: set[str], name: str) -> None:
    if len(people) > 1:
        raise InputRejected(
            "several_patients",
            place=name,
            problem=f"The panels are of {len(people)} patients.",
            remedy="Send the panels of one patient.",
        )


def _time(said: str, name: str) -> datetime:
    """ISO 8601, or a number of days. Without a zone it is taken as UTC: only differences count."""
    text = said.strip()
    if re.fullmatch(r"[+-]?\d{1,5}([.,]\d+)?", text):
        return DAY_ZERO + timedelta(days=float(text.replace(",", ".")))
    try:
        time = datetime.fromisoformat(text)
    except ValueError as bad:
        raise InputRejected(
            "bad_date",
            place=name,
            problem=f"{said[:40]!r} is no date that can be read in one way only.",
            remedy="Write dates as 2024-03-31 (ISO 8601), or days as numbers.",
        ) from bad
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _no_dates(name: str) -> InputRejected:
    return InputRejected(
        "no_dates",
        place=name,
        problem="The panels have no dates.",
        remedy='Add a column date (2024-03-31), "date" to each panel, or effectiveDateTime to each Observation.',
    )
