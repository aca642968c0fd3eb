"""Laboratory panels of any hospital (CSV wide, long or transposed, JSON, FHIR) → values in canonical units."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from genomics.labs.analytes import load_analytes
from genomics.labs.found import Found, candidates_of
from genomics.labs.observations import as_number, read_panels
from genomics.labs.tabular import ID_COLUMNS, from_table
from genomics.packed import is_workbook
from genomics.tables import decode, read_bytes, read_table
from ml.findings import InputRejected, QualityFlag

if TYPE_CHECKING:
    from pathlib import Path

MIN_ANALYTES = 3  # with WBC among them
DIFFERENTIAL = ("anc_percent", "lymphocytes_percent", "monocytes_percent")


@dataclass(frozen=True)
class LabPanels:
    """Panels in file order. ``values`` has one dict a panel: analyte key → value in the analyte's unit.

    ``notes`` has the quality flags of each panel's own values, ``questioned`` the keys that are used and in question.
    """

    ids: tuple[str, ...]
    values: tuple[dict[str, float], ...]
    unused: tuple[str, ...] = ()
    flags: tuple[QualityFlag, ...] = ()
    notes: tuple[tuple[QualityFlag, ...], ...] = ()
    questioned: tuple[tuple[str, ...], ...] = ()

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
        k = self.ids.index(panel)
        one = replace(
            self,
            ids=(panel,),
            values=(self.values[k],),
            notes=self.notes[k : k + 1],
            questioned=self.questioned[k : k + 1],
        )
        return replace(one, flags=_flags(one))

    def each(self) -> list[LabPanels]:
        return [self.only(panel) for panel in self.ids]


def canonicalise(source: Path, target_dir: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Read ``source`` (CSV, TSV, workbook or JSON; also in gzip or zip) and write ``labs.json`` to ``target_dir``.

    Options: ``sample`` or ``row`` (take this panel), ``many`` (true: several panels are welcome), ``keep_going`` (true:
    leave out the panels that have a fault of their own), ``sheet`` (of a workbook), ``sex`` (the record's: female,
    male; of panels that do not state one, for the ranges that differ by sex).
    A bound, or a value that cannot be, is left out; one that is unusual or contradicts others is used. A flag names it.
    Returns {panels, refused, analytes, unused, flags}. Raises InputRejected.
    """
    found = read_found(source, options.get("sheet"))
    for panel in found.values:
        if panel not in found.sexes:
            found.set_sex(panel, options.get("sex"))
    panels = _choose(LabPanels(tuple(found.values), tuple(found.values.values())), options, source.name)
    for panel in panels.ids:
        with found.panel(panel):
            _check_left(found, panel, f"{source.name}, panel {panel}")
    refused = {panel: found.refused[panel] for panel in panels.ids if panel in found.refused}
    if refused and (not options.get("keep_going") or len(refused) == len(panels.ids)):
        raise next(iter(refused.values()))
    panels = as_panels(found, [panel for panel in panels.ids if panel not in refused])
    said = asdict(panels)
    (target_dir / "labs.json").write_text(json.dumps(said, ensure_ascii=False), "utf-8")
    return {
        "panels": list(panels.ids),
        "refused": [{"sample": panel, **fault.as_dict()} for panel, fault in refused.items()],
        "analytes": sorted({key for values in panels.values for key in values}),
        "unused": list(panels.unused),
        "flags": list(said["flags"]),
    }


def read_found(source: Path, sheet: str | None = None) -> Found:
    """What ``source`` says, before any panel is chosen. InputRejected where the file as a whole cannot be read."""
    if is_workbook(source):
        return from_table(read_table(source, sheet))
    text = decode(read_bytes(source), source.name)
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text, source.name)
    return from_table(read_table(source))


def as_panels(found: Found, ids: list[str]) -> LabPanels:
    """The panels of ``ids``, their doubts put into flags."""
    doubts = [found.doubts(panel) for panel in ids]
    panels = LabPanels(
        tuple(ids),
        tuple(found.values[panel] for panel in ids),
        tuple(sorted(found.unused)),
        notes=tuple(tuple(dict.fromkeys(doubt.flag for doubt in said)) for said in doubts),
        questioned=tuple(tuple(dict.fromkeys(doubt.key for doubt in said if not doubt.out)) for said in doubts),
    )
    return replace(panels, flags=_flags(panels))


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
    """What ``canonicalise`` wrote to ``target_dir``, also before it kept notes of each panel."""
    said = json.loads((target_dir / "labs.json").read_text("utf-8"))
    return LabPanels(
        tuple(said["ids"]),
        tuple(said["values"]),
        tuple(said["unused"]),
        tuple(QualityFlag(**flag) for flag in said["flags"]),
        tuple(tuple(QualityFlag(**flag) for flag in notes) for notes in said.get("notes", [])),
        tuple(tuple(keys) for keys in said.get("questioned", [])),
    )


def check_enough(values: dict[str, float], place: str) -> None:
    used = [key for key in values if load_analytes()[key].used and key != "age"] if values else []
    if len(used) < MIN_ANALYTES or "wbc" not in values:
        raise InputRejected(
            "insufficient",
            place=place,
            problem=f"{len(used)} usable values ({', '.join(used) or 'none'}); white cells and two more are needed.",
            remedy="Add values of the blood count, coagulation or LDH, each with its unit.",
        )


def _check_left(found: Found, panel: str, place: str) -> None:
    """Where too little is left because values cannot be, these are what is wrong."""
    try:
        check_enough(found.values[panel], place)
    except InputRejected as little:
        out = [doubt for doubt in found.impossible.get(panel, []) if doubt.out]
        if not out:
            raise
        where, _, message = out[0].flag.message.partition(": ")
        problem, _, remedy = message.partition("). ")
        raise InputRejected(
            out[0].flag.code,
            place=where,
            problem=f"{problem}).",
            remedy=f"{remedy} Without it, too little is left.",
        ) from little


def _flags(panels: LabPanels) -> tuple[QualityFlag, ...]:
    notes = []
    if panels.unused:
        notes.append(QualityFlag("not_used", f"Read, kept, and not used by the model: {', '.join(panels.unused)}."))
    over = [p for p, v in zip(panels.ids, panels.values, strict=True) if sum(v.get(k, 0) for k in DIFFERENTIAL) > 105]
    if over:
        notes.append(QualityFlag("differential_sum", f"The differential adds up to more than 100 % ({over[0]})."))
    return (*notes, *(flag for said in panels.notes for flag in said))


def _from_json(text: str, name: str) -> Found:
    found = Found()
    for panel, sex, said in read_panels(text, name):
        found.values[panel].update({})
        found.set_sex(panel, sex)
        for place, codes, value, unit in said:
            candidates = next((c for code in codes if (c := candidates_of(code))), [])
            if not candidates:
                found.unused.add(codes[0] if codes else place)
            elif value is not None:
                found.add(panel, as_number(value, place), unit, candidates, place)
    return found


__all__ = ["ID_COLUMNS", "LabPanels", "canonicalise", "check_enough", "load_canonical"]
