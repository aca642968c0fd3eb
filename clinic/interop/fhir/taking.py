"""FHIR in: one resource, or a transaction Bundle that is taken whole or not at all."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from django.db import transaction

from clinic.cases.visibility import find, patients_visible_to
from clinic.errors import InvalidInput, MarrowError
from clinic.interop.fhir.kinds import CREATED, SOURCES
from clinic.interop.fhir.labs import create_lab, lab_resource
from clinic.interop.fhir.outcome import NotUnderstood, SeveralMatch
from clinic.interop.fhir.people import by_identifier, create_patient, patient_resource
from clinic.interop.fhir.search import filtered, known_parameters
from clinic.interop.fhir.structure import accepted
from clinic.interop.results.services import make_panel

MOST_ENTRIES = 1000


@dataclass(frozen=True)
class Taken:
    """What became of one resource: its id, its form here, and whether it is new."""

    kind: str
    pk: str
    resource: dict
    created: bool


@transaction.atomic
def create(kind, data, *, by, if_none_exist=""):
    """Take one resource (conditionally). A laboratory value may complete its patient's panel."""
    said = accepted(data, kind)
    taken, patient = _take(kind, said, by, if_none_exist, kind, {})
    if patient and taken.created:
        make_panel(patient=patient, by=by)
    return taken


@transaction.atomic
def transact(data, *, by):
    """Take a transaction Bundle: patients first, then their values, whatever the order. Returns a Taken per entry."""
    bundle = accepted(data, "Bundle")
    if bundle["type"] != "transaction":
        problem = f"A Bundle of the type {bundle['type']} is not taken here."
        raise NotUnderstood("not_a_transaction", problem, "Send a transaction.", place="Bundle.type")
    entries = bundle.get("entry", [])
    if len(entries) > MOST_ENTRIES:
        problem = f"The Bundle has {len(entries)} entries."
        raise InvalidInput("too_many", problem, f"Send at most {MOST_ENTRIES}.", place="Bundle.entry")
    kinds = [_kind_of(entry, n) for n, entry in enumerate(entries)]
    order = sorted(range(len(entries)), key=lambda n: CREATED.index(kinds[n]))
    known, taken, touched = {}, {}, {}
    for n in order:
        taken[n], patient = _entry(entries[n], kinds[n], n, by, known)
        if patient and taken[n].created:
            touched[patient.pk] = patient
    for patient in touched.values():
        make_panel(patient=patient, by=by)
    return [taken[n] for n in range(len(entries))]


def _kind_of(entry, n):
    place, request = f"Bundle.entry[{n}].request", entry.get("request") or {}
    kind = urlsplit(request.get("url", "")).path.strip("/")
    if request.get("method") != "POST" or kind not in CREATED:
        problem = f"{request.get('method', 'No method')} {kind or 'nothing'} is not possible in a transaction here."
        raise NotUnderstood("not_in_transaction", problem, f"POST {' or '.join(CREATED)}.", place=place)
    if (entry.get("resource") or {}).get("resourceType") != kind:
        raise NotUnderstood("other_type", f"The resource is no {kind}.", "Name its own type.", place=f"{place}.url")
    return kind


def _entry(entry, kind, n, by, known):
    place = f"Bundle.entry[{n}].resource"
    try:
        taken, patient = _take(kind, entry["resource"], by, entry["request"].get("ifNoneExist", ""), place, known)
    except MarrowError as error:
        error.place = error.place if error.place.startswith("Bundle") else place
        raise
    if entry.get("fullUrl"):
        known[entry["fullUrl"]] = f"{kind}/{taken.pk}"
    return taken, patient


def _take(kind, said, by, if_none_exist, place, known):
    """Returns (Taken, the patient whose values these are or None)."""
    if if_none_exist and (there := _existing(kind, if_none_exist, by)):
        source, row = there
        return Taken(kind, str(row.pk), source.resource(row), False), None
    if kind == "Patient":
        patient = create_patient(said, by=by, place=place)
        return Taken(kind, str(patient.pk), patient_resource(patient), True), None
    patient = _subject(said, by, place, known)
    result, created = create_lab(said, patient, by=by, place=place)
    return Taken(kind, str(result.pk), lab_resource(result), created), patient


def _existing(kind, query, by):
    """What a conditional create finds. None: create it. Raises SeveralMatch."""
    asked = parse_qs(query.lstrip("?"), keep_blank_values=True)
    source = SOURCES[kind][0]
    if not asked or set(asked) - known_parameters([source]):
        raise NotUnderstood("bad_condition", f"{query[:80]!r} is no search of {kind}.", place="ifNoneExist")
    found = list(filtered(source, by, asked)[:2])
    if len(found) > 1:
        raise SeveralMatch("several_match", "More than one resource matches the condition.", "Make it narrower.")
    return (source, found[0]) if found else None


def _subject(said, by, place, known):
    subject = said.get("subject") or {}
    text = known.get(subject.get("reference", ""), subject.get("reference", ""))
    if text.startswith("Patient/"):
        return find(patients_visible_to, text.removeprefix("Patient/"), by=by)
    if number := subject.get("identifier"):
        asked = by_identifier("|".join(filter(None, (number.get("system", ""), number.get("value", "")))))
        if len(found := patients_visible_to(by).filter(asked)[:2]) == 1:
            return found[0]
    problem = f"No patient of yours is known by {(text or 'no reference')[:80]!r}."
    remedy = "Refer to Patient/id, to an entry's fullUrl, or give subject.identifier."
    raise InvalidInput("unknown_patient", problem, remedy, place=f"{place}.subject")
