"""The standards' own endpoints: one table of user × act × answer, as for the API."""

import json

import pytest
from knox.models import get_token_model

from clinic.audit.models import Action, AuditEvent
from clinic.cases.reports import draft_report
from tests.clinic.interop.conftest import observation, person
from tests.factories import BundleFactory, assessed_case

pytestmark = pytest.mark.django_db

USERS = ("nobody", "technician", "clinician", "integrator", "auditor", "admin_user", "outsider")
READERS, MAKERS = (200, 200, 200), (201, 201, 201)

# method and address → the answers to nobody; technician, clinician, integrator; auditor, admin; one of another site
TABLE = {
    "GET fhir/metadata": (200, *READERS, 200, 200, 200),
    "GET fhir/Patient": (401, *READERS, 403, 403, 200),
    "GET fhir/Patient/{patient}": (401, *READERS, 404, 404, 404),
    "POST fhir/Patient": (401, *MAKERS, 403, 403, 422),
    "POST fhir/Patient/_search": (401, *READERS, 403, 403, 200),
    "GET fhir/Observation": (401, *READERS, 403, 403, 200),
    "GET fhir/Observation/subtype-{analysis}": (401, *READERS, 404, 404, 404),
    "POST fhir/Observation": (401, *MAKERS, 403, 403, 422),
    "POST fhir/": (401, *READERS, 403, 403, 422),
    "GET fhir/DiagnosticReport": (401, *READERS, 403, 403, 200),
    "GET fhir/DiagnosticReport/{case}": (401, *READERS, 404, 404, 404),
    "GET fhir/DiagnosticReport/{case}/_history/1": (401, *READERS, 404, 404, 404),
    "GET fhir/RiskAssessment": (401, *READERS, 403, 403, 200),
    "GET fhir/RiskAssessment/{analysis}": (401, *READERS, 404, 404, 404),
    "GET fhir/Provenance/{analysis}": (401, *READERS, 404, 404, 404),
    "GET fhir/Device/{bundle}": (401, *READERS, 200, 200, 200),
}
NOT_WRITTEN_DOWN = {401, 422}  # nobody asked; or the input named nothing that the user may see
ROWS = [(asked, user, answer) for asked, row in TABLE.items() for user, answer in zip(USERS, row, strict=True)]


@pytest.fixture
def world(site, clinician):
    bundle = BundleFactory(name="labs")
    assessment = assessed_case(site)
    draft_report(assessment=assessment, by=clinician)
    case = assessment.analysis.case
    return {"patient": case.patient_id, "case": case.pk, "analysis": assessment.analysis_id, "bundle": bundle.pk}


def body_for(path, world):
    value = observation("718-7", 8.1, "g/dL", subject={"reference": f"Patient/{world['patient']}"})
    bodies = {
        "fhir/Patient": person("new-1"),
        "fhir/Observation": value,
        "fhir/": {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"resource": value, "request": {"method": "POST", "url": "Observation"}}],
        },
    }
    return bodies.get(path)


def ask(client, asked, world):
    method, path = asked.format(**world).split(" ")
    if method == "GET":
        return client.get(f"/{path}")
    if path.endswith("_search"):
        return client.post(f"/{path}", "", content_type="application/x-www-form-urlencoded")
    return client.post(f"/{path}", json.dumps(body_for(path, world)), content_type="application/json")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row)))
def test_the_table(request, api, world, row):
    asked, user, answer = row
    who = None if user == "nobody" else request.getfixturevalue(user)
    client = api()
    if who:
        _, token = get_token_model().objects.create(user=who)
        client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    response = ask(client, asked, world)
    assert response.status_code == answer, response.content
    denied = AuditEvent.objects.filter(action=Action.DENIED)
    assert len(denied) == (1 if answer in {403, 404} else 0) or answer in NOT_WRITTEN_DOWN
    assert {event.actor_id for event in denied} <= {str(who.pk) if who else ""}
    if answer >= 400 and "fhir" in asked:
        assert response.json()["resourceType"] == "OperationOutcome"
