"""Who may do what with each resource type of FHIR; the routes are in tests/security/rows/interop.py."""

import json

import pytest

from clinic.audit.models import Action, AuditEvent
from clinic.cases.reports import draft_report
from tests.clinic.interop.conftest import observation
from tests.factories import BundleFactory, assessed_case
from tests.security.matrix import token_for

pytestmark = pytest.mark.django_db

USERS = ("nobody", "technician", "clinician", "integrator", "auditor", "admin_user", "outsider")
READERS, MAKERS = (200, 200, 200), (201, 201, 201)

# method and address → the answers to nobody; technician, clinician, integrator; auditor, admin; one of another site
TABLE = {
    "GET fhir/Observation": (401, *READERS, 403, 403, 200),
    "GET fhir/Observation/subtype-{analysis}": (401, *READERS, 404, 404, 404),
    "POST fhir/Observation": (401, *MAKERS, 403, 403, 404),
    "GET fhir/DiagnosticReport": (401, *READERS, 403, 403, 200),
    "GET fhir/DiagnosticReport/{case}": (401, *READERS, 404, 404, 404),
    "GET fhir/DiagnosticReport/{case}/_history/1": (401, *READERS, 404, 404, 404),
    "GET fhir/RiskAssessment": (401, *READERS, 403, 403, 200),
    "GET fhir/RiskAssessment/{analysis}": (401, *READERS, 404, 404, 404),
    "GET fhir/Provenance/{analysis}": (401, *READERS, 404, 404, 404),
    "GET fhir/AuditEvent": (401, 403, 403, 403, 200, 200, 403),
    "GET fhir/AuditEvent/seq-1": (401, 404, 404, 404, 200, 200, 404),
    "GET fhir/Device/{bundle}": (401, *READERS, 200, 200, 200),
}
ROWS = [(asked, user, answer) for asked, row in TABLE.items() for user, answer in zip(USERS, row, strict=True)]


@pytest.fixture
def world(site, clinician):
    bundle = BundleFactory(name="labs")
    assessment = assessed_case(site)
    draft_report(assessment=assessment, by=clinician)
    case = assessment.analysis.case
    return {"patient": case.patient_id, "case": case.pk, "analysis": assessment.analysis_id, "bundle": bundle.pk}


def ask(client, asked, world):
    method, path = asked.format(**world).split(" ")
    if method == "GET":
        return client.get(f"/{path}")
    value = observation("718-7", 8.1, "g/dL", subject={"reference": f"Patient/{world['patient']}"})
    return client.post(f"/{path}", json.dumps(value), content_type="application/json")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row)))
def test_the_table(request, api, world, row):
    asked, user, answer = row
    who = None if user == "nobody" else request.getfixturevalue(user)
    client = api()
    if who:
        token = token_for(who)
        client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    response = ask(client, asked, world)
    assert response.status_code == answer, response.content
    denied = AuditEvent.objects.filter(action=Action.DENIED)
    assert len(denied) == (1 if answer in {403, 404} else 0)
    assert {event.actor_id for event in denied} <= {str(who.pk) if who else ""}
    if answer >= 400:
        assert response.json()["resourceType"] == "OperationOutcome"
