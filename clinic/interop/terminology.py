"""LOINC and UCUM: what a laboratory value is, and in which unit. The reviewed table is ``genomics/labs/analytes.toml``.

The table and its judge are the reader's own, so that what is taken here is what the model reads. Imported when first
asked: units need pint, which a web process that sees no laboratory value should not wait for.
"""

import math
import re
from dataclasses import dataclass

from clinic.errors import InvalidInput
from ml.findings import InputRejected

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
FIBRIN_UNITS = re.compile(r"\s*[{(]?\b(FEU|DDU)\b[)}]?", re.IGNORECASE)
KIND_OF_UNIT = {"d_dimer_feu": "FEU", "d_dimer_ddu": "DDU"}


@dataclass(frozen=True)
class LabValue:
    """One value that is understood. ``value`` is in ``unit`` (UCUM); ``number`` and ``unit_sent`` are as it came."""

    loinc: str
    analyte: str
    name: str
    value: float
    unit: str
    number: float
    unit_sent: str


def warm_up():
    """Load the table and its units now."""
    judge(loinc="6690-2", number=5, unit="10*3/uL", place="")


def name_of(loinc):
    analyte = _table().by_loinc(loinc)
    return analyte.name if analyte else loinc


def choices():
    """[(LOINC code, its name with code and unit)] of the table, by name: what a person can choose from."""
    rows = [(code, one) for one in _table().load_analytes().values() for code in one.loinc]
    named = [(code, f"{one.name} ({code}, {one.unit})") for code, one in rows]
    return sorted(named, key=lambda row: row[1].lower())


def judge(*, loinc, number, unit, place):
    """A coded number with its unit as a LabValue. Raises InvalidInput (unknown_code, wrong_unit …); never guesses."""
    analyte = _table().by_loinc(loinc)
    if analyte is None:
        problem = f"The LOINC code {loinc} is not in Marrow's reviewed table."
        raise InvalidInput(
            "unknown_code", problem, "Say which of the table's codes it is, or leave it out.", place=place
        )
    if not math.isfinite(number):
        raise InvalidInput("not_a_number", "The value is no finite number.", "Give the measured value.", place=place)
    try:
        measured = _table().convert(number, _without_fibrin_unit(analyte, unit, place), [analyte], place)
    except InputRejected as fault:
        raise InvalidInput(fault.code, fault.problem, fault.remedy, place=fault.place) from fault
    low, high = analyte.possible
    if not low <= measured.value <= high:
        problem = f"{number:g} {unit} of {analyte.name} cannot be ({low:g} to {high:g} {analyte.unit})."
        raise InvalidInput("implausible_value", problem, "Check the value and its unit.", place=place)
    return LabValue(loinc, analyte.key, analyte.name, measured.value, analyte.unit, number, unit or "")


def _without_fibrin_unit(analyte, unit, place):
    """FEU weigh about twice DDU and are no spelling of each other: the code and the unit must name the same."""
    said = FIBRIN_UNITS.search(unit or "")
    if said is None or not (kind := KIND_OF_UNIT.get(analyte.key)):
        return unit
    if said[1].upper() != kind:
        problem = f"{unit!r} is no unit of {analyte.name}: FEU and DDU are different quantities."
        raise InvalidInput("wrong_unit", problem, "Send the code that belongs to the unit.", place=place)
    return FIBRIN_UNITS.sub("", unit)


def _table():
    from genomics.labs import analytes  # noqa: PLC0415 (see above)

    return analytes
