"""Draft, read, sign and amend a report. A report page shows its frozen text, never the rows of today."""

from io import BytesIO

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from clinic.accounts.access import may
from clinic.audit.models import Action
from clinic.cases import reports
from clinic.cases.downloads import handed_out
from clinic.cases.visibility import cases_visible_to, find, reports_visible_to
from clinic.errors import MarrowError
from clinic.portal.forms import AmendForm, SecondForm, SignForm, put_beside
from clinic.portal.guard import allowed, note
from clinic.portal.pdf import report_pdf
from clinic.portal.reading import read_report
from clinic.review.services import read_second


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


@require_GET
@allowed("case.view")
def pdf(request, pk):
    """The same report as a file; the note of its download says which bytes of text it is of."""
    report = find(reports_visible_to, pk, by=request.user)
    note(request, Action.REPORT_DOWNLOAD, obj=report, detail={"version": report.version, "digest": report.digest})
    made = report_pdf(report)
    answer = handed_out(lambda: BytesIO(made), f"report-{report.pk}-v{report.version}.pdf", shown=False)
    answer.headers["Content-Type"] = "application/pdf"
    return answer


def _show(request, report, sign_form=None, amend_form=None, second_form=None, status=200):
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
        **_second(request.user, report, second_form),
        "may_sign": may(request.user, "report.sign", report.case.patient.site),
    }
    return render(request, "portal/report.html", page, status=status)


def _second(user, report, form):
    """Whether another clinician is to read what was signed, and whether this one may."""
    sign_off = getattr(report, "sign_off", None)
    site = report.case.patient.site
    second = getattr(sign_off, "second_reading", None)
    return {
        "second": second,
        "second_wanted": bool(sign_off) and second is None and site.second_reader,
        "may_second": bool(sign_off) and sign_off.by_id != user.pk and may(user, "report.sign", site),
        "second_form": form or SecondForm(auto_id="second_%s"),
    }


@require_POST
@allowed("report.sign")
def second(request, pk):
    report = find(reports_visible_to, pk, by=request.user)
    form = SecondForm(request.POST, auto_id="second_%s")
    if form.is_valid():
        said = form.cleaned_data | {"agrees": form.cleaned_data["agrees"] == "yes"}
        try:
            read_second(report=report, by=request.user, **said)
        except MarrowError as error:
            put_beside(form, error)
        else:
            messages.success(request, "Kept.")
            return redirect("portal:report", report.pk)
    return _show(request, report, second_form=form, status=400)


@require_POST
@allowed("report.sign")
def sign(request, pk):
    report = find(reports_visible_to, pk, by=request.user)
    form = SignForm(request.POST)
    if form.is_valid():
        try:
            reports.sign(report=report, by=request.user, **form.cleaned_data)
        except MarrowError as error:
            put_beside(form, error)
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
            put_beside(form, error)
        else:
            return redirect("portal:report", amendment.pk)
    return _show(request, report, amend_form=form, status=400)
