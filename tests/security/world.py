"""Objects of one site for the audit crawl. Whatever in them is a patient's holds the word ``quillfeather``."""

import io
import zipfile

from allauth.usersessions.models import UserSession
from pypdf import PdfReader

from clinic.cases.models import AnalysisStatus
from clinic.cases.reports import draft_report, sign
from clinic.imports.services import request_import
from clinic.monitoring.models import SiteCalibration
from clinic.portal.models import SavedView
from clinic.safeguards.emergency import break_glass
from clinic.safeguards.models import Halt
from clinic.tokens.services import create_service_token
from clinic.uploads import services as uploads
from ml.fusion import fuse
from tests.clinic.interop.conftest import delivery, held, microscope_image, stored_instance
from tests.factories import (
    PASSWORD,
    AnalysisFactory,
    ArtefactFactory,
    AssessmentFactory,
    BundleFactory,
    CaseFactory,
    FindingFactory,
    ItemFactory,
    NoticeFactory,
    PatientFactory,
    SiteFactory,
    member,
)
from tests.ml.test_fusion import BUNDLE
from tests.portal_cases import finding, keep_frame, png

CANARIES = (b"quillfeather", b"1931-11-23")
OPAQUE = ("image/", "application/octet-stream", "application/dicom", "multipart/related", "video/")


def _emergency_access(patient):
    doctor = member(SiteFactory(), "clinician")
    said = {"site": patient.site, "mrn": patient.mrn, "birth_date": patient.birth_date}
    return break_glass(**said, reason="Unconscious in our emergency room.", by=doctor)


def made(site, clinician):
    """Name → object. Add what a new endpoint needs; its content must hold the word."""
    for name in ("labs", "fusion"):
        BundleFactory(name=name)
    patient = PatientFactory(site=site, name="Quillfeather Test", mrn="QUILLFEATHER-1", birth_date="1931-11-23")
    case = _case(patient)
    item = ItemFactory(case=case, filename="quillfeather.csv", content=b"hb_g_l,name\n80,quillfeather\n")
    image = ItemFactory(case=case, kind="smear_field", filename="quillfeather.png", content=png(77) + b"quillfeather")
    keep_frame(image, png(78))
    assessment = _assessed(case)
    analysis = assessment.analysis
    signed = draft_report(assessment=_assessed(_case(patient, item=True)), by=clinician)
    sign(report=signed, by=clinician, password=PASSWORD, decision="agree")
    ready, failed = _case(patient, item=True), _case(patient, item=True)
    failed_analysis = AnalysisFactory(
        case=failed, status="failed", failure_code="internal_error", failure_message="On quillfeather.csv"
    )
    live = AnalysisFactory(case=failed, status=AnalysisStatus.QUEUED, finished_at=None)
    return {
        "site": site,
        "bundle": BundleFactory(name="smear-cell", status="imported"),
        "calibration": SiteCalibration.objects.create(
            site=site, version=1, status="active", body={"fusion": {"sha256": ""}}, sha256="0" * 64
        ),
        "clinician": clinician,
        "halt": Halt.objects.create(bundle="unused", reason="It answers the same to everything."),
        "emergency_access": _emergency_access(patient),
        "own_session": UserSession.objects.create(user=clinician, ip="192.0.2.1", session_key="y" * 32, user_agent=""),
        "patient": patient,
        "case": case,
        "item": item,
        "image": image,
        "analysis": analysis,
        "assessment": assessment,
        "artefact": ArtefactFactory(finding=analysis.findings.get()),
        "report": draft_report(assessment=assessment, by=clinician),
        "signed": signed,
        "ready": ready,
        "upload": uploads.start(case=ready, filename="quillfeather.csv", size=len(b"{}"), by=clinician),
        "refused_upload": _refused(ready, clinician),
        "notice": NoticeFactory(case=case, recipient=clinician),
        "saved_view": SavedView.objects.create(user=clinician, name="Mine"),
        "failed": failed,
        "failed_analysis": failed_analysis,
        "live": live,
        "dicom": stored_instance(image),
        "microscope": microscope_image(case, png(79)),
        "delivery": (letter := delivery(site)),
        "webhook": letter.webhook,
        "held": held(site, name="Quillfeather Test"),
        "bulk_import": request_import(
            site=site, kind="cases", data=b"mrn,name\nq-7,Quillfeather\n", filename="q.csv", by=clinician
        ),
        "service_token": create_service_token(
            name="LIS", scopes=["case.view"], site=site, days=7, by=member(site, "admin")
        )[0],
        "signed_by_another": _signed_by(member(site, "clinician"), _assessed(_case(patient, item=True))),
        "cell_finding": _with_a_cell(analysis, image),
        "unreported": _assessed(_case(patient, item=True)).analysis.case,
    }


def _case(patient, *, item=False):
    case = CaseFactory(patient=patient, title="Quillfeather's blasts", history="Quillfeather has a fever.")
    if item:
        ItemFactory(case=case, filename="quillfeather.csv")
    return case


def _signed_by(another, assessment):
    report = draft_report(assessment=assessment, by=another)
    sign(report=report, by=another, password=PASSWORD, decision="agree")
    return report


def _with_a_cell(analysis, image):
    cell = {"id": f"{image.pk}/0:1", "field": f"{image.pk}/0", "box": [1, 2, 9, 9], "label": "Lymphocyte"}
    cells = {"cells": [cell], "bundle_sha256": "0" * 64, "cut_off": 0, "differential": {"Lymphocyte": 1}}
    shares = {"blasts": 0, "counted": 1, "share": 0.0, "low": 0.0, "high": 0.8}
    explanation = {"images": [], "maturation": {}, "white_cells": cells | {"blast_share": shares}}
    said = finding("smear_field", "Pre-B", explanation=explanation)
    return FindingFactory(analysis=analysis, modality="smear_field", body=said.as_dict())


def _refused(case, by):
    data = b"1;2;quillfeather"
    upload = uploads.start(case=case, filename="quillfeather.txt", size=len(data), by=by)
    uploads.append(upload=upload, offset=0, chunks=[data], by=by)
    rejection = {"code": "unknown_content", "place": "quillfeather.txt", "problem": "What is it?", "remedy": "Say so."}
    uploads.refuse(upload=upload, rejection=rejection, by=by)
    return upload


def _assessed(case):
    said = finding("labs", "ALL", reasons=("quillfeather.csv: read.",))
    analysis = AnalysisFactory(case=case)
    FindingFactory(analysis=analysis, bundle_sha256=said.bundle_sha256, body=said.as_dict())
    body = fuse([said], BUNDLE).as_dict()
    body["reasons"] = [*body["reasons"], {"code": "told", "message": "As quillfeather.csv says."}]
    return AssessmentFactory(analysis=analysis, body=body)


def shows_patient(response):
    """Whether an answer holds anything of a patient: the word, also inside PDF and ZIP; or pixels and plain bytes."""
    if response.status_code >= 300:
        return False
    kind, content = response.headers.get("Content-Type", ""), response.getvalue()
    if kind.startswith(OPAQUE) and content:
        return True
    return any(canary in text.lower() for text in _texts(kind, content) for canary in CANARIES)


def _texts(kind, content):
    yield content
    if kind.startswith("application/pdf"):
        yield "".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages).encode()
    if content.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(content))
        yield from (archive.read(name) for name in archive.namelist())
