"""The review of the log: find events, follow one case, see who came by one patient's data, take them out as a file."""

from django.contrib import messages
from django.http import StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from clinic.accounts.access import sites_where
from clinic.audit.exports import FORMATS, export
from clinic.audit.models import Action, AuditEvent
from clinic.audit.search import cases_overseen_by, concerning, matching, patients_overseen_by, people_who_saw
from clinic.audit.services import events_of
from clinic.audit.verification import chain_state, read_mark
from clinic.cases.visibility import find
from clinic.errors import InvalidInput, MarrowError
from clinic.patients.models import Patient
from clinic.portal.forms import AuditFilter
from clinic.portal.guard import allowed, note

PAGE = 60


def _events(request):
    return events_of(sites_where(request.user, "audit.view"))


def _asked(request):
    """(the filter's form, what it asks for, the events); no event where the filter cannot be read."""
    form = AuditFilter(request.GET)
    readable = form.is_valid()
    wanted = {name: value for name, value in form.cleaned_data.items() if value}
    patients = patients_overseen_by(request.user)
    return form, wanted, matching(_events(request), wanted, patients) if readable else AuditEvent.objects.none()


def _page(request, events, *, oldest_first=False):
    """(one page of rows, the query string of the next one): by position, so that page 1000 costs what page 1 does."""
    place = request.GET.get("place", "")
    if place.isdecimal() and len(place) < 19:
        events = events.filter(**{"seq__gt" if oldest_first else "seq__lt": int(place)})
    rows = list(events.order_by("seq" if oldest_first else "-seq")[: PAGE + 1])
    query = request.GET.copy()
    query["place"] = str(rows[PAGE - 1].seq) if len(rows) > PAGE else ""
    return rows[:PAGE], query.urlencode() if query["place"] else ""


def _read(request, rows, **said):
    """Looking at events is an event, which names the patients who were seen."""
    named = sorted({row.patient_id for row in rows} - {""})
    note(request, Action.AUDIT_READ, detail={"events": len(rows), "patients": named, **said.pop("detail", {})}, **said)


@require_GET
@allowed("audit.view")
def audit(request):
    form, wanted, events = _asked(request)
    rows, more = _page(request, events)
    _read(request, rows, detail={"filter": wanted, "place": request.GET.get("place", "")})
    query = request.GET.copy()
    query.pop("place", None)
    page = {
        "form": form,
        "rows": _with_patients(rows),
        "more": more,
        "query": query.urlencode(),
        "formats": FORMATS,
        "chain": chain_state(full="full" in request.GET),
        "mark": read_mark(),
    }
    return render(request, "portal/audit.html", page)


@require_GET
@allowed("audit.view")
def audit_export(request):
    form, wanted, events = _asked(request)
    try:
        if not form.is_valid():
            raise InvalidInput("bad_filter", "The filter cannot be read.", "Correct it and export again.")
        chunks, media_type, name = export(events, request.GET.get("as", "csv"), by=request.user, asked=wanted)
    except MarrowError as error:
        messages.error(request, error.detail)
        return redirect(f"{reverse('portal:audit')}?{request.GET.urlencode()}")
    headers = {"Content-Disposition": content_disposition_header(as_attachment=True, filename=name)}
    return StreamingHttpResponse(chunks, content_type=media_type, headers=headers)


@require_GET
@allowed("audit.view")
def audit_case(request, pk):
    """The life of a case, from its beginning on."""
    case = find(cases_overseen_by, pk, by=request.user)
    rows, more = _page(request, _events(request).filter(case_id=str(case.pk)), oldest_first=True)
    _read(request, rows, obj=case)
    return render(request, "portal/audit_case.html", {"case": case, "rows": rows, "more": more})


@require_GET
@allowed("audit.view")
def audit_patient(request, pk):
    """Who saw this patient, and every event that says so."""
    patient = find(patients_overseen_by, pk, by=request.user)
    events = _events(request)
    rows, more = _page(request, concerning(events, patient.pk))
    page = {"patient": patient, "people": people_who_saw(events, patient.pk), "rows": rows, "more": more}
    _read(request, rows, obj=patient)
    return render(request, "portal/audit_patient.html", page)


def _with_patients(rows):
    """Each event with its patient's record number, as the reviewer's site knows it."""
    ids = {row.patient_id for row in rows if row.patient_id}
    by_id = {str(pk): mrn for pk, mrn in Patient.objects.filter(pk__in=ids).values_list("pk", "mrn")}
    return [(row, by_id.get(row.patient_id, "")) for row in rows]
