"""DiagnosticReport: the report that stands, and every version that was. Device: the model bundles."""

from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from clinic.audit.models import Action
from clinic.cases.models import Report
from clinic.cases.reports import STATEMENT
from clinic.cases.visibility import reports_visible_to
from clinic.interop.fhir.answers import PREFIX_CELLS, PREFIX_SUBTYPE
from clinic.interop.fhir.search import EVERY, Source, by_date, by_reference, by_token, token
from clinic.interop.fhir.structure import CODES, MARROW, coding, concept, diagnosis, instant, of_patient, reference
from clinic.registry.models import BundleStatus, ModelBundle
from ml.diagnosis_tree import load_tree

HAEMATOLOGY = concept(coding("http://terminology.hl7.org/CodeSystem/v2-0074", "HM", "Hematology"), text="Haematology")
OWN_CODE = "leukaemia-report"
REPORT = concept(coding(CODES, OWN_CODE, "Leukaemia work-up report"), text="Leukaemia work-up report")
OF_PATIENT = by_reference("Patient", "case__patient")
OF_REPORT = by_reference("DiagnosticReport", "pk")


def standing_reports(user):
    """Of each case the newest signed version; where none is signed yet, the newest draft."""
    newest = Report.objects.filter(case=OuterRef("case")).order_by("-version").values("pk")
    signed = newest.filter(sign_off__isnull=False)
    return reports_visible_to(user).filter(pk=Coalesce(Subquery(signed[:1]), Subquery(newest[:1])))


def status_of(report):
    """Amended: a signed version in place of another. What an unsigned one would amend still stands."""
    if not hasattr(report, "sign_off"):
        return "preliminary"
    return "amended" if report.amends_id else "final"


def report_resource(report):
    analysis_id = report.body["analysis"]["id"]
    results = [reference("Observation", f"{PREFIX_SUBTYPE}{analysis_id}")]
    if any(finding["modality"] == "smear_cell" for finding in report.body["findings"]):
        results.append(reference("Observation", f"{PREFIX_CELLS}{analysis_id}"))
    return {
        "resourceType": "DiagnosticReport",
        "id": str(report.case_id),
        "meta": {"versionId": str(report.version), "lastUpdated": instant(_changed(report))},
        "identifier": [{"system": f"{MARROW}:report", "value": str(report.pk)}],
        "status": status_of(report),
        "category": [HAEMATOLOGY],
        "code": REPORT,
        "subject": of_patient(report.case.patient),
        "effectiveDateTime": report.body["analysis"]["requested"],
        "issued": instant(_changed(report)),
        "result": results,
        **_conclusion(report),
    }


def _changed(report):
    return report.sign_off.at if hasattr(report, "sign_off") else report.created_at


def _conclusion(report):
    """The signer's diagnosis once it is signed; Marrow's own, called so, before."""
    tree = load_tree().nodes
    if not hasattr(report, "sign_off"):
        answer = report.body["assessment"]["answer"]
        text = f"Not signed. Marrow: {answer['name']}." if answer else "Not signed. Marrow makes no assessment."
        return {"conclusion": f"{text} {STATEMENT}"}
    sign_off = report.sign_off
    stated = tree[sign_off.diagnosis].name if sign_off.diagnosis else "No diagnosis stated"
    parts = [f"{stated}.", sign_off.meaning, sign_off.reason, report.amendment_reason]
    coded = {"conclusionCode": [diagnosis(tree[sign_off.diagnosis])]} if sign_off.diagnosis else {}
    who = {"resultsInterpreter": [{"display": sign_off.signer}]}
    return {"conclusion": " ".join(filter(None, parts)), **coded, **who}


REPORTS = Source(
    rows=standing_reports,
    resource=report_resource,
    at="created_at",
    key="case_id",
    recorded_as=Action.REPORT_READ,
    filters={
        "patient": OF_PATIENT,
        "subject": OF_PATIENT,
        "identifier": lambda text: OF_REPORT(token(text)[1]) if token(text)[0] in (None, f"{MARROW}:report") else None,
        "code": lambda text: EVERY if token(text) in ((None, OWN_CODE), (CODES, OWN_CODE)) else None,
        "category": lambda text: EVERY if token(text)[1] == "HM" else None,
        "status": by_token(
            "status",
            {
                "preliminary": Q(sign_off__isnull=True),
                "final": Q(sign_off__isnull=False, amends__isnull=True),
                "amended": Q(sign_off__isnull=False, amends__isnull=False),
            },
        ),
        "issued": by_date("created_at"),
        "date": by_date("created_at"),
        "_lastUpdated": by_date("created_at"),
    },
)


def device_resource(bundle):
    facts = bundle.manifest
    limits = facts.get("limits") or []
    texts = [facts.get("intended_use"), *(limits if isinstance(limits, list) else [limits])]
    return {
        "resourceType": "Device",
        "id": str(bundle.pk),
        "meta": {"lastUpdated": instant(bundle.imported_at)},
        "identifier": [{"system": f"{MARROW}:sha256", "value": bundle.sha256}],
        "status": "active" if bundle.status == BundleStatus.ACTIVE else "inactive",
        "deviceName": [{"name": bundle.name, "type": "model-name"}],
        "version": [{"value": bundle.version}],
        "note": [{"text": str(text)} for text in texts if text],
    }


DEVICES = Source(
    rows=lambda user: ModelBundle.objects.all() if user.is_active else ModelBundle.objects.none(),
    resource=device_resource,
    at="imported_at",
    filters={
        "identifier": lambda text: Q(sha256=text.rpartition("|")[2]),
        "device-name": lambda text: Q(name__istartswith=text),
        "status": by_token("status", {"active": Q(status="active"), "inactive": ~Q(status="active")}),
        "_lastUpdated": by_date("imported_at"),
    },
)
