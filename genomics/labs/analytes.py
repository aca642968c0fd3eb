"""Laboratory values by name, LOINC code and unit: one table, ``analytes.toml``."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from genomics.labs.units import factor, to_ucum
from ml.findings import InputRejected

TABLE = Path(__file__).with_name("analytes.toml")
COUNTS = "10*9/L"


@dataclass(frozen=True)
class Span:
    """A plausible range and whom it is for: ``sex`` (F, M or everybody), ``from`` ≤ age < ``under`` in years."""

    low: float
    high: float
    sex: str | None = None
    since: float = 0.0
    under: float = float("inf")

    def fits(self, age: float | None, sex: str | None) -> bool:
        """Where age or sex is unknown, only a span that asks for neither fits."""
        anybody = self.sex is None and self.since == 0 and self.under == float("inf")
        if age is None:
            return anybody
        return self.since <= age < self.under and (self.sex is None or self.sex == sex)


@dataclass(frozen=True)
class Analyte:
    """One row of the table. ``possible``, ``plausible`` and ``reference`` are in ``unit`` (UCUM)."""

    key: str
    name: str
    loinc: tuple[str, ...]
    unit: str
    possible: tuple[float, float]
    plausible: tuple[Span, ...]
    names: tuple[str, ...]
    used: bool
    reference: tuple[float, float] | None = None
    bare_unit: str | None = None
    only_units: tuple[str, ...] = ()
    molar_mass: float | None = None
    spelled: dict[str, str] = field(default_factory=dict)
    confused: tuple[str, ...] = ()
    note: str = ""

    def plausible_for(self, age: float | None, sex: str | None) -> tuple[float, float]:
        """The range for a person; that of everybody where age (years) or sex (F, M) is unknown."""
        span = next((span for span in self.plausible if span.fits(age, sex)), self.plausible[-1])
        return span.low, span.high

    def ucum(self, unit: str) -> str:
        """A unit as a laboratory writes it for this analyte → UCUM."""
        said = to_ucum(unit, of_counts=self.unit == COUNTS)
        return self.spelled.get(said, said)

    def factor(self, ucum: str) -> float | None:
        """What to multiply with to have ``unit``; moles of a known molar mass included. None: another quantity."""
        direct = factor(ucum, self.unit)
        if direct is None and self.molar_mass and (moles := factor(ucum, "mol/L")) is not None:
            grams = factor("g/L", self.unit)
            return None if grams is None else moles * self.molar_mass * grams
        return direct


@dataclass(frozen=True)
class Measured:
    """One value: ``value`` in the analyte's unit; ``number`` and ``unit`` as they were sent."""

    analyte: Analyte
    value: float
    number: float
    unit: str

    def __str__(self) -> str:
        return f"{self.number:g} {self.unit}"


@lru_cache(maxsize=1)
def load_analytes() -> dict[str, Analyte]:
    rows: dict[str, dict[str, Any]] = tomllib.loads(TABLE.read_text("utf-8"))
    return {key: _analyte(key, row) for key, row in rows.items()}


def _analyte(key: str, row: dict[str, Any]) -> Analyte:
    facts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Analyte(key=key, **facts | {"plausible": tuple(_span(**span) for span in row["plausible"])})


def _span(**said: Any) -> Span:
    low, high = said["range"]
    return Span(low, high, said.get("sex"), said.get("from", 0.0), said.get("under", float("inf")))


def plain(name: str) -> str:
    """A name as the table has it: lower case, no accents, words apart by one space."""
    flat = unicodedata.normalize("NFKD", name)
    return re.sub(r"[\W_]+", " ", "".join(c for c in flat if not unicodedata.combining(c))).strip().lower()


def by_loinc(code: str) -> Analyte | None:
    return next((a for a in load_analytes().values() if code in a.loinc), None)


def by_name(name: str) -> list[Analyte]:
    """All analytes that go by ``name``: neutrophils are counted or a share; the unit tells."""
    return [a for a in load_analytes().values() if plain(name) in a.names or plain(name) == plain(a.key)]


def convert(value: float, unit: str | None, candidates: list[Analyte], place: str) -> Measured:
    """A number in ``unit`` as the first of ``candidates`` that is measured in it.

    InputRejected (missing_unit, unknown_unit, wrong_unit): never a guess.
    """
    if not unit:
        unit = _bare_unit(candidates, place)
    said = [(a, a.ucum(str(unit))) for a in candidates]
    fitting = [(a, f) for a, u in said if (not a.only_units or u in a.only_units) and (f := a.factor(u)) is not None]
    if not fitting:
        raise _bad_unit(str(unit), candidates, place)
    analyte, times = fitting[0]
    return Measured(analyte, value * times, value, str(unit))


def _bare_unit(candidates: list[Analyte], place: str) -> str:
    bare = [a.bare_unit for a in candidates if a.bare_unit]
    if bare:
        return bare[0]
    raise InputRejected(
        "missing_unit",
        place=place,
        problem=f"{candidates[0].name} has no unit.",
        remedy=f"Give it, for example {' or '.join(sorted({a.unit for a in candidates}))}.",
    )


def _bad_unit(unit: str, candidates: list[Analyte], place: str) -> InputRejected:
    known = any(a.factor(a.ucum(unit)) is not None for a in load_analytes().values())
    note = next((" " + a.note for a in candidates if a.note), "")
    return InputRejected(
        "wrong_unit" if known else "unknown_unit",
        place=place,
        problem=f"{unit!r} is no unit of {candidates[0].name}.{note}",
        remedy=f"Give it in {' or '.join(sorted({a.unit for a in candidates}))}, or a unit that converts to it.",
    )
