"""Observation of a laboratory value: out, and in by LOINC and UCUM."""

import uuid
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from clinic.audit.models import Action
from clinic.errors import InvalidInput
from clinic.interop.fhir.people import OF_PATIENT
from clinic.interop.fhir.search import EVERY, Source, by_date, token
from clinic.interop.fhir.structure import MARROW, coding, concept, instant, of_patient
from clinic.interop.results.models import ResultStatus
from clinic.interop.results.models import Source as SentBy
from clinic.interop.results.services import Incoming, receive_result
from clinic.interop.results.visibility import results_visible_to
from clinic.interop.terminology import LOINC, UCUM, name_of

CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
LABORATORY = concept(coding(CATEGORY, "laboratory", "Laboratory"), text="Laboratory")
STATUS_OUT = {
    ResultStatus.FINAL: "final",
    ResultStatus.CORRECTED: "corrected",
    ResultStatus.WITHDRAWN: "entered-in-error",
}
STATUS_IN = {
    "final": ResultStatus.FINAL,
    "corrected": ResultStatus.CORRECTED,
    "amended": ResultStatus.CORRECTED,
    "entered-in-error": ResultStatus.WITHDRAWN,
}


def lab_resource(result):
    quantity = {"value": result.value, "unit": result.unit, "system": UCUM, "code": result.unit}
    return {
        "resourceType": "Observation",
        "id": str(result.pk),
        "meta": {"lastUpdated": instant(result.received_at)},
        "identifier": [_as_identifier(result.identifier)],
        "status": STATUS_OUT[result.status],
        "category": [LABORATORY],
        "code": concept(coding(LOINC, result.loinc, name_of(result.loinc)), text=name_of(result.loinc)),
        "subject": of_patient(result.patient),
        "effectiveDateTime": instant(result.taken_at),
        "issued": instant(result.received_at),
        "valueQuantity": quantity,
        "note": [{"text": f"Received as {result.number:g} {result.unit_sent}".strip()}],
    }


def _as_identifier(text):
    system, bar, value = text.rpartition("|")
    return {"system": system, "value": value} if bar and system else {"value": value}


def _by_code(text):
    system, code = token(text)
    return Q(loinc=code) if system in (None, LOINC) else None


LABS = Source(
    rows=results_visible_to,
    resource=lab_resource,
    at="taken_at",
    recorded_as=Action.RESULT_READ,
    filters={
        "patient": OF_PATIENT,
        "subject": OF_PATIENT,
        "identifier": lambda text: Q(identifier=text) | Q(identifier__endswith=f"|{text}"),
        "code": _by_code,
        "category": lambda text: EVERY if token(text)[1] == "laboratory" else None,
        "status": lambda text: Q(status=STATUS_IN[text]) if text in STATUS_IN else None,
        "date": by_date("taken_at"),
        "_lastUpdated": by_date("received_at"),
    },
)


def create_lab(said, patient, *, by, place="Observation"):
    """Take the laboratory value that a (valid) Observation states. Returns (result, whether it is new)."""
    return receive_result(
        patient=patient, incoming=_incoming(said, place), source=SentBy.FHIR, by=by, place=f"{place}.valueQuantity"
    )


def _incoming(said, place):
    status = STATUS_IN.get(said["status"])
    if status is None:
        problem = f"A value that is {said['status']} may still change."
        raise InvalidInput("not_final", problem, "Send it once it is final.", place=f"{place}.status")
    if said.get("component") or said.get("hasMember"):
        problem = "One Observation is one value here; this one has parts."
        raise InvalidInput("several_values", problem, "Send an Observation for each.", place=f"{place}.component")
    quantity = _quantity(said, place)
    return Incoming(
        identifier=_identifier(said),
        loinc=_loinc(said, place),
        local_code="",
        text=said["code"].get("text", ""),
        number=float(quantity["value"]) if "value" in quantity else None,
        said_value=str(quantity.get("value", "")),
        unit=_unit(quantity, place),
        taken_at=_taken_at(said, place),
        status=status,
    )


def _identifier(said):
    """What makes a second delivery the same result; one of our own making where the sender has none."""
    for one in said.get("identifier", []):
        if one.get("value"):
            return "|".join(filter(None, (one.get("system", ""), one["value"])))[:255]
    return f"{MARROW}:unnamed|{uuid.uuid4()}"


def _loinc(said, place):
    codes = {one.get("code", "") for one in said["code"].get("coding", []) if one.get("system") == LOINC}
    if len(codes) != 1:
        problem = f"It has {len(codes)} different LOINC codes."
        raise InvalidInput("no_loinc", problem, f"Give one coding of {LOINC}.", place=f"{place}.code")
    return codes.pop()


def _quantity(said, place):
    quantity = said.get("valueQuantity")
    if quantity is None and said["status"] != "entered-in-error":
        problem = "It has no measured number."
        raise InvalidInput("no_value", problem, "Send a valueQuantity.", place=f"{place}.valueQuantity")
    if (quantity or {}).get("comparator"):
        problem = f"A bound ({quantity['comparator']}) is no measured value."
        raise InvalidInput("not_a_number", problem, "Send the value, or leave it out.", place=f"{place}.valueQuantity")
    return quantity or {}


def _unit(quantity, place):
    """The code where it is UCUM; what a person reads else. Where both are there and differ, the code is meant."""
    if quantity.get("code") and quantity.get("system") not in (None, UCUM):
        problem = "The unit is coded in a system that is not UCUM."
        raise InvalidInput("not_ucum", problem, f"Code it in {UCUM}.", place=f"{place}.valueQuantity")
    return (quantity.get("code") or quantity.get("unit") or "")[:60]


def _taken_at(said, place):
    text = said.get("effectiveDateTime") or said.get("effectiveInstant") or ""
    moment = parse_datetime(text) or (parse_date(text) if len(text) == 10 else None)
    if moment is None:
        problem = "It does not say on which day the specimen was taken."
        raise InvalidInput("no_time", problem, "Give effectiveDateTime.", place=f"{place}.effectiveDateTime")
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001 (made aware below)
    moment = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    if moment > timezone.now() + timedelta(days=1):
        raise InvalidInput("in_future", "This time lies ahead.", "Correct it.", place=f"{place}.effectiveDateTime")
    return moment
