"""The laboratory values of a case: each with its unit, its range for age and sex, its flag and what it contributed, and
the patient's panels over time.
"""

import tomllib
from functools import lru_cache
from pathlib import Path

from clinic.cases.downloads import panels_in
from clinic.cases.models import ItemKind, ItemStatus, StudyItem
from clinic.portal.reading import UNITS

RANGES = Path(__file__).with_name("ranges.toml")
PANELS = 50
AGES_APART = 2.0  # years: panels of earlier visits, and ages in whole years
SEX = {"female": "female", "male": "male"}


@lru_cache(maxsize=1)
def load_ranges():
    return tomllib.loads(RANGES.read_text("utf-8"))


def reference_of(key, age, sex):
    """(low, high, whether it is for this age and sex) of an analyte; None where the table has none that fits."""
    for row in load_ranges().get(key, {}).get("rows", []):
        fits_age = age is not None and row.get("from", 0) <= age < row.get("under", 200)
        if fits_age and row.get("sex") in (None, sex):
            return (*row["range"], True)
    return None


def of(case, body):
    """Rows of the panel that was judged, and the course of every value that was measured twice or more."""
    values = (body or {}).get("explanation", {}).get("labs", [])
    said = _said_age(values)
    age = _age(case) if said is None else said
    sex = case.patient.sex
    computed = (body or {}).get("explanation", {}).get("derived", {})
    rows = [_row(lab, age, sex, computed) for lab in values if lab.get("analyte") != "age"]
    rows.sort(key=lambda row: -abs(row["contribution"]))
    panels = panels_of(case.patient)
    names = {lab.get("analyte"): (lab["name"], lab["unit"]) for lab in values}
    return {
        "rows": rows,
        "age": age,
        "age_note": age_note(case, body),
        "courses": courses(panels, names, age, sex),
        "panels": len(panels),
    }


def age_note(case, body):
    """What to mind where the table's age is not the patient's: perhaps the table is somebody else's. "" where it is."""
    said, own = _said_age((body or {}).get("explanation", {}).get("labs", [])), _age(case)
    if said is None or own is None or abs(said - own) <= AGES_APART:
        return ""
    return (
        f"The table says {said:.0f} years; the patient was {own:.0f} when this case was opened. "
        "Check that it is this patient's."
    )


def _said_age(values):
    return next((lab["value"] for lab in values if lab.get("analyte") == "age" and lab["value"] is not None), None)


def _age(case):
    born = case.patient.birth_date
    return (case.created_at.date() - born).days / 365.25 if born else None


def _row(lab, age, sex, computed):
    low, high, fitted = _range(lab, age, sex)
    value = lab["value"]
    return {
        "name": lab["name"],
        "value": value,
        "unit": UNITS.get(lab["unit"], lab["unit"]),
        "low": low,
        "high": high,
        "fitted": fitted,
        "flag": _flag(value, low, high),
        "computed": lab.get("analyte") in computed,
        "contribution": lab["contribution"],
        "place": _place(value, low, high),
    }


def _range(lab, age, sex):
    found = reference_of(lab.get("analyte"), age, sex)
    if found:
        return found
    low, high = lab.get("reference") or (None, None)
    return low, high, bool(lab.get("reference_for"))


def _flag(value, low, high):
    if value is None or low is None:
        return ""
    return "low" if value < low else "high" if value > high else ""


def _place(value, low, high):
    """Where a value lies on a bar of which the range is the middle third, 0 to 1; None where nothing can be drawn."""
    if value is None or low is None or high <= low:
        return None
    return min(max((value - low) / (high - low) / 3 + 1 / 3, 0.0), 1.0)


def panels_of(patient):
    """[(when, values)] of the patient's accepted panels, as the reader wrote them: analyte → value in its own unit."""
    items = StudyItem.objects.filter(case__patient=patient, kind=ItemKind.LABS, status=ItemStatus.VALID)
    panels = []
    for item in items.order_by("-received_at")[:PANELS]:
        for name, values in panels_in(item):
            panels.append({"at": item.received_at, "item": item, "panel": name, "values": values})
    return panels[::-1]


def courses(panels, names, age, sex):
    """One course an analyte that was measured twice or more: its points in a drawing, and as a table."""
    keys = dict.fromkeys(key for panel in panels for key in panel["values"] if key != "age")
    found = []
    for key in keys:
        points = [(panel["at"], panel["values"][key]) for panel in panels if key in panel["values"]]
        if len(points) > 1:
            name, unit = names.get(key, (key, ""))
            reference = reference_of(key, age, sex)
            found.append({"name": name, "unit": UNITS.get(unit, unit), **_drawn(points, reference)})
    return found


def _drawn(points, reference, width=300.0, height=80.0):
    times, values = zip(*points, strict=True)
    start, length = times[0], max((times[-1] - times[0]).total_seconds(), 1.0)
    low, high = min(values), max(values)
    if reference:
        low, high = min(low, reference[0]), max(high, reference[1])
    span = (high - low) or 1.0

    def y(value):
        return height - 6 - (value - low) / span * (height - 12)

    same = (times[-1] - times[0]).total_seconds() < 1
    dots = [
        {
            "x": 8 + (width - 16) * (k / (len(points) - 1) if same else (at - start).total_seconds() / length),
            "y": y(value),
            "at": at,
            "value": value,
            "flag": _flag(value, *(reference[:2] if reference else (None, None))),
        }
        for k, (at, value) in enumerate(points)
    ]
    band = {"y": y(reference[1]), "height": y(reference[0]) - y(reference[1])} if reference else None
    line = " ".join(f"{dot['x']:.1f},{dot['y']:.1f}" for dot in dots)
    return {"points": dots, "line": line, "band": band, "width": width, "height": height, "reference": reference}
