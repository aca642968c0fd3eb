"""The worklist: the cases that a person may see, in the order in which they should be looked at."""

import hashlib
import json
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from clinic.accounts.access import may, sites_where
from clinic.audit.models import Action
from clinic.cases.models import CaseState, Triage
from clinic.cases.visibility import find
from clinic.cases.worklist import COUNTED, VIEWS, counts_of, page_of, place
from clinic.errors import MarrowError
from clinic.portal import saved_views
from clinic.portal.forms import WorklistForm
from clinic.portal.guard import allowed, note

PAGE = 40
NOBODY = UUID(int=0)
SHOWN = ("state", "triage", "answer", "probability")


@require_GET
def home(request):
    """Each role's first page."""
    sees_cases = not request.user.is_authenticated or may(request.user, "case.view")
    oversees = request.user.is_authenticated and may(request.user, "audit.view")
    return redirect("portal:audit" if oversees and not sees_cases else "portal:worklist")


@require_GET
@allowed("case.view")
def worklist(request):
    form, asked, sites = _asked(request)
    try:
        rows, more = page_of(request.user, _chosen(asked, sites), asked, size=PAGE)
    except MarrowError as error:  # a place in the list that is none: its beginning, and why
        messages.error(request, error.detail)
        return redirect(f"{reverse('portal:worklist')}?{urlencode(_kept(asked))}")
    found = {"query": asked["q"], "view": asked["view"], "hits": [str(row.pk) for row in rows]}
    note(request, Action.CASE_SEARCH, detail=found)
    counts = counts_of(sites)
    here = _kept(asked)
    page = {
        "form": form,
        "asked": asked,
        "rows": _with_addresses(rows),
        "next": urlencode(here | {"after": place(rows[-1], asked["view"], asked["sort"])}) if more else "",
        "first": urlencode(here) if asked["after"] else "",
        "mark": _mark(rows, counts),
        "tabs": _tabs(here, asked["view"], counts),
        "title": VIEWS[asked["view"]][0],
        "narrowed": sum(bool(asked[name]) for name in ("q", "site", "days", "synthetic")),
        "several_sites": len(sites) > 1,
        "saved": saved_views.saved_views_of(request.user),
        "query": urlencode({name: value for name, value in here.items() if name in WorklistForm.SAVED}),
        "Triage": Triage,
        "CaseState": CaseState,
    }
    return render(request, "portal/worklist.html", page)


@require_GET
@allowed("case.view")
def worklist_pulse(request):
    """Whether the list has changed since ``mark``: no patient data, so no event. The page then reloads: that is one."""
    _, asked, sites = _asked(request)
    try:
        mark = _mark(page_of(request.user, _chosen(asked, sites), asked, size=PAGE)[0], counts_of(sites))
    except MarrowError:  # the page says why
        mark = None
    response = HttpResponse(status=204)
    if request.GET.get("mark") != mark or not mark:
        response["HX-Trigger"] = "worklist-changed"
    return response


@require_POST
@allowed("case.view")
def save_view(request):
    form, asked, _ = _asked(request, request.POST)
    query = urlencode({name: value for name, value in _kept(asked).items() if name in form.SAVED})
    try:
        saved_views.save_view(name=request.POST.get("name", ""), query=query, by=request.user)
    except MarrowError as error:
        messages.error(request, error.detail)
    return redirect(f"{reverse('portal:worklist')}?{query}")


@require_POST
@allowed("case.view")
def delete_view(request, pk):
    find(saved_views.saved_views_of, pk, by=request.user).delete()
    return redirect("portal:worklist")


def _with_addresses(rows):
    """Rows with ``url`` and ``patient_url``: one look at the table of addresses for all of them, which is long."""
    case, patient = (reverse(f"portal:{name}", args=[NOBODY]) for name in ("case", "patient"))
    for row in rows:
        row.url = case.replace(str(NOBODY), str(row.pk))
        row.patient_url = patient.replace(str(NOBODY), str(row.patient_id))
    return rows


def _asked(request, said=None):
    sites = sites_where(request.user, "case.view").order_by("name")
    form = WorklistForm(said or request.GET, sites=sites)
    return form, form.asked(), list(sites)


def _chosen(asked, sites):
    return [asked["site"]] if asked["site"] else sites


def _kept(asked):
    """What the address of this list says, without the page within it."""
    said = {name: asked[name] for name in ("view", "q", "sort", "days", "synthetic") if asked[name]}
    return said | ({"site": str(asked["site"].pk)} if asked["site"] else {})


def _tabs(here, view, counts):
    rest = {name: value for name, value in here.items() if name != "view"}
    return [
        {
            "url": f"?{urlencode({'view': name} | rest)}",
            "text": text,
            "current": name == view,
            "count": f"{COUNTED}+" if counts[name] is None else counts[name],
            "tone": "danger" if name == "urgent" and counts[name] != 0 else "",
        }
        for name, (text, _) in VIEWS.items()
    ]


def _mark(rows, counts):
    said = [[str(row.pk), *(getattr(row, name) for name in SHOWN)] for row in rows]
    return hashlib.sha256(json.dumps([said, counts]).encode()).hexdigest()[:16]
