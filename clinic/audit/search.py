"""Questions to the log: who saw this patient, what happened to this case, and the events of a filter."""

from functools import reduce
from operator import or_

from django.db.models import Count, Max, Min, Q

from clinic.accounts.access import sites_where
from clinic.audit.models import Action
from clinic.cases.models import Case
from clinic.patients.models import Patient

LISTS = [Action.PATIENT_SEARCH, Action.CASE_SEARCH, Action.AUDIT_READ, Action.AUDIT_EXPORT]  # each names its hits


def patients_overseen_by(user):
    return Patient.objects.filter(site__in=sites_where(user, "audit.view")).select_related("site")


def cases_overseen_by(user):
    return Case.objects.filter(patient__in=patients_overseen_by(user)).select_related("patient__site")


def concerning(events, patient_id):
    """Events on this patient or a case of theirs, and lists in which they were among the hits."""
    return events.filter(_concerns(patient_id))


def people_who_saw(events, patient_id):
    """Each person who came by this patient's data: how often, first and last, and by which acts."""
    by_person = concerning(events, patient_id).exclude(actor_id="").values("actor_id", "actor").order_by()
    people = list(by_person.annotate(count=Count("seq"), first=Min("at"), last=Max("at")).order_by("-last"))
    acts = list(concerning(events, patient_id).order_by().values_list("actor_id", "action").distinct())
    for person in people:
        person["acts"] = sorted(action for actor, action in acts if actor == person["actor_id"])
    return people


def matching(events, wanted, patients):
    """``events`` as a filter's cleaned fields want them; ``patients`` are those among whom a number is looked up."""
    columns = {"actor": "actor__icontains", "case": "case_id", "action": "action", "object": "object_id",
               "outcome": "outcome", "since": "at__gte", "until": "at__lte"}  # fmt: skip
    events = events.filter(**{column: wanted[name] for name, column in columns.items() if name in wanted})
    if "patient" in wanted:
        found = patients.filter(mrn__iexact=wanted["patient"]).values_list("pk", flat=True)
        events = events.filter(_any(_concerns(pk) for pk in found))
    return events


def _concerns(patient_id):
    cases = Case.objects.filter(patient=patient_id).values_list("pk", flat=True)
    listed = _any(Q(body__contains=f'"{key}"') for key in (patient_id, *cases))
    return Q(patient_id=str(patient_id)) | Q(action__in=LISTS) & listed


def _any(conditions):
    return reduce(or_, conditions, Q(pk__in=[]))
