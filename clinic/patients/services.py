from django.db import IntegrityError, transaction
from django.db.models import Q
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
    if birth_date and birth_date > timezone.localdate():
        raise InvalidInput("not_born_yet", "This date lies ahead.", "Correct the date of birth.", place="birth_date")
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


def search_patients(patients, text):
    """Those of ``patients`` whose name or record number contains ``text``."""
    return patients.filter(Q(name__icontains=text) | Q(mrn__icontains=text)) if text else patients
