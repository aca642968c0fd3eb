"""Observations in JSON, plain or FHIR R4, as they were sent: which place, which codes, what value, what unit."""

from __future__ import annotations

import json
import sys
from typing import Any

from genomics.labs.plausible import is_bound
from ml.findings import InputRejected

Said = tuple[str, list[str], Any, str | None]  # place, codes, value, unit


def parse(text: str, name: str) -> Any:
    def no_constant(word: str) -> Any:
        raise InputRejected("not_a_number", place=name, problem=f"{word} is no value.", remedy="Leave the value out.")

    try:
        return json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError) as broken:  # ValueError: also a number of thousands of digits
        line = getattr(broken, "lineno", 1)
        raise InputRejected(
            "bad_json", place=f"{name}, line {line}", problem="This is no valid JSON.", remedy="Export it again."
        ) from broken


def read_panels(text: str, name: str) -> list[tuple[str, Any, list[Said]]]:
    """The panels of a JSON text: (id, sex as it is written, observations).

    InputRejected (bad_json, wrong_shape, several_panels …).
    """
    return panels_of(parse(text, name), name)


def panels_of(said: Any, name: str) -> list[tuple[str, Any, list[Said]]]:
    """``read_panels`` of an object that is parsed already."""
    entries = observations_of(said)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputRejected(
            "wrong_shape",
            place=name,
            problem="No list of observations.",
            remedy='Send {"observations": [{"code", "value", "unit"}], "age": …} or FHIR Observations.',
        )
    subjects = {str(e["subject"].get("reference")) for e in entries if isinstance(e.get("subject"), dict)}
    if len(subjects) > 1:
        raise InputRejected(
            "several_panels",
            place=name,
            problem=f"The observations are of {len(subjects)} patients.",
            remedy="Send those of one patient.",
        )
    read = [_observation(entry, f"{name}, observation {k}") for k, entry in enumerate(entries, start=1)]
    if isinstance(said, dict) and said.get("age") is not None:
        read.append((f"{name}, age", ["age"], said["age"], "a"))
    panel = str(said.get("id", "1")) if isinstance(said, dict) and "observations" in said else "1"
    return [(panel, _sex(said), read)]


def _sex(said: Any) -> Any:
    """``sex`` or ``gender`` of a plain object, or of the Patient of a FHIR bundle."""
    if not isinstance(said, dict):
        return None
    resources = [_dict(_dict(entry).get("resource")) for entry in _list(said.get("entry"))]
    people = [r for r in resources if r.get("resourceType") == "Patient"]
    return next((p["gender"] for p in [said, *people] if p.get("gender")), said.get("sex"))


def observations_of(said: Any) -> Any:
    """The list of observations of a plain object or of FHIR; whatever else was sent, as it is."""
    if isinstance(said, dict) and said.get("resourceType") == "Bundle":
        resources = [_dict(_dict(entry).get("resource")) for entry in _list(said.get("entry"))]
        return [r for r in resources if r.get("resourceType") == "Observation"]
    if isinstance(said, dict) and said.get("resourceType") == "Observation":
        return [said]
    return said.get("observations") if isinstance(said, dict) else said


def _observation(entry: dict[str, Any], place: str) -> Said:
    if entry.get("resourceType") != "Observation":
        code = str(entry.get("code", entry.get("loinc", "")))
        return f"{place} ({code})", [code], entry.get("value"), _text(entry.get("unit"))
    coding = [_dict(one) for one in _list(_dict(entry.get("code")).get("coding"))]
    codes = [str(c.get("code", "")) for c in coding if "loinc" in str(c.get("system", "loinc"))]
    quantity = _dict(entry.get("valueQuantity"))
    place = f"{place} ({codes[0] if codes else 'no code'})"
    value = quantity.get("value")
    if quantity.get("comparator"):
        value = f"{quantity['comparator']}{value}"
    return place, codes or [place], value, _text(quantity.get("code") or quantity.get("unit"))


def as_number(value: Any, place: str) -> float | str:
    """A finite number; a bound (``<0.6``) as it is. InputRejected (not_a_number)."""
    if is_bound(value):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise InputRejected(
            "not_a_number", place=place, problem=f"{value!r} is no number.", remedy="Give the value as a JSON number."
        )
    return float(value)


def _dict(said: Any) -> dict[str, Any]:
    return said if isinstance(said, dict) else {}


def _list(said: Any) -> list[Any]:
    return said if isinstance(said, list) else []


def _text(said: Any) -> str | None:
    return None if said is None else str(said)
