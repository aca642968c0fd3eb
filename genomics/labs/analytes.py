"""Laboratory values by name, LOINC code and unit: one table, ``analytes.toml``; conversion by pint and UCUM."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pint
from ucumvert import InvalidUcumError, PintUcumRegistry

from ml.findings import InputRejected

TABLE = Path(__file__).with_name("analytes.toml")

# How laboratories write units that are no UCUM. IU and U of an enzyme are one unit by convention.
SPELLED = {
    **dict.fromkeys(
        ("g/l (giga)", "giga/l", "10^9/l", "x10^9/l", "10e9/l", "x10e9/l", "10⁹/l", "x10⁹/l", "10*9/l"), "10*9/L"
    ),
    **dict.fromkeys(
        ("10^3/ul", "x10^3/ul", "10e3/ul", "k/ul", "10³/ul", "10*3/ul", "10^3/mm3", "k/mm3", "10³/mm3"), "10*3/uL"
    ),
    **dict.fromkeys(("/mm3", "/mm³", "cells/ul", "cells/mm3", "/ul"), "/uL"),
    **dict.fromkeys(("ui/l", "iu/l", "u/l", "[iu]/l"), "U/L"),
    **dict.fromkeys(("years", "year", "yr", "yrs", "y", "ans"), "a"),
    **dict.fromkeys(("months", "month"), "mo"),
    **dict.fromkeys(("days", "day"), "d"),
    **dict.fromkeys(("percent", "pct", "percentage", "%"), "%"),
    **dict.fromkeys(("sec", "secs", "seconds", "s"), "s"),
    **dict.fromkeys(("µkat/l", "ukat/l", "μkat/l"), "ukat/L"),
    **dict.fromkeys(("um3", "µm3", "µm³"), "um3"),
    "g/l": "g/L",
    "g/dl": "g/dL",
    "mg/dl": "mg/dL",
    "mg/l": "mg/L",
    "fl": "fL",
    "ratio": "1",
}
GIGA = {"G/L", "G/l", "Giga/L", "Giga/l", "GIGA/L"}  # as French laboratories write 10⁹ a litre; grams are a small g


@dataclass(frozen=True)
class Analyte:
    """One row of the table. ``plausible`` and ``reference`` are in ``unit`` (UCUM)."""

    key: str
    name: str
    loinc: tuple[str, ...]
    unit: str
    plausible: tuple[float, float]
    names: tuple[str, ...]
    used: bool
    reference: tuple[float, float] | None = None
    bare_unit: str | None = None
    only_units: tuple[str, ...] = ()
    note: str = ""


@lru_cache(maxsize=1)
def load_analytes() -> dict[str, Analyte]:
    rows: dict[str, dict[str, Any]] = tomllib.loads(TABLE.read_text("utf-8"))
    tuples = {"loinc", "plausible", "names", "reference", "only_units"}
    facts: dict[str, dict[str, Any]] = {
        key: {"key": key, **{k: tuple(v) if k in tuples else v for k, v in row.items()}} for key, row in rows.items()
    }
    return {key: Analyte(**row) for key, row in facts.items()}


@lru_cache(maxsize=1)
def _registry() -> Any:
    return PintUcumRegistry()


@lru_cache(maxsize=256)
def _unit(ucum: str) -> Any:
    return _registry().from_ucum(ucum)


def plain(name: str) -> str:
    """A name as the table has it: lower case, words apart by one space."""
    return re.sub(r"[\W_]+", " ", name).strip().lower()


def to_ucum(unit: str) -> str:
    """The UCUM spelling of what laboratories write; unchanged where it is UCUM already or unknown."""
    squeezed = unit.replace(" ", "")
    if squeezed in GIGA:
        return "10*9/L"
    return SPELLED.get(squeezed.lower().replace("µl", "ul").replace("μl", "ul"), squeezed)


@lru_cache(maxsize=1024)
def factor(unit: str, target: str) -> float | None:
    """What to multiply a value in ``unit`` with to have it in ``target`` (both UCUM); None where they measure different
    things or ``unit`` is unknown.
    """
    try:
        quantity = 1 * _unit(unit)
        return float(quantity.to(_unit(target)).magnitude)
    except (InvalidUcumError, pint.PintError, ValueError, AttributeError, TypeError, KeyError):
        return None


def by_loinc(code: str) -> Analyte | None:
    return next((a for a in load_analytes().values() if code in a.loinc), None)


def by_name(name: str) -> list[Analyte]:
    """All analytes that go by ``name``: neutrophils are counted or a share; the unit tells."""
    return [a for a in load_analytes().values() if plain(name) in a.names or plain(name) == plain(a.key)]


def convert(value: float, unit: str | None, candidates: list[Analyte], place: str) -> tuple[Analyte, float]:
    """(analyte, value in its unit). Rejects a missing, unknown or wrong unit, an implausible value; never guesses."""
    name = candidates[0].name
    if not unit:
        bare = [a for a in candidates if a.bare_unit]
        if not bare:
            raise InputRejected(
                "missing_unit",
                place=place,
                problem=f"{name} has no unit.",
                remedy=f"Give it, for example {' or '.join(sorted({a.unit for a in candidates}))}.",
            )
        unit = bare[0].bare_unit
    ucum = to_ucum(str(unit))
    allowed = [a for a in candidates if not a.only_units or ucum in a.only_units]
    fitting = [(a, f) for a in allowed if (f := factor(ucum, a.unit)) is not None]
    if not fitting:
        raise _bad_unit(str(unit), candidates, place)
    analyte, times = fitting[0]
    converted = value * times
    low, high = analyte.plausible
    if not low <= converted <= high:
        raise _implausible(value, str(unit), analyte, place)
    return analyte, converted


def _bad_unit(unit: str, candidates: list[Analyte], place: str) -> InputRejected:
    known = any(factor(to_ucum(unit), a.unit) is not None for a in load_analytes().values())
    note = next((" " + a.note for a in candidates if a.note), "")
    return InputRejected(
        "wrong_unit" if known else "unknown_unit",
        place=place,
        problem=f"{unit!r} is no unit of {candidates[0].name}.{note}",
        remedy=f"Give it in {' or '.join(sorted({a.unit for a in candidates}))}, or a unit that converts to it.",
    )


LIKELY_UNITS = ("g/dL", "g/L", "mg/dL", "10*9/L", "/uL", "ukat/L", "U/L", "%", "1", "mo", "a")


def _implausible(value: float, unit: str, analyte: Analyte, place: str) -> InputRejected:
    low, high = analyte.plausible
    likely = [
        u for u in LIKELY_UNITS if u != to_ucum(unit) and (f := factor(u, analyte.unit)) and low <= value * f <= high
    ]
    hint = f"It would be plausible in {' or '.join(likely)}: check the unit." if likely else "Check the value."
    return InputRejected(
        "implausible_value",
        place=place,
        problem=f"{analyte.name} {value:g} {unit} is not possible (possible: {low:g} to {high:g} {analyte.unit}).",
        remedy=hint + " Nothing was converted.",
    )
