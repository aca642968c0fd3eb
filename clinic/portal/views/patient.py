"""One patient over time: the cases, and the course of probabilities, blasts and laboratory values."""

from django.shortcuts import render
from django.views.decorators.http import require_GET

from clinic.accounts.access import may
from clinic.audit.models import Action
from clinic.cases.course import course_of
from clinic.cases.models import AnalysisStatus, Finding
from clinic.cases.visibility import cases_visible_to, find, patients_visible_to
from clinic.portal.courses import labs_of, read_course
from clinic.portal.guard import allowed, note


@require_GET
@allowed("case.view")
def patient_page(request, pk):
    patient = find(patients_visible_to, pk, by=request.user)
    note(request, Action.PATIENT_READ, obj=patient, patient=patient)
    cases = list(cases_visible_to(request.user).filter(patient=patient).order_by("-created_at", "-id"))
    labs = Finding.objects.filter(
        analysis__case__in=cases, analysis__status=AnalysisStatus.SUCCEEDED, modality="labs"
    ).only("analysis_id", "body")
    page = {
        "patient": patient,
        "cases": cases,
        "course": read_course(course_of(cases), labs_of(labs)),
        "may_open": may(request.user, "case.create", patient.site),
    }
    return render(request, "portal/patient.html", page)
