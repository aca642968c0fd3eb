"""Patient: out, and in."""

import re
from datetime import date

from django.db.models import Q

from clinic.accounts.access import sites_where
from clinic.audit.models import Action
from clinic.cases.visibility import patients_visible_to
from clinic.errors import InvalidInput
from clinic.interop.fhir.search import Source, by_date, by_reference, by_token, token
from clinic.interop.fhir.structure import MARROW, coding, concept, instant
from clinic.patients.models import Sex
from clinic.patients.services import register_patient

SITE = f"{MARROW}:site"
MRN_OF = re.compile(rf"{SITE}:([-\w]+):mrn")
MR = concept(coding("http://terminology.hl7.org/CodeSystem/v2-0203", "MR", "Medical record number"), text="MRN")
TEST = coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST", "test health data")


def patient_resource(patient):
    family, _, given = patient.name.partition(",")
    name = {"text": patient.name, "family": family.strip()} | ({"given": given.split()} if given.strip() else {})
    meta = {"lastUpdated": instant(patient.created_at)} | ({"security": [TEST]} if patient.synthetic else {})
    born = {"birthDate": patient.birth_date.isoformat()} if patient.birth_date else {}
    return {
        "resourceType": "Patient",
        "id": str(patient.pk),
        "meta": meta,
        "identifier": [{"use": "usual", "type": MR, "system": f"{SITE}:{patient.site.code}:mrn", "value": patient.mrn}],
        "name": [name],
        "gender": patient.sex,
        **born,
        "managingOrganization": {
            "identifier": {"system": SITE, "value": patient.site.code},
            "display": patient.site.name,
        },
    }


def by_identifier(text):
    """``system|number``; our own system also names the site, any other is taken for a record number."""
    system, code = token(text)
    site = MRN_OF.fullmatch(system or "")
    return Q(mrn=code) & (Q(site__code=site[1]) if site else Q())


PATIENTS = Source(
    rows=patients_visible_to,
    resource=patient_resource,
    at="created_at",
    recorded_as=Action.PATIENT_SEARCH,
    filters={
        "identifier": by_identifier,
        "name": lambda text: Q(name__icontains=text),
        "family": lambda text: Q(name__istartswith=text),
        "given": lambda text: Q(name__icontains=text),
        "birthdate": by_date("birth_date", whole_days=True),
        "gender": by_token("gender", {sex: Q(sex=sex) for sex in Sex.values}),
        "organization": lambda text: Q(site__code=token(text)[1]),
        "_lastUpdated": by_date("created_at"),
    },
)
OF_PATIENT = by_reference("Patient", "patient")


def create_patient(said, *, by, place="Patient"):
    """Register the patient that a (valid) Patient resource describes."""
    system, mrn = _record_number(said, place)
    return register_patient(
        site=_site(said, system, by, place),
        mrn=mrn,
        name=_name(said, place),
        birth_date=_birth_date(said, place),
        sex=said.get("gender") or Sex.UNKNOWN,
        synthetic=any(tag.get("code") == "HTEST" for tag in (said.get("meta") or {}).get("security", [])),
        by=by,
    )


def _record_number(said, place):
    numbers = [one for one in said.get("identifier", []) if one.get("value")]
    typed = [one for one in numbers if _is_mrn(one)]
    chosen = typed or numbers
    if len(chosen) != 1:
        problem = f"{len(chosen)} identifiers could be the medical record number."
        raise InvalidInput("no_mrn", problem, "Mark one with the type MR.", place=f"{place}.identifier")
    return chosen[0].get("system", ""), chosen[0]["value"][:64]


def _is_mrn(identifier):
    types = (identifier.get("type") or {}).get("coding", [])
    return any(one.get("code") == "MR" for one in types) or bool(MRN_OF.fullmatch(identifier.get("system", "")))


def _site(said, system, by, place):
    """The site that the resource names, by its organisation or its number's system; the caller's only one else."""
    organisation = said.get("managingOrganization") or {}
    named = MRN_OF.fullmatch(system)
    code = (organisation.get("identifier") or {}).get("value") or (named and named[1])
    code = code or organisation.get("reference", "").removeprefix("Organization/")
    sites = sites_where(by, "case.create")
    found = list((sites.filter(code=code) if code else sites)[:2])
    if len(found) != 1:
        problem = f"{code!r} is no site of yours." if code else "It is not clear to which of your sites this belongs."
        remedy = f"Name it in managingOrganization.identifier, of the system {SITE}."
        raise InvalidInput("unknown_site", problem, remedy, place=f"{place}.managingOrganization")
    return found[0]


def _name(said, place):
    for name in said.get("name", []):
        family, given = name.get("family", ""), " ".join(name.get("given", []))
        if text := name.get("text") or ", ".join(filter(None, (family, given))):
            return text[:200]
    raise InvalidInput("missing", "It has no name.", "Give name.text, or family and given.", place=f"{place}.name")


def _birth_date(said, place):
    """FHIR allows 1990 and 1990-05; a birth date of ours is a day or unknown, and is not made up."""
    born = said.get("birthDate")
    if not born:
        return None
    try:
        return date.fromisoformat(born) if len(born) == 10 else _partial(place)
    except ValueError:
        return _partial(place)


def _partial(place):
    problem = "The birth date is not a whole day."
    raise InvalidInput(
        "partial_date", problem, "Give year, month and day, or leave it out.", place=f"{place}.birthDate"
    )
