"""The values of panels as they are found in a file: what each is, and what is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genomics.labs.analytes import Analyte, Measured, by_loinc, by_name, convert
from genomics.labs.plausible import Doubt, bound, doubts, impossible
from ml.findings import InputRejected

if TYPE_CHECKING:
    from collections.abc import Iterator

SEXES = {
    **dict.fromkeys(("f", "female", "w", "weiblich", "femme", "feminin", "2"), "F"),
    **dict.fromkeys(("m", "male", "mannlich", "homme", "masculin", "1"), "M"),
}


def candidates_of(code: str) -> list[Analyte]:
    """The analytes that a LOINC code or a name can mean."""
    analyte = by_loinc(code.strip())
    return [analyte] if analyte else by_name(code)


@dataclass
class Found:
    """Values of the panels, what is kept but not used, and the first fault of each bad panel."""

    values: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    measured: dict[str, list[Measured]] = field(default_factory=lambda: defaultdict(list))
    impossible: dict[str, list[Doubt]] = field(default_factory=lambda: defaultdict(list))
    sexes: dict[str, str] = field(default_factory=dict)
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

    def set_sex(self, panel: str, said: object) -> None:
        """Unknown words are no sex: plausible ranges then are those of everybody."""
        if (sex := SEXES.get(str(said).strip().lower())) is not None:
            self.sexes[panel] = sex

    def add(self, panel: str, number: float | str, unit: str | None, candidates: list[Analyte], place: str) -> None:
        """InputRejected (unit, duplicate_analyte); a bound or a value that cannot be is left out, with a doubt."""
        if isinstance(number, str):
            self.impossible[panel].append(bound(candidates[0], number, place))
            return
        one = convert(number, unit, candidates, place)
        key = one.analyte.key
        if (panel, key) in self.places:
            raise InputRejected(
                "duplicate_analyte",
                place=place,
                problem=f"{one.analyte.name} is given twice (first: {self.places[panel, key]}).",
                remedy="Send one value for each analyte: the one at diagnosis, before treatment.",
            )
        self.places[panel, key] = place
        if doubt := impossible(one, place):
            self.impossible[panel].append(doubt)
            return
        self.values[panel][key] = one.value
        self.measured[panel].append(one)
        if not one.analyte.used:
            self.unused.add(key)

    def doubts(self, panel: str) -> list[Doubt]:
        return [*self.impossible.get(panel, []), *doubts(self.measured.get(panel, []), self.sexes.get(panel))]
