"""An analysis made again from what was kept, and held against what the audit log says came out.

The log alone says what went in (each input's hash, each bundle's and calibration's hash), what came out (the digests
of the findings and of the assessment), and who reviewed it how. The inputs come from the store, read anew from their
bytes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from clinic.audit.models import Action, AuditEvent
from clinic.canonical import digest, plain
from clinic.cases import files
from clinic.cases.models import Analysis, Assessment, StudyItem
from clinic.cases.models import Finding as SavedFinding
from clinic.cases.sealing import Damaged
from ml.bundle import BundleError
from ml.findings import Finding
from workers.analysis import finding_of, fused
from workers.labs_site import used_by
from workers.modalities import MODALITIES, function
from workers.tasks import read_again

NEAR = 1e-6  # of a figure: another number of threads adds in another order
SHOWN = 8


@dataclass
class Told:
    """What the log says of one analysis."""

    items: dict[str, str]
    bundles: dict[str, str]
    findings: dict[str, str] = field(default_factory=dict)
    assessment: str = ""
    reviews: list[dict[str, str]] = field(default_factory=list)


def told(analysis_id: str) -> Told | None:
    """Read from audit events and nothing else; None where the log knows no such analysis."""
    said: Told | None = None
    for event in AuditEvent.objects.filter(object_type="analysis", object_id=analysis_id).order_by("seq"):
        body = json.loads(event.body)
        if event.action == Action.ANALYSIS_REQUEST:
            said = Told(body["detail"]["items"], body["detail"]["bundles"])
        elif said and event.action == Action.FINDING_SAVE:
            said.findings[body["detail"]["modality"]] = body["after"]
        elif said and event.action == Action.ANALYSIS_COMPLETE:
            said.assessment = body["after"]
            said.reviews = _reviews(event.case_id, said.assessment)
    return said


def _reviews(case_id: str, assessment: str) -> list[dict[str, str]]:
    signed = AuditEvent.objects.filter(action=Action.REPORT_SIGN, case_id=case_id).order_by("seq")
    bodies = [json.loads(event.body) for event in signed]
    names = ("decision", "diagnosis", "report_digest")
    return [
        {"reviewer": body["actor"]["name"], "at": body["at"], **{name: body["detail"][name] for name in names}}
        for body in bodies
        if body["detail"].get("assessment_digest") == assessment
    ]


def replay(analysis: Analysis) -> dict[str, Any]:
    """``{"same": …, "differences": […], …}``: every difference names what differs."""
    said = told(str(analysis.pk))
    if said is None or not said.assessment:
        return {"same": False, "differences": ["The log knows no such analysis that came to an end."]}
    items = list(StudyItem.objects.filter(pk__in=said.items).select_related("case__patient__site"))
    differences = [*_inputs(said, items), *_rows(analysis, said)]
    result = {"analysis": str(analysis.pk), "items": said.items, "bundles": said.bundles, "reviews": said.reviews}
    if differences:
        return {"same": False, "differences": differences, **result}
    try:
        findings, differences = _findings(analysis, said, items)
        differences += _compared("assessment", fused(analysis, findings), said.assessment, _assessment(analysis))
    except BundleError as error:
        differences = [f"A bundle cannot be used: {error}"]
    exact = not differences
    apart = [line for line in differences if not line.endswith("(rounding)")]
    return {"same": not apart, "exact": exact, "differences": differences, **result}


def _assessment(analysis: Analysis) -> dict[str, Any]:
    body: dict[str, Any] = Assessment.objects.get(analysis=analysis).body
    return body


def _inputs(said: Told, items: list[StudyItem]) -> list[str]:
    """Inputs that are gone, or are not those that the log names."""
    there = {str(item.pk): item for item in items}
    problems = [f"item {pk}: gone" for pk in said.items if pk not in there]
    for pk, item in there.items():
        try:
            with files.plain(said.items[pk]) as path:
                same = item.sha256 == said.items[pk] == files.sha256_of(path)
        except (OSError, Damaged) as error:
            problems.append(f"item {pk} ({item.filename}): its bytes cannot be read: {error}")
            continue
        if not same:
            problems.append(f"item {pk} ({item.filename}): its bytes are not those that were analysed")
    return problems


def _rows(analysis: Analysis, said: Told) -> list[str]:
    """Stored results that are not those which the log says came out."""
    kept = {row.modality: digest(row.body) for row in SavedFinding.objects.filter(analysis=analysis)}
    kept["assessment"] = digest(_assessment(analysis))
    logged = {**said.findings, "assessment": said.assessment}
    wrong = [name for name in sorted(kept.keys() | logged.keys()) if kept.get(name) != logged.get(name)]
    changed = [f"{name}: what is stored is not what the log says came out" for name in wrong]
    return changed + (["bundles: the row names others than the log"] if analysis.bundles != said.bundles else [])


def _findings(analysis: Analysis, said: Told, items: list[StudyItem]) -> tuple[list[Finding], list[str]]:
    findings, differences = [], []
    for modality in MODALITIES:
        own = sorted((item for item in items if item.kind == modality), key=lambda item: (item.received_at, item.pk))
        if own:
            stored = SavedFinding.objects.get(analysis=analysis, modality=modality).body
            finding, _ = finding_of(modality, own, said.bundles, load=_read, labs_site=used_by(stored))
            differences += _compared(modality, finding.as_dict(), said.findings.get(modality, ""), stored)
            findings.append(finding)
    return findings, differences


def _read(item: StudyItem) -> Any:
    """The item's bytes read by its reader once more, not what an earlier reading left."""
    with files.workplace() as folder:
        read_again(item, folder)
        return function(MODALITIES[item.kind].load)(folder)


def _compared(name: str, made: dict[str, Any], logged: str, stored: dict[str, Any]) -> list[str]:
    """Nothing where the digest is the log's; else where the two differ, and whether by more than rounding."""
    made = plain(made)
    if digest(made) == logged:
        return []
    apart = list(differing(made, stored))
    lines = [
        f"{name}{place}: {ours!r} instead of {theirs!r}" for place, ours, theirs in apart if not near(ours, theirs)
    ]
    return lines[:SHOWN] or [f"{name}: {len(apart)} figures differ by less than {NEAR:g} (rounding)"]


def differing(one: Any, other: Any, place: str = "") -> Any:
    """(place, one, other) of each leaf of two JSON values that differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differing(one.get(key), other.get(key), f"{place}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for n, (ours, theirs) in enumerate(zip(one, other, strict=True)):
            yield from differing(ours, theirs, f"{place}[{n}]")
    elif one != other:
        yield place, one, other


def near(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return numbers and math.isclose(one, other, rel_tol=NEAR, abs_tol=NEAR)
