"""Draft, read, sign and amend a report. A report page shows its frozen text, never the rows of today."""

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from clinic.accounts.access import may
from clinic.audit.models import Action
from clinic.cases import reports
from clinic.cases.visibility import cases_visible_to, find, reports_visible_to
from clinic.errors import MarrowError
from clinic.portal.forms import AmendForm, SignForm
from clinic.portal.guard import allowed, note
from clinic.portal.reading import read_report


@require_POST
@allowed("analysis.request")
def draft(request, pk):
    case = find(cases_visible_to, pk, by=request.user)
    try:
        report = reports.draft_report(assessment=reports.assessment_of(case), by=request.user)
    except MarrowError as error:
        messages.error(request, error.detail)
        return redirect("portal:case", case.pk)
    return redirect("portal:report", report.pk)


@require_GET
@allowed("case.view")
def report_page(request, pk):
    return _show(request, find(reports_visible_to, pk, by=request.user))


def _show(request, report, sign_form=None, amend_form=None, status=200):
    note(request, Action.REPORT_READ, obj=report, detail={"version": report.version})
    newest = report.case.reports.first()
    page = {
        "report": report,
        "said": read_report(report),
        "sign_off": getattr(report, "sign_off", None),
        "newest": newest,
        "superseded": newest.version > report.version,
        "sign_form": sign_form or SignForm(),
        "amend_form": amend_form or AmendForm(),
        "may_sign": may(request.user, "report.sign", report.case.patient.site),
    }
    return render(request, "portal/report.html", page, status=status)


@require_POST
@allowed("report.sign")
def sign(request, pk):
    report = find(reports_visible_to, pk, by=request.user)
    form = SignForm(request.POST)
    if form.is_valid():
        try:
            reports.sign(report=report, by=request.user, **form.cleaned_data)
        except MarrowError as error:
            form.add_error(error.place if error.place in form.fields else None, error.detail)
        else:
            messages.success(request, "Signed.")
            return redirect("portal:report", report.pk)
    return _show(request, report, sign_form=form, status=400)


@require_POST
@allowed("report.sign")
def amend(request, pk):
    report = find(reports_visible_to, pk, by=request.user)
    form = AmendForm(request.POST)
    if form.is_valid():
        try:
            amendment = reports.amend(report=report, by=request.user, **form.cleaned_data)
        except MarrowError as error:
            form.add_error(error.place if error.place in form.fields else None, error.detail)
        else:
            return redirect("portal:report", amendment.pk)
    return _show(request, report, amend_form=form, status=400)
