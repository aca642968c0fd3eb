"""Laboratory results from other systems: taken, corrected, withdrawn, held for a person; and made a panel of a case."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.canonical import canonical_json, plain
from clinic.cases.models import Case, ItemKind
from clinic.cases.services import open_case, receive_item
from clinic.errors import Conflict, InvalidInput
from clinic.interop.results.models import (
    HeldResult,
    HeldStatus,
    LabResult,
    LocalCode,
    PanelOfResults,
    ResultStatus,
)
from clinic.interop.terminology import judge

ONE_PANEL = timedelta(hours=24)
LEAST = 3  # what the reader of labs needs, white cells among them
DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Incoming:
    """A result as it was sent. ``loinc`` is empty where the sender's code is its own."""

    identifier: str
    loinc: str
    local_code: str
    text: str
    number: float | None
    said_value: str
    unit: str
    taken_at: datetime
    status: str = ResultStatus.FINAL


@transaction.atomic
def receive_result(*, patient, incoming, source, by, place="observation"):
    """Take one result of ``patient``. Returns (result, whether it is new).

    The same result again changes nothing. Another value under the same identifier supersedes the one before only where
    it says that it is a correction. Raises InvalidInput (code, unit, value) and Conflict (changed, unmarked).
    """
    require(by, "item.upload", patient.site, obj=patient)
    before = current_results(patient).filter(source=source, identifier=incoming.identifier).first()
    fields = (
        _withdrawn(before, place) if incoming.status == ResultStatus.WITHDRAWN else _judged(incoming, patient, place)
    )
    fields |= {"taken_at": incoming.taken_at}
    if before and _says_the_same(before, incoming, fields):
        return before, False
    if before and incoming.status == ResultStatus.FINAL:
        problem = f"The result {incoming.identifier} is known with another value, unit or time."
        raise Conflict("changed_result", problem, "Send it as corrected, or under its own identifier.", place=place)
    result = _create(
        patient=patient,
        source=source,
        identifier=incoming.identifier,
        status=incoming.status,
        supersedes=before,
        received_by=by,
        **fields,
    )
    said = {"source": source, "status": result.status, "supersedes": str(before.pk) if before else ""}
    record(Action.RESULT_RECEIVE, by=by, obj=result, patient=patient, detail=said, after=fields)
    return result, True


def _says_the_same(before, incoming, fields):
    withdrawn = [status == ResultStatus.WITHDRAWN for status in (before.status, incoming.status)]
    return withdrawn[0] == withdrawn[1] and all(getattr(before, name) == value for name, value in fields.items())


def _judged(incoming, patient, place):
    loinc = incoming.loinc or _local_meaning(patient.site, incoming.local_code)
    if not loinc:
        problem = f"The code {incoming.local_code or incoming.text!r} is not LOINC, and this site gave it no meaning."
        raise InvalidInput("unknown_code", problem, "Send the LOINC code, or decide what it means.", place=place)
    if incoming.number is None:
        problem = f"{incoming.said_value[:60]!r} is no measured number."
        raise InvalidInput("not_a_number", problem, "Send the measured value as a number with its unit.", place=place)
    one = judge(loinc=loinc, number=incoming.number, unit=incoming.unit, place=place)
    said = asdict(one)
    return {name: said[name] for name in ("loinc", "analyte", "value", "unit", "number", "unit_sent")}


def _withdrawn(before, place):
    if before is None:
        problem = "The result that is withdrawn is not known."
        raise InvalidInput("unknown_result", problem, "Check its identifier.", place=place)
    return {name: getattr(before, name) for name in ("loinc", "analyte", "value", "unit", "number", "unit_sent")}


def _local_meaning(site, code):
    return LocalCode.objects.filter(site=site, code=code).values_list("loinc", flat=True).first() if code else None


def _create(**fields):
    try:
        with transaction.atomic():
            return LabResult.objects.create(**fields)
    except IntegrityError as error:
        problem = "Another delivery of this result is being taken just now."
        raise Conflict("result_race", problem, "Send it again.", place="identifier") from error


def current_results(patient):
    """Every result's newest state, also those withdrawn."""
    return LabResult.objects.filter(patient=patient, superseded_by__isnull=True)


# --- what waits for a person ----------------


@transaction.atomic
def hold_result(*, site, patient, incoming, source, fault, by, seen=None):
    """Keep a result that no rule could place, with the reason. ``seen``: what the sender said of the patient."""
    require(by, "item.upload", site)
    held = HeldResult.objects.create(
        site=site,
        patient=patient,
        source=source,
        reason=fault.code,
        problem=fault.detail,
        local_code=incoming.local_code,
        said=plain(asdict(incoming) | {"patient": seen or {}}),
        received_by=by,
    )
    record(Action.RESULT_HOLD, by=by, obj=held, patient=patient, site=site, detail={"reason": fault.code})
    return held


@transaction.atomic
def take_held(*, held, by, loinc="", unit="", patient=None, number=None, remember=False):
    """A person says what a held result is. ``remember`` keeps the meaning of the site's code for the next time."""
    require(by, "item.upload", held.site, obj=held)
    person = patient or held.patient
    if person is None:
        raise InvalidInput("missing", "Nobody knows whose result this is.", "Name the patient.", place="patient")
    if person.site_id != held.site_id:
        problem = "This patient belongs to another site."
        raise InvalidInput("other_site", problem, "Name one of the result's site.", place="patient")
    incoming = _decided(held, loinc, unit, number)
    result, _ = receive_result(patient=person, incoming=incoming, source=held.source, by=by, place="held result")
    decision = f"taken as {result.loinc}" + (f" in {unit}" if unit else "") + (f" of {person.mrn}" if patient else "")
    _decide(held, HeldStatus.TAKEN, decision, by, result=result)
    if remember and loinc and held.local_code:
        LocalCode.objects.get_or_create(
            site=held.site, code=held.local_code, defaults={"loinc": loinc, "decided_by": by}
        )
    make_panel(patient=person, by=by)
    return result


@transaction.atomic
def dismiss_held(*, held, reason, by):
    require(by, "item.upload", held.site, obj=held)
    if not reason.strip():
        raise InvalidInput("missing", "To dismiss a result needs a reason.", "Say why.", place="reason")
    _decide(held, HeldStatus.DISMISSED, reason.strip()[:500], by)


def _decided(held, loinc, unit, number):
    said = {name: value for name, value in held.said.items() if name != "patient"}
    said["taken_at"] = datetime.fromisoformat(said["taken_at"])
    changes = {"loinc": loinc, "unit": unit, "number": number}
    return Incoming(**said | {name: value for name, value in changes.items() if value not in ("", None)})


def _decide(held, status, decision, by, **fields):
    waiting = HeldResult.objects.filter(pk=held.pk, status=HeldStatus.WAITING)
    said = {"status": status, "decision": decision, "decided_by": by, "decided_at": timezone.now(), **fields}
    if not waiting.update(**said):
        raise Conflict("decided_already", "Somebody decided on this result already.", "Look at it again.")
    for name, value in said.items():
        setattr(held, name, value)
    record(Action.RESULT_DECIDE, by=by, obj=held, patient=held.patient, site=held.site, detail={"decision": decision})


# --- the panel that the models read ----------------


@transaction.atomic
def make_panel(*, patient, by):
    """Put the patient's newest panel into the newest case (opened where there is none), as a labs item.

    A panel is the newest value of each analyte within 24 hours of the newest one. Returns the item, or None where the
    values do not suffice yet (white cells and two more), or are in the case already.
    """
    chosen = _newest_panel(patient)
    if len(chosen) < LEAST or not any(one.analyte == "wbc" for one in chosen):
        return None
    case = Case.objects.filter(patient=patient).order_by("-created_at", "-pk").first()
    if case is None:
        case = open_case(patient=patient, title="Laboratory results received", by=by)
    body = canonical_json(_as_panel(patient, chosen))
    taken = max(one.taken_at for one in chosen)
    try:
        item = receive_item(
            case=case, file=[body], filename=f"results {taken:%Y-%m-%d %H%M}.json", kind=ItemKind.LABS, by=by
        )
    except Conflict as conflict:
        if conflict.code != "duplicate_item":
            raise
        return None
    PanelOfResults.objects.create(case=case, item=item).results.set(chosen)
    return item


def _newest_panel(patient):
    rows = current_results(patient).exclude(status=ResultStatus.WITHDRAWN).order_by("-taken_at", "-received_at")
    newest = rows.first()
    if newest is None:
        return []
    by_analyte = {}
    for one in rows.filter(taken_at__gte=newest.taken_at - ONE_PANEL):
        by_analyte.setdefault(one.analyte, one)
    return sorted(by_analyte.values(), key=lambda one: one.analyte)


def _as_panel(patient, chosen):
    panel = {
        "observations": [{"code": one.loinc, "value": float(f"{one.value:.10g}"), "unit": one.unit} for one in chosen],
        "sex": patient.sex,
    }
    if patient.birth_date and not any(one.analyte == "age" for one in chosen):
        days = (max(one.taken_at for one in chosen).date() - patient.birth_date).days
        panel["age"] = round(max(days, 0) / DAYS_A_YEAR, 2)
    return panel
