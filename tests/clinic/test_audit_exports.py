"""The log as CSV, NDJSON and FHIR: whole, safe in a spreadsheet, valid for another hospital's repository."""

import csv
import io
import json

import pytest
from django.urls import reverse
from fhir.resources.R4B.auditevent import AuditEvent as FhirAuditEvent

from clinic.audit.chain import hash_of
from clinic.audit.exports import neutral
from clinic.audit.fhir import audit_event
from clinic.audit.models import Action, AuditEvent, Outcome
from clinic.audit.services import record
from tests.factories import CaseFactory

pytestmark = pytest.mark.django_db
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."


def exported(client, form, **filters):
    response = client.get(reverse("api:events_export"), {"as": form, **filters})
    assert response.status_code == 200
    assert response.headers["Content-Disposition"].startswith("attachment; ")
    return response.getvalue().decode()


@pytest.fixture
def case(site, clinician):
    case = CaseFactory(patient__site=site)
    record(Action.CASE_READ, by=clinician, obj=case)
    record(Action.CASE_SEARCH, by=clinician, detail={"query": '=HYPERLINK("http://x")', "hits": [str(case.pk)]})
    return case


@pytest.mark.parametrize("outcome", Outcome.values)
@pytest.mark.parametrize("action", Action.values)
def test_every_act_is_a_valid_fhir_audit_event(site, clinician, action, outcome):
    case = CaseFactory(patient__site=site)
    event = record(action, by=clinician, obj=case, outcome=outcome, purpose="treatment", detail={"n": 1})
    said = audit_event(event)
    FhirAuditEvent.model_validate(said)
    assert said["agent"][0]["requestor"]
    assert said["agent"][0]["who"]["identifier"]["value"] == str(clinician.pk)
    assert {"reference": f"Patient/{case.patient_id}"} in [entity.get("what") for entity in said["entity"]]


@pytest.mark.parametrize(
    ("action", "pattern", "verb"),
    [
        (Action.CASE_READ, "PatientRead", "R"),
        (Action.ITEM_DOWNLOAD, "PatientRead", "R"),
        (Action.CASE_SEARCH, "PatientQuery", "E"),
        (Action.REPORT_DRAFT, "PatientCreate", "C"),
        (Action.REPORT_SIGN, "PatientUpdate", "U"),
    ],
)
def test_an_act_has_the_pattern_of_its_verb(case, action, pattern, verb):
    said = audit_event(record(action, obj=case))
    assert said["meta"]["profile"] == [BALP + pattern]
    assert said["action"] == verb


def test_what_the_system_did_names_its_cause(as_task, case):
    said = audit_event(record(Action.ITEM_ACCEPT, obj=case))
    assert said["agent"][0]["who"] == {"display": "system"}
    details = said["entity"][-1]["detail"]
    assert {"type": "cause", "valueString": "a test"} in details


def test_csv_has_every_event_and_no_formula(api, auditor, case):
    rows = list(csv.DictReader(io.StringIO(exported(api(auditor), "csv"))))
    assert [int(row["seq"]) for row in rows] == list(AuditEvent.objects.order_by("seq").values_list("seq", flat=True))[
        :-1
    ]
    assert rows[0]["hash"] == AuditEvent.objects.get(seq=1).hash
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "=cmd|' /C calc'!A0"])
def test_a_formula_is_text(cell):
    assert neutral(cell) == f"'{cell}"


def test_ndjson_can_be_verified_by_who_has_only_the_file(api, auditor, case):
    previous = None
    for line in exported(api(auditor), "ndjson").splitlines():
        body = line.split('"event":', 1)[1][:-1]
        assert json.loads(line)["hash"] == hash_of(body)
        assert previous in (None, json.loads(body)["prev_hash"])
        previous = hash_of(body)


def test_fhir_is_one_resource_a_line_and_filters_hold(api, auditor, case):
    lines = exported(api(auditor), "fhir", patient=str(case.patient_id)).splitlines()
    assert [FhirAuditEvent.model_validate_json(line).id for line in lines] == ["seq-1"]


def test_the_export_is_an_event_that_names_filter_and_patients(api, auditor, case):
    exported(api(auditor), "csv", action="case.read")
    said = json.loads(AuditEvent.objects.get(action=Action.AUDIT_EXPORT).body)["detail"]
    assert said["filter"] == {"action": "case.read"}
    assert (said["count"], said["patients"]) == (1, [str(case.patient_id)])


@pytest.mark.parametrize("asked", [{"as": "xml"}, {"as": "csv", "from": "yesterday"}, {"as": "csv", "action": "fly"}])
def test_a_bad_wish_is_refused_and_exports_nothing(api, auditor, asked):
    response = api(auditor).get(reverse("api:events_export"), asked)
    assert response.status_code == 400
    assert response.json()["errors"]
    assert not AuditEvent.objects.filter(action=Action.AUDIT_EXPORT).exists()


def test_another_sites_events_are_not_exported(api, other_site, case):
    from tests.factories import member

    assert exported(api(member(other_site, "auditor")), "ndjson") == ""
