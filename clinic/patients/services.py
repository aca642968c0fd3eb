from django.db import IntegrityError, transaction
from django.utils import timezone

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.errors import Conflict, InvalidInput
from clinic.patients.models import Patient, Sex


@transaction.atomic
def register_patient(*, site, mrn, name, birth_date=None, sex=Sex.UNKNOWN, synthetic=False, by):
    require(by, "case.create", site)
    said = {"mrn": mrn.strip(), "name": name.strip(), "birth_date": birth_date, "sex": sex, "synthetic": synthetic}
    for field in ("mrn", "name"):
        if not said[field]:
            raise InvalidInput(
                "missing", "It is empty.", "Give it as it stands in the hospital's records.", place=field
            )
    _check_birth_date(birth_date)
    try:
        with transaction.atomic():
            patient = Patient.objects.create(site=site, created_by=by, **said)
    except IntegrityError as error:
        remedy = "Open that patient, or correct the number."
        raise Conflict(
            "mrn_exists", "A patient with this number is known at this site.", remedy, place="mrn"
        ) from error
    record(Action.PATIENT_CREATE, by=by, obj=patient, after=said)
    return patient


@transaction.atomic
def edit_patient(*, patient, changes, by):
    """Correct name, birth date or sex (``changes``: field → value); the record number identifies and stays."""
    require(by, "case.create", patient.site, obj=patient)
    _check_birth_date(changes.get("birth_date"))
    if "name" in changes and not changes["name"].strip():
        raise InvalidInput("missing", "It is empty.", "Give it as it stands in the hospital's records.", place="name")
    before = {name: getattr(patient, name) for name in changes}
    for name, value in changes.items():
        setattr(patient, name, value)
    patient.save(update_fields=list(changes))
    record(Action.PATIENT_EDIT, by=by, obj=patient, detail={"fields": sorted(changes)}, before=before, after=changes)
    return patient


def _check_birth_date(birth_date):
    if birth_date and birth_date > timezone.localdate():
        raise InvalidInput("not_born_yet", "This date lies ahead.", "Correct the date of birth.", place="birth_date")


def search_patients(patients, text):
    """Those of ``patients`` whose name or record number has ``text`` in it; one or two characters must begin a word."""
    wanted = wanted_in(text)
    return patients.filter(search__contains=wanted) if wanted.strip() else patients


def wanted_in(text):
    """What ``Patient.search`` must hold where ``text`` is searched for: a short one after the space before a word."""
    wanted = " ".join(text.lower().split())
    return wanted if len(wanted) > 2 else f" {wanted}"
