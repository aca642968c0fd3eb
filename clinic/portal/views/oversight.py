"""Who did and saw what."""

from django.shortcuts import render
from django.views.decorators.http import require_GET

from clinic.accounts.access import sites_where
from clinic.audit.models import Action, AuditEvent
from clinic.audit.services import events_of
from clinic.audit.verification import chain_state
from clinic.patients.models import Patient
from clinic.portal.forms import AuditFilter
from clinic.portal.guard import allowed, note

PAGE = 60


@require_GET
@allowed("audit.view")
def audit(request):
    sites = sites_where(request.user, "audit.view")
    form = AuditFilter(request.GET)
    readable = form.is_valid()
    wanted = {name: value for name, value in form.cleaned_data.items() if value}
    events = _matching(events_of(sites), wanted, sites) if readable else AuditEvent.objects.none()
    if (before := request.GET.get("before", "")).isdecimal():
        events = events.filter(seq__lt=int(before))
    rows = list(events.order_by("-seq")[: PAGE + 1])
    named = sorted({row.patient_id for row in rows[:PAGE]} - {""})
    said = {"filter": wanted, "before": before, "events": len(rows[:PAGE]), "patients": named}
    note(request, Action.AUDIT_READ, detail=said)
    query = request.GET.copy()
    query["before"] = str(rows[PAGE - 1].seq) if len(rows) > PAGE else ""
    page = {
        "form": form,
        "rows": _with_patients(rows[:PAGE], sites),
        "more": query.urlencode() if query["before"] else "",
        "chain": chain_state(full="full" in request.GET),
    }
    return render(request, "portal/audit.html", page)


def _matching(events, wanted, sites):
    columns = {
        "actor": "actor__icontains",
        "case": "case_id",
        "action": "action",
        "since": "at__gte",
        "until": "at__lte",
    }
    events = events.filter(**{column: wanted[name] for name, column in columns.items() if name in wanted})
    if "patient" in wanted:
        known = Patient.objects.filter(site__in=sites, mrn__iexact=wanted["patient"]).values_list("pk", flat=True)
        events = events.filter(patient_id__in=[str(pk) for pk in known])
    return events


def _with_patients(rows, sites):
    """Each event with the record number of its patient, as the reviewer's site knows it."""
    ids = {row.patient_id for row in rows if row.patient_id}
    numbers = dict(Patient.objects.filter(site__in=sites, pk__in=ids).values_list("pk", "mrn"))
    by_id = {str(pk): mrn for pk, mrn in numbers.items()}
    return [(row, by_id.get(row.patient_id, "")) for row in rows]
