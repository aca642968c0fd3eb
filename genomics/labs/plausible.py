"""Values that cannot be, are put in question, or contradict each other. Each is named; none is ever rescaled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from genomics.labs.analytes import Analyte, Measured, load_analytes
from genomics.labs.features import SHARES
from ml.findings import QualityFlag

LIKELY_UNITS = ("g/dL", "g/L", "mg/dL", "mg/L", "10*9/L", "/uL", "ukat/L", "U/L", "%", "1", "mo", "d", "a", "mmol/L")
TEN_TIMES = (10.0, 0.1, 100.0, 0.01, 1000.0, 0.001)
BOUNDS = tuple("<>≤≥")
SAME_COUNT = 0.5, 2.0  # a count beside share · WBC: rounding and another aliquot, but no other unit
OVER_WBC = 1.25
SAME_MCHC = 0.15  # analysers agree within a few per cent; a unit is off by ten times
LEAST_COUNT = 0.3  # 10*9/L, below which a ratio of counts is rounding


@dataclass(frozen=True)
class Doubt:
    """``key`` in doubt, in the words of ``flag``; ``out``: not to be used at all."""

    key: str
    flag: QualityFlag
    out: bool


def impossible(measured: Measured, place: str) -> Doubt | None:
    """A doubt where a value cannot be."""
    analyte, (low, high) = measured.analyte, measured.analyte.possible
    if low <= measured.value <= high:
        return None
    message = (
        f"{place}: {analyte.name} {measured} is not possible (possible: {low:g} to {high:g} {analyte.unit}). "
        f"{likely(measured, low, high)} It was left out; nothing was converted."
    )
    return Doubt(analyte.key, QualityFlag("implausible_value", message), out=True)


def is_bound(said: object) -> bool:
    """Whether a laboratory wrote that a value is below or above what its analyser can measure (``<0.6``)."""
    return isinstance(said, str) and said[:1] in BOUNDS


def bound(analyte: Analyte, said: str, place: str) -> Doubt:
    """A doubt about a bound: it is no value, and none is made up for it."""
    message = (
        f"{place}: {analyte.name} {said} is no value (a bound). Give the measured value where there is one. "
        "It was left out."
    )
    return Doubt(analyte.key, QualityFlag("not_a_number", message), out=True)


def doubts(found: list[Measured], sex: str | None) -> list[Doubt]:
    """What is unusual for the person's age and sex (F, M), and what contradicts other values of the panel."""
    values = {one.analyte.key: one.value for one in found}
    return [*_unusual(found, values.get("age"), sex), *_contradictions(values)]


def _unusual(found: list[Measured], age: float | None, sex: str | None) -> Iterator[Doubt]:
    for one in found:
        low, high = one.analyte.plausible_for(age, sex)
        if not low <= one.value <= high:
            who = "" if age is None else f" at age {age:.3g}" + (f", sex {sex}" if sex else "")
            message = (
                f"{one.analyte.name} {one} is unusual{who} (plausible: {low:g} to {high:g} {one.analyte.unit}). "
                f"{likely(one, low, high)} It was used as it is: confirm it."
            )
            yield Doubt(one.analyte.key, QualityFlag("questioned_value", message), out=False)


def likely(measured: Measured, low: float, high: float) -> str:
    """The mix-up that would explain a value outside [low, high]: another unit, another quantity, a shifted point."""
    analyte, number = measured.analyte, measured.number
    given = analyte.ucum(measured.unit)
    units = [u for u in LIKELY_UNITS if u != given and (f := analyte.factor(u)) and low <= number * f <= high]
    if units:
        return f"It would be plausible in {' or '.join(units)}: check the unit."
    others = [load_analytes()[key] for key in analyte.confused]
    fits = [a.name for a in others if a.plausible[-1].low <= number <= a.plausible[-1].high]
    if fits:
        return f"It would suit {fits[0]}: check which was measured."
    times = next((t for t in TEN_TIMES if low <= measured.value * t <= high), None)
    return f"Is the decimal point in its place ({number * times:g})?" if times else "Check the value."


def _contradictions(values: dict[str, float]) -> Iterator[Doubt]:
    yield from _counts_and_shares(values)
    yield from _counts_above_wbc(values)
    yield from _mchc(values)


def _counts_and_shares(values: dict[str, float]) -> Iterator[Doubt]:
    for count, share in SHARES.items():
        if not {count, share, "wbc"} <= set(values):
            continue
        expected = values[share] * values["wbc"] / 100
        if max(expected, values[count]) < LEAST_COUNT:
            continue
        ratio = values[count] / expected if expected else float("inf")
        if not SAME_COUNT[0] <= ratio <= SAME_COUNT[1]:
            name = load_analytes()[count].name
            message = (
                f"{name}: {values[count]:.3g} 10*9/L do not go with {values[share]:.3g} % of {values['wbc']:.3g} "
                f"10*9/L white cells ({expected:.3g} would). Check the units of the count and of the white cells."
            )
            yield Doubt(count, QualityFlag("contradictory_values", message), out=False)


def _counts_above_wbc(values: dict[str, float]) -> Iterator[Doubt]:
    total = sum(values.get(key, 0.0) for key in SHARES)
    if "wbc" in values and total > OVER_WBC * values["wbc"] + LEAST_COUNT:
        message = (
            f"Neutrophils, lymphocytes and monocytes are {total:.3g} 10*9/L, the white cells {values['wbc']:.3g}: "
            "a part cannot be more than the whole. Check the units."
        )
        flag = QualityFlag("contradictory_values", message)
        yield from (Doubt(key, flag, out=False) for key in SHARES if key in values)


def _mchc(values: dict[str, float]) -> Iterator[Doubt]:
    if not {"mchc", "haemoglobin", "haematocrit"} <= set(values):
        return
    computed = 100 * values["haemoglobin"] / values["haematocrit"]
    if abs(values["mchc"] / computed - 1) > SAME_MCHC:
        message = (
            f"MCHC {values['mchc']:.4g} g/L does not go with haemoglobin over haematocrit ({computed:.4g} g/L). "
            "Check the three values and their units."
        )
        yield Doubt("mchc", QualityFlag("contradictory_values", message), out=False)
