"""The worklist: the cases that a person may see, newest first, with what each is waiting for."""

import hashlib
import json
from uuid import UUID

from django.db.models import Case as Choice
from django.db.models import CharField, Exists, OuterRef, Q, Subquery, Value, When
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from clinic.accounts.access import may
from clinic.audit.models import Action
from clinic.cases.models import LIVE, Analysis, Assessment, SignOff, StudyItem
from clinic.cases.visibility import cases_visible_to
from clinic.patients.models import Patient
from clinic.patients.services import search_patients
from clinic.portal.guard import allowed, note

PAGE = 40
STATES = {
    "analysing": "Analysing",
    "failed": "Analysis failed",
    "checking": "Files being checked",
    "assessed": "Assessed, not signed",
    "abstained": "No answer, not signed",
    "signed": "Signed",
    "open": "Not analysed",
}
SHOWN = ("state", "answer", "probability", "urgent", "discordant")


def with_state(cases):
    """Each case with its one state, and what its newest assessment says."""
    runs = Analysis.objects.filter(case=OuterRef("pk")).order_by("-requested_at", "-id")
    newest = Assessment.objects.filter(analysis__case=OuterRef("pk")).order_by("-created_at", "-id")
    last = {name: Subquery(newest.values(name)[:1]) for name in ("answer", "probability", "urgent", "discordant")}
    cases = cases.annotate(
        run=Subquery(runs.values("status")[:1]),
        assessment=Subquery(newest.values("pk")[:1]),
        verdict=Subquery(newest.values("status")[:1]),
        **last,
    )
    signed = SignOff.objects.filter(report__assessment=OuterRef("assessment"))
    unchecked = StudyItem.objects.filter(case=OuterRef("pk"), status="received")
    return cases.annotate(
        state=Choice(
            When(run__in=LIVE, then=Value("analysing")),
            When(run="failed", then=Value("failed")),
            When(Exists(unchecked), then=Value("checking")),
            When(Exists(signed), then=Value("signed")),
            When(verdict__isnull=False, then="verdict"),
            default=Value("open"),
            output_field=CharField(),
        )
    )


def rows_for(request):
    """One page of cases, and whether there are more."""
    visible = cases_visible_to(request.user)
    cases = with_state(visible).order_by("-created_at", "-id")
    if q := request.GET.get("q", "").strip():
        cases = cases.filter(patient__in=search_patients(Patient.objects.all(), q))
    if (state := request.GET.get("state")) in STATES:
        cases = cases.filter(state=state)
    if after := visible.filter(pk=_uuid(request.GET.get("after"))).first():
        cases = cases.filter(Q(created_at__lt=after.created_at) | Q(created_at=after.created_at, id__lt=after.pk))
    rows = list(cases[: PAGE + 1])
    return rows[:PAGE], len(rows) > PAGE


def _uuid(text):
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _mark(rows):
    said = [[str(row.pk), *(getattr(row, name) for name in SHOWN)] for row in rows]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


@require_GET
def home(request):
    """Each role's first page."""
    sees_cases = not request.user.is_authenticated or may(request.user, "case.view")
    oversees = request.user.is_authenticated and may(request.user, "audit.view")
    return redirect("portal:audit" if oversees and not sees_cases else "portal:worklist")


@require_GET
@allowed("case.view")
def worklist(request):
    rows, more = rows_for(request)
    q = request.GET.get("q", "").strip()
    note(request, Action.CASE_SEARCH, detail={"query": q, "hits": [str(row.pk) for row in rows]})
    query = request.GET.copy()
    query["after"] = str(rows[-1].pk) if rows else ""
    shown = {"rows": rows, "more": query.urlencode() if more else "", "mark": _mark(rows), "states": STATES, "q": q}
    return render(request, "portal/worklist.html", shown | {"state": request.GET.get("state", "")})


@require_GET
@allowed("case.view")
def worklist_pulse(request):
    """Whether the list has changed since ``mark``: no patient data, so no event. The page then reloads: that is one."""
    rows, _ = rows_for(request)
    response = HttpResponse(status=204)
    if request.GET.get("mark") != _mark(rows):
        response["HX-Trigger"] = "worklist-changed"
    return response
