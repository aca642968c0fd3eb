"""Break the glass: a clinician reads a patient of another site in an emergency.

Only who can name the patient (site, record number and date of birth) and the reason gets in: to read, not to act, and
for an hour. The site's auditors and administrators are told on every page until one of them has judged it.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from clinic.accounts.access import require, sites_where
from clinic.audit.models import Action, AuditEvent
from clinic.audit.services import deny, record
from clinic.errors import Conflict, Denied, InvalidInput
from clinic.patients.models import Patient
from clinic.safeguards.models import EmergencyAccess

MINUTES = 60
REASON_MIN = 15
KEPT = "_patients_opened"


def open_to(user):
    """What ``user`` has broken open within the hour. A token opens nothing."""
    if not user.is_active or getattr(user, "token", None):
        return EmergencyAccess.objects.none()
    return EmergencyAccess.objects.filter(user=user.pk, until__gt=timezone.now())


def patients_opened_by(user):
    """Their ids. Asked of the database once a request: the answer stays with the user's object, and still ends."""
    if not hasattr(user, KEPT):  # asked of the user itself, also through the lazy object that stands for it
        setattr(user, KEPT, list(open_to(user).values_list("patient_id", "until")))
    return [patient for patient, until in getattr(user, KEPT) if until > timezone.now()]


def break_glass(*, site, mrn, birth_date, reason, by):
    """Open one patient of ``site`` to ``by`` for an hour."""
    require(by, "glass.break")
    if len(reason.strip()) < REASON_MIN:
        remedy = f"Say in at least {REASON_MIN} letters why you must read this patient now."
        raise InvalidInput("missing", "The reason is too short.", remedy, place="reason")
    patient = Patient.objects.filter(site=site, mrn=mrn.strip(), birth_date=birth_date).first()
    if patient is None:
        deny("glass.break", by=by, site=site, detail={"why": "no such patient"})
        raise Denied("no_such_patient", "No patient of that site has this number and date of birth.", place="mrn")
    if sites_where(by, "case.view").filter(pk=site.pk).exists():
        raise Conflict("not_needed", "You work at that site: open the patient as usual.", place="site")
    return _open(patient, reason.strip(), by)


@transaction.atomic
def _open(patient, reason, by):
    now = timezone.now()
    access = EmergencyAccess.objects.create(
        user=by, patient=patient, reason=reason, at=now, until=now + timedelta(minutes=MINUTES)
    )
    if hasattr(by, KEPT):
        delattr(by, KEPT)
    said = {"reason": reason, "until": access.until}
    record(Action.GLASS_BREAK, by=by, obj=access, patient=patient, purpose="emergency", detail=said)
    return access


def accesses_visible_to(user):
    """Those to patients of the sites that ``user`` oversees."""
    sites = sites_where(user, "audit.view")
    return EmergencyAccess.objects.filter(patient__site__in=sites).select_related("user", "patient__site")


def unreviewed(user):
    return accesses_visible_to(user).filter(reviewed_at__isnull=True).exclude(user=user.pk)


def acts_during(access):
    """What the person did with the patient in that hour, as the log has it."""
    during = {"at__gte": access.at, "at__lte": access.until}
    return AuditEvent.objects.filter(actor_id=str(access.user_id), patient_id=str(access.patient_id), **during)


@transaction.atomic
def review(*, access, justified, note, by):
    require(by, "audit.view", access.patient.site, obj=access)
    if access.user_id == by.pk:
        raise Denied("own_access", "Nobody judges their own access.", "Another auditor does.")
    fields = {"reviewed_at": timezone.now(), "reviewed_by": by, "justified": justified, "note": note.strip()}
    if not EmergencyAccess.objects.filter(pk=access.pk, reviewed_at__isnull=True).update(**fields):
        raise Conflict("reviewed_already", "This access has been judged already.")
    said = {"justified": justified, "note": note.strip()}
    record(Action.GLASS_REVIEW, by=by, obj=access, patient=access.patient, detail=said)
