"""FHIR searches: what comes with a match, and the usual parameters of reports."""

import pytest

from clinic.audit.models import AuditEvent
from clinic.cases.reports import draft_report
from tests.clinic.interop.test_fhir import assessed, read, refused

__all__ = ["assessed"]
pytestmark = pytest.mark.django_db

INCLUDES = [
    ("Observation", "subject", {"Patient"}),
    ("Observation", "device", {"Device"}),
    ("DiagnosticReport", "result", {"Observation"}),
    ("RiskAssessment", "performer", {"Device"}),
    ("RiskAssessment", "patient", {"Patient"}),
    ("Provenance", "agent", {"Device"}),
    ("Provenance", "target", {"Observation", "RiskAssessment"}),
]


@pytest.mark.parametrize(("kind", "name", "wanted"), INCLUDES)
def test_what_a_match_refers_to_comes_with_it(fhir, clinician, assessed, kind, name, wanted):
    draft_report(assessment=assessed, by=clinician)
    of = f"patient={assessed.analysis.case.patient_id}"
    entries = read(fhir(clinician).get(f"{kind}?{of}&_include={kind}:{name}"))["entry"]
    modes = {(one["search"]["mode"], one["resource"]["resourceType"]) for one in entries}
    assert modes == {("match", kind)} | {("include", other) for other in wanted}
    assert len({one["fullUrl"] for one in entries}) == len(entries)
    assert '"included"' in AuditEvent.objects.order_by("-seq")[0].body


def test_what_cannot_be_included_is_refused(fhir, clinician):
    refused(fhir(clinician).get("Observation?_include=Observation:encounter"), 400, "unknown_include")
    refused(fhir(clinician).get("Patient?_include=Patient:organization"), 400, "unknown_include")


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ("code=leukaemia-report", 1),
        ("code=urn:own|leukaemia-report", 0),
        ("category=HM", 1),
        ("status=preliminary", 1),
        ("status=final", 0),
        ("identifier=urn:own|1", 0),
        ("date=ge2026-01-01&_lastUpdated=ge2026-01-01", 1),
        ("issued=lt2020", 0),
    ],
)
def test_reports_are_found_by_the_usual_parameters(fhir, clinician, assessed, query, hits):
    report = draft_report(assessment=assessed, by=clinician)
    assert len(read(fhir(clinician).get(f"DiagnosticReport?{query}")).get("entry", [])) == hits
    assert len(read(fhir(clinician).get(f"DiagnosticReport?identifier=urn:marrow:report|{report.pk}"))["entry"]) == 1
