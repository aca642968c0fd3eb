"""One case: open it, give it files, have it analysed, read what came out."""

import hashlib

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from clinic.audit.models import Action
from clinic.cases import runs, services
from clinic.cases.alerts import standing
from clinic.cases.models import LIVE, Analysis, ItemStatus
from clinic.cases.visibility import analyses_visible_to, cases_visible_to, find, patients_visible_to
from clinic.errors import MarrowError
from clinic.patients.services import register_patient, search_patients
from clinic.portal import glance, labs_view
from clinic.portal.forms import UPLOAD_KINDS, CaseForm, PatientForm, UploadForm, put_beside
from clinic.portal.guard import allowed, note
from clinic.portal.reading import read_assessment
from clinic.portal.templatetags.portal import modality_name
from clinic.portal.views.tabs import newest_assessment, tabs_of
from clinic.uploads import services as uploads
from clinic.uploads.verdicts import open_uploads
from ml.findings import MODALITIES, MODALITY_NAMES

FOUND = 20


@require_http_methods(["GET", "POST"])
@allowed("case.create")
def new_case(request):
    """For a known patient (``?patient=``) or a new one; both at once or not at all."""
    known = request.GET.get("patient")
    patient = find(patients_visible_to, known, by=request.user) if known else None
    data = request.POST if request.method == "POST" else None
    patient_form = None if patient else PatientForm(data, user=request.user)
    earlier = cases_visible_to(request.user).filter(patient=patient) if patient else None
    case_form = CaseForm(data, earlier=earlier)
    forms = [form for form in (patient_form, case_form) if form]
    if data is not None and all([form.is_valid() for form in forms]):  # noqa: C419 (every form is to show its errors)
        try:
            case = _open(patient, patient_form, case_form, request.user)
        except MarrowError as error:
            put_beside(forms[0], error)
        else:
            return redirect("portal:case", case.pk)
    return render(request, "portal/new_case.html", _new_case_page(request, patient, patient_form, case_form))


@transaction.atomic
def _open(patient, patient_form, case_form, user):
    patient = patient or register_patient(**patient_form.cleaned_data, by=user)
    return services.open_case(patient=patient, **case_form.cleaned_data, by=user)


def _new_case_page(request, patient, patient_form, case_form):
    q = request.GET.get("q", "").strip()
    found = []
    if patient:
        note(request, Action.PATIENT_READ, obj=patient, patient=patient)
    elif q:
        found = list(search_patients(patients_visible_to(request.user), q).order_by("name", "mrn")[:FOUND])
        note(request, Action.PATIENT_SEARCH, detail={"query": q, "hits": [str(row.pk) for row in found]})
    return {"patient": patient, "patient_form": patient_form, "case_form": case_form, "q": q, "found": found}


@require_GET
@allowed("case.view")
def case_page(request, pk):
    return _show(request, find(cases_visible_to, pk, by=request.user), UploadForm())


def _show(request, case, upload_form, status=200):
    note(request, Action.CASE_READ, obj=case, case=case, patient=case.patient)
    items = list(case.items.select_related("received_by"))
    valid = {item.pk for item in items if item.status == ItemStatus.VALID and item.kind != "history"}
    run = case.analyses.first()
    reports = list(case.reports.select_related("sign_off__second_reading", "created_by"))
    assessment = newest_assessment(case)
    said = read_assessment(assessment) if assessment else None
    findings, used = (said["findings"], said["body"].get("used", [])) if said else ([], [])
    if said:
        said["warnings"] += _ages_apart(case, findings)
    page = {
        "case": case,
        "tabs": tabs_of(case, "case", items),
        "items": items,
        "accepted": [item for item in items if item.status == ItemStatus.VALID],
        "open_items": [item for item in items if item.status != ItemStatus.VALID],
        "valid": len(valid),
        "assessment": assessment,
        "said": said,
        "presence": glance.presence(items, findings, used),
        "newer": len({str(pk) for pk in valid} - said["files"]) if said else 0,
        "reports": reports,
        "comments": case.comments.all(),
        "alerts": [a for a in standing(case) if not assessment or a.analysis_id != assessment.analysis_id],
        "modality_names": MODALITY_NAMES,
        **_report_step(assessment, reports),
        **_upload_panel(case, upload_form),
        **_live(case, run, sum(item.status == ItemStatus.RECEIVED for item in items)),
    }
    return render(request, "portal/case.html", page, status=status)


def _ages_apart(case, findings):
    notes = [labs_view.age_note(case, one["body"]) for one in findings if one["body"]["modality"] == "labs"]
    return [{"modality": "labs", "message": note} for note in notes if note]


def _upload_panel(case, form):
    return {
        "upload_form": form,
        "upload_kinds": [*UPLOAD_KINDS.items()],
        "chunk_bytes": settings.UPLOAD_CHUNK_BYTES,
        "open_uploads": open_uploads(case),
    }


def _report_step(assessment, reports):
    """What comes next: a first draft, a new one in place of an unsigned one, or the amendment of a signed one."""
    last = reports[0] if reports else None
    covered = bool(last and assessment and last.assessment_id == assessment.pk)
    signed = bool(last and hasattr(last, "sign_off"))
    return {"may_draft": bool(assessment) and not covered and not signed, "newer_than_report": signed and not covered}


def _live(case, run, checking):
    """How far the work is. It names no patient and no file: what a poll may show without being a reading."""
    analysing = bool(run and run.status in LIVE)
    urgent = "urgent" if analysing and standing(case).exists() else ""
    now = f"{run.pk} {'live' if analysing else run.status}" if run else ""
    state = " ".join(["checking" if checking else "", now, urgent])
    return {
        "checking": checking,
        "run": run,
        "analysing": analysing,
        "elapsed": int((timezone.now() - run.requested_at).total_seconds()) if run else 0,
        "ahead": _ahead(run) if run and run.status == "queued" else 0,
        "stages": stages(run) if analysing else [],
        "mark": hashlib.sha256(state.encode()).hexdigest()[:16],
    }


def stages(run):
    """The steps of a run in their order: done, under way, or still to come."""
    kinds = set(run.items.values_list("kind", flat=True))
    done = set(run.findings.values_list("modality", flat=True))
    now = run.stage.partition(":")[0] if run.status == "running" else ""
    steps = [
        {"name": modality_name(kind), "state": "done" if kind in done else "now" if kind == now else "to come"}
        for kind in MODALITIES
        if kind in kinds
    ]
    return [*steps, {"name": "Fusion", "state": "now" if now == "fusion" else "to come"}]


def _ahead(run):
    return Analysis.objects.filter(status__in=LIVE, requested_at__lt=run.requested_at).count()


@require_GET
@allowed("case.view")
def pulse(request, pk):
    """Polled while files are checked or an analysis runs. Says only how far that is; when it ends, the page reloads
    its parts, which is a reading and recorded as one.
    """
    case = find(cases_visible_to, pk, by=request.user)
    live = _live(case, case.analyses.first(), case.items.filter(status=ItemStatus.RECEIVED).count())
    if live["mark"] != request.GET.get("mark"):
        return HttpResponse(status=204, headers={"HX-Trigger": "case-changed"})
    return render(request, "portal/parts/live.html", {"case": case, **live, "told": request.GET.get("told", "")})


@require_POST
@allowed("item.upload")
def upload(request, pk):
    case = find(cases_visible_to, pk, by=request.user)
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _show(request, case, form, status=400)
    received = 0
    for file in form.cleaned_data["file"]:
        try:
            _receive(case, file, form, request.user)
            received += 1
        except MarrowError as error:
            messages.error(request, f"{file.name}: {error.detail}")
    if received:
        messages.success(request, f"{received} file{'s' if received > 1 else ''} received. Each is checked now.")
    return redirect("portal:case", case.pk)


def _receive(case, file, form, user):
    """As what the person says it is; else its content tells."""
    said = {"case": case, "filename": file.name, "options": form.options(), "by": user}
    if kind := form.cleaned_data["kind"]:
        services.receive_item(file=file.chunks(), kind=kind, **said)
        return
    upload = uploads.start(size=file.size, **said)
    uploads.append(upload=upload, offset=0, chunks=file.chunks(), by=user)


@require_POST
@allowed("analysis.request")
def analyse(request, pk):
    case = find(cases_visible_to, pk, by=request.user)
    try:
        services.request_analysis(case=case, by=request.user)
    except MarrowError as error:
        messages.error(request, error.detail)
    return redirect("portal:case", case.pk)


@require_POST
@allowed("analysis.request")
def cancel(request, pk):
    analysis = find(analyses_visible_to, pk, by=request.user)
    if not runs.cancel(analysis, by=request.user):
        messages.info(request, "The analysis had already ended.")
    return redirect("portal:case", analysis.case_id)
