"""FHIR R4 from outside: every answer is read back by the models of fhir.resources."""

import pytest
from fhir.resources.R4B import get_fhir_model_class

from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import StudyItem
from clinic.cases.reports import amend, draft_report, sign
from clinic.interop.results.models import LabResult
from clinic.patients.models import Patient
from tests.clinic.interop.conftest import observation, person
from tests.factories import (
    FINDING,
    PASSWORD,
    BundleFactory,
    FindingFactory,
    PatientFactory,
    assessed_case,
)

pytestmark = pytest.mark.django_db


def read(response, status=200):
    said = response.json()
    assert response.status_code == status, said
    assert response.headers["Content-Type"] == "application/fhir+json"
    get_fhir_model_class(said["resourceType"]).model_validate(said)
    return said


def refused(response, status, code):
    said = read(response, status)
    assert said["resourceType"] == "OperationOutcome"
    assert said["issue"][0]["details"].get("coding", [{"code": None}])[0]["code"] == code
    return said["issue"][0]


@pytest.fixture
def assessed(site):
    for name in ("labs", "fusion", "smear-cell"):
        BundleFactory(name=name)
    assessment = assessed_case(site)
    cells = {"differential": {"Blast": 12, "Lymphocyte": 8}, "blast_share": 0.6, "cells": []}
    body = FINDING | {"modality": "smear_cell", "explanation": cells}
    FindingFactory(analysis=assessment.analysis, modality="smear_cell", body=body)
    return assessment


def test_the_statement_says_what_the_routes_do(fhir):
    said = read(fhir().get("metadata"))
    kinds = {one["type"] for one in said["rest"][0]["resource"]}
    assert {"Patient", "Observation", "DiagnosticReport", "RiskAssessment", "Provenance", "Device"} <= kinds
    assert said["fhirVersion"] == "4.0.1"


def test_nobody_reads_without_a_login(fhir):
    refused(fhir().get("Patient"), 401, None)


def test_a_patient_in_and_out(fhir, integrator, clinician):
    made = fhir(integrator).post("Patient", person("P-77"))
    said = read(made, 201)
    assert made.headers["Location"].endswith(f"/fhir/Patient/{said['id']}")
    again = read(fhir(clinician).get(f"Patient/{said['id']}"))
    assert again["identifier"][0]["value"] == "P-77"
    assert again["name"][0] == {"text": "Synthetic, Fay", "family": "Synthetic", "given": ["Fay"]}
    assert again["birthDate"] == "1980-04-01"
    assert AuditEvent.objects.filter(action=Action.PATIENT_READ, object_id=said["id"]).exists()


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ("identifier=urn:marrow:site:home:mrn|A1", 1),
        ("identifier=A1,B2", 2),
        ("identifier=urn:marrow:site:elsewhere:mrn|A1", 0),
        ("name=oreau", 1),
        ("gender=male", 1),
        ("birthdate=ge1990-01-01", 1),
        ("birthdate=1985", 1),
        ("birthdate=lt1985-06", 0),
        ("family=Moreau&gender=male", 0),
        ("_id=not-an-id", 0),
    ],
)
def test_patients_are_found_by_the_usual_parameters(fhir, clinician, site, query, hits):
    PatientFactory(site=site, mrn="A1", name="Moreau, Ann", birth_date="1985-06-05", sex="female")
    PatientFactory(site=site, mrn="B2", name="Other, Bo", birth_date="1990-05-17", sex="male")
    said = read(fhir(clinician).get(f"Patient?{query}"))
    assert len(said.get("entry", [])) == hits


def test_pages_hold_every_patient_once(fhir, clinician, site):
    made = {str(PatientFactory(site=site).pk) for _ in range(7)}
    seen, url = [], "Patient?_count=3&_total=accurate"
    while url:
        said = read(fhir(clinician).get(url))
        assert said["total"] == 7
        seen += [entry["resource"]["id"] for entry in said["entry"]]
        url = next((link["url"].split("/fhir/")[1] for link in said["link"] if link["relation"] == "next"), None)
    assert len(seen) == 7
    assert set(seen) == made


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("Patient?shoesize=41", 400, "unknown_parameter"),
        ("Patient?gender=purple", 400, "unknown_value"),
        ("Patient?birthdate=yesterday", 400, "bad_date"),
        ("Patient?birthdate=2026-13-45", 400, "bad_date"),
        ("Patient?birthdate=0000", 400, "bad_date"),
        ("Patient?birthdate=9999", 400, "bad_date"),
        ("Patient?_count=many", 400, "bad_count"),
        ("Patient?_page=Zm9v", 400, "bad_page"),
        ("Nonsense", 404, "unknown_type"),
        ("Patient/none", 404, "not_found"),
        ("Patient/a/b/c/d", 404, "not_found"),
    ],
)
def test_what_is_not_understood_is_said(fhir, clinician, path, status, code):
    assert refused(fhir(clinician).get(path), status, code)["details"]["text"]


def test_a_lenient_client_is_told_what_was_not_used(fhir, clinician, site):
    PatientFactory(site=site)
    said = read(fhir(clinician).get("Patient?shoesize=41", headers={"Prefer": "handling=lenient"}))
    assert [entry["search"]["mode"] for entry in said["entry"]] == ["match", "outcome"]


def test_a_foreign_patient_is_not_found_and_the_asking_written_down(fhir, outsider, site):
    foreign = PatientFactory(site=site)
    refused(fhir(outsider).get(f"Patient/{foreign.pk}"), 404, "not_found")
    assert read(fhir(outsider).get("Patient")).get("entry", []) == []
    event = AuditEvent.objects.get(action=Action.DENIED)
    assert (event.object_id, event.actor_id) == (str(foreign.pk), str(outsider.pk))


def test_what_an_analysis_said(fhir, clinician, assessed):
    pk, of = assessed.analysis_id, f"patient={assessed.analysis.case.patient_id}"
    found = read(fhir(clinician).get(f"Observation?{of}"))["entry"]
    assert [one["resource"]["id"] for one in found] == [f"differential-{pk}", f"subtype-{pk}"]
    cells, subtype = (one["resource"] for one in found)
    shares = {part["code"]["text"]: part["valueQuantity"]["value"] for part in cells["component"]}
    assert shares == {"Blast": 60.0, "Lymphocyte": 40.0}
    assert subtype["status"] == "preliminary"
    codes = {(c["system"], c["code"]) for c in subtype["valueCodeableConcept"]["coding"]}
    assert ("urn:marrow:diagnosis-tree", "aml") in codes
    risk = read(fhir(clinician).get(f"RiskAssessment?{of}"))["entry"][0]["resource"]
    assert [p["probabilityDecimal"] for p in risk["prediction"]] == [0.83, 0.17]
    origin = read(fhir(clinician).get(f"Provenance?target=Observation/subtype-{pk}"))["entry"][0]["resource"]
    device_id = origin["agent"][0]["who"]["reference"].split("/")[1]
    assert read(fhir(clinician).get(f"Device/{device_id}"))["deviceName"][0]["name"] == "labs"
    assert read(fhir(clinician).get(f"Observation?{of}&code=leukaemia-subtype"))["entry"][0]["resource"] == subtype
    assert "entry" not in read(fhir(clinician).get(f"Observation?{of}&status=final"))
    assert AuditEvent.objects.filter(action=Action.ANALYSIS_READ).count() == 2
    assert AuditEvent.objects.filter(action=Action.RESULT_READ).count() == 3


def test_an_abstention_is_a_result(fhir, clinician, site):
    assessment = assessed_case(site, abstained=True)
    said = read(fhir(clinician).get(f"Observation/subtype-{assessment.analysis_id}"))
    assert "valueCodeableConcept" not in said
    assert said["dataAbsentReason"]["coding"][0]["code"] == "unknown"
    assert "unlike" in said["note"][0]["text"]


def test_a_report_is_preliminary_then_final_then_amended(fhir, clinician, assessed):
    case = assessed.analysis.case
    report = draft_report(assessment=assessed, by=clinician)
    said = read(fhir(clinician).get(f"DiagnosticReport?patient={case.patient_id}"))["entry"][0]["resource"]
    assert (said["id"], said["status"]) == (str(case.pk), "preliminary")
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    said = read(fhir(clinician).get(f"DiagnosticReport/{case.pk}"))
    assert said["status"] == "final"
    assert said["conclusionCode"][0]["coding"][0]["code"] == "aml"
    subtype = f"Observation/subtype-{assessed.analysis_id}"
    assert {"reference": subtype} in said["result"]
    assert read(fhir(clinician).get(subtype))["status"] == "final"
    report.refresh_from_db()
    amendment = amend(report=report, reason="The karyotype has arrived.", by=clinician)
    assert read(fhir(clinician).get(f"DiagnosticReport/{case.pk}"))["meta"]["versionId"] == "1"
    override = {"decision": "override", "diagnosis": "apl", "reason": "PML::RARA found"}
    sign(report=amendment, by=clinician, password=PASSWORD, **override)
    now = fhir(clinician).get(f"DiagnosticReport/{case.pk}")
    assert now.headers["ETag"] == 'W/"2"'
    assert read(now)["status"] == "amended"
    assert "PML::RARA found" in read(now)["conclusion"]
    assert read(fhir(clinician).get(f"DiagnosticReport/{case.pk}/_history/1"))["status"] == "final"
    assert read(fhir(clinician).get("DiagnosticReport?status=amended"))["entry"]
    assert "entry" not in read(fhir(clinician).get("DiagnosticReport?status=preliminary"))


# --- in ----------------


def test_a_laboratory_value_by_loinc_and_ucum(fhir, integrator, site):
    patient = PatientFactory(site=site)
    subject = {"reference": f"Patient/{patient.pk}"}
    sent = observation("718-7", 8.1, "g/dL", subject=subject, identifier="R1")
    said = read(fhir(integrator).post("Observation", sent), 201)
    assert said["valueQuantity"] == {"value": 81.0, "unit": "g/L", "system": "http://unitsofmeasure.org", "code": "g/L"}
    assert said["note"] == [{"text": "Received as 8.1 g/dL"}]
    assert read(fhir(integrator).post("Observation", sent), 200)["id"] == said["id"]
    changed = observation("718-7", 8.4, "g/dL", subject=subject, identifier="R1")
    refused(fhir(integrator).post("Observation", changed), 409, "changed_result")
    new = read(fhir(integrator).post("Observation", changed | {"status": "corrected"}), 201)
    listed = read(fhir(integrator).get(f"Observation?patient={patient.pk}&code=http://loinc.org|718-7"))["entry"]
    assert [one["resource"]["id"] for one in listed] == [new["id"]]
    assert listed[0]["resource"]["status"] == "corrected"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": "preliminary"}, "not_final"),
        ({"code": {"text": "Leukos"}}, "no_loinc"),
        ({"code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}]}}, "unknown_code"),
        ({"valueQuantity": {"value": 5, "unit": "%"}}, "wrong_unit"),
        ({"valueQuantity": {"value": 5, "comparator": "<", "code": "10*9/L"}}, "not_a_number"),
        ({"valueQuantity": {"value": 5, "code": "10*9/L", "system": "urn:own"}}, "not_ucum"),
        ({"effectiveDateTime": "2026"}, "no_time"),
        ({"effectiveDateTime": "2126-01-01"}, "in_future"),
        ({"subject": {"reference": "Group/1"}}, "unknown_patient"),
        ({"subject": {"identifier": {"value": "nobody's"}}}, "unknown_patient"),
        ({"status": "entered-in-error", "identifier": [{"value": "never"}]}, "unknown_result"),
    ],
)
def test_a_value_that_cannot_be_placed_is_refused(fhir, integrator, site, change, code):
    subject = {"reference": f"Patient/{PatientFactory(site=site).pk}"}
    sent = observation("6690-2", 5, "10*9/L", subject=subject) | change
    refused(fhir(integrator).post("Observation", sent), 422, code)
    assert not LabResult.objects.exists()


def test_a_value_of_an_unknown_patient_is_not_taken(fhir, integrator):
    sent = observation("6690-2", 5, "10*9/L", subject={"reference": "Patient/nobody"})
    refused(fhir(integrator).post("Observation", sent), 404, "not_found")


@pytest.mark.parametrize("body", [[], 3, "x", {}, {"resourceType": "Bundle"}, {"resourceType": "Patient", "nme": 1}])
def test_a_body_that_is_no_patient_is_refused(fhir, integrator, body):
    refused(fhir(integrator).post("Patient", body), 400, "structure")


def test_broken_json_is_refused(api, integrator):
    answer = api(integrator).post("/fhir/Patient", "{", content_type="application/fhir+json")
    assert read(answer, 400)["issue"][0]["code"] == "invalid"


def transaction_of(*entries):
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def entry(resource, **request):
    kind = resource["resourceType"]
    return {"resource": resource, "request": {"method": "POST", "url": kind, **request}}


def panel(subject):
    values = [("6690-2", 48, "10*9/L"), ("777-3", 21, "10*9/L"), ("2532-0", 900, "U/L"), ("26446-5", 80, "%")]
    return [entry(observation(*value, subject=subject, identifier=f"R{n}")) for n, value in enumerate(values)]


URN = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"


def test_a_transaction_makes_patient_values_case_and_panel(fhir, integrator, django_capture_on_commit_callbacks):
    condition = {"ifNoneExist": "identifier=urn:marrow:site:home:mrn|P-1"}
    bundle = transaction_of(*panel({"reference": URN}), entry(person(), **condition) | {"fullUrl": URN})
    with django_capture_on_commit_callbacks():
        said = read(fhir(integrator).post("", bundle))
    assert [one["response"]["status"] for one in said["entry"]] == ["201 Created"] * 5
    item = StudyItem.objects.get()
    assert item.kind == "labs"
    assert item.case.patient.mrn == "P-1"
    assert item.result_panel.results.count() == 4
    again = read(fhir(integrator).post("", bundle))
    assert {one["response"]["status"] for one in again["entry"]} == {"200 OK"}
    assert (Patient.objects.count(), LabResult.objects.count(), StudyItem.objects.count()) == (1, 4, 1)


def test_a_transaction_is_taken_whole_or_not_at_all(fhir, integrator):
    bad = entry(observation("5894-1", 14, "s", subject={"reference": URN}))
    bundle = transaction_of(entry(person()) | {"fullUrl": URN}, *panel({"reference": URN}), bad)
    issue = refused(fhir(integrator).post("", bundle), 422, "wrong_unit")
    assert issue["expression"] == ["Bundle.entry[5].resource.valueQuantity"]
    assert (Patient.objects.count(), LabResult.objects.count(), StudyItem.objects.count()) == (0, 0, 0)
    assert not AuditEvent.objects.filter(action__in=[Action.PATIENT_CREATE, Action.RESULT_RECEIVE]).exists()


@pytest.mark.parametrize(
    ("bundle", "status", "code"),
    [
        ({"resourceType": "Bundle", "type": "batch"}, 400, "not_a_transaction"),
        (transaction_of({"request": {"method": "DELETE", "url": "Patient/1"}}), 400, "not_in_transaction"),
        (transaction_of(entry(person()) | {"request": {"method": "POST", "url": "Observation"}}), 400, "other_type"),
        (transaction_of(entry(person(), ifNoneExist="shoesize=41")), 400, "bad_condition"),
        (transaction_of(entry({"resourceType": "Patientx"})), 400, "structure"),
    ],
)
def test_a_transaction_that_cannot_be_done_is_refused(fhir, integrator, bundle, status, code):
    refused(fhir(integrator).post("", bundle), status, code)


def test_a_condition_that_several_meet_is_refused(fhir, integrator, site):
    PatientFactory(site=site, name="Twin, A")
    PatientFactory(site=site, name="Twin, B")
    refused(fhir(integrator).post("Patient", person(), headers={"If-None-Exist": "name=Twin"}), 412, "several_match")
    one = PatientFactory(site=site, name="Single")
    kept = fhir(integrator).post("Patient", person(), headers={"If-None-Exist": "name=Single"})
    assert read(kept)["id"] == str(one.pk)
    assert Patient.objects.count() == 3


def test_a_search_by_form_keeps_names_out_of_addresses(api, clinician, site):
    PatientFactory(site=site, name="Moreau, Ann")
    answer = api(clinician).post(
        "/fhir/Patient/_search", "name=moreau", content_type="application/x-www-form-urlencoded"
    )
    assert len(read(answer)["entry"]) == 1


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_there_is_nothing_else(api, clinician, method):
    refused(getattr(api(clinician), method)("/fhir/Patient/1/2/3"), 404, "not_found")
    refused(getattr(api(), method)("/fhir/Patient/1/2/3"), 401, None)


def test_the_log_is_told_to_those_who_oversee_it(fhir, clinician, auditor, site):
    patient = PatientFactory(site=site)
    read(fhir(clinician).get(f"Patient/{patient.pk}"))
    said = read(fhir(auditor).get(f"AuditEvent?patient=Patient/{patient.pk}&subtype=patient.read"))["entry"]
    assert [one["resource"]["agent"][0]["who"]["identifier"]["value"] for one in said] == [str(clinician.pk)]
    assert AuditEvent.objects.filter(action=Action.AUDIT_READ, actor_id=str(auditor.pk)).count() == 1


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_what_is_not_offered_is_refused_in_fhir(api, clinician, site, method):
    patient = PatientFactory(site=site)
    answer = getattr(api(clinician), method)(f"/fhir/Patient/{patient.pk}")
    assert read(answer, 405)["issue"][0]["code"] == "not-supported"


def test_laboratory_values_and_answers_are_found_by_their_category(fhir, integrator, assessed):
    subject = {"reference": f"Patient/{assessed.analysis.case.patient_id}"}
    read(fhir(integrator).post("Observation", observation("718-7", 8.1, "g/dL", subject=subject)), 201)
    assert len(read(fhir(integrator).get("Observation?category=laboratory"))["entry"]) == 3
    assert "entry" not in read(fhir(integrator).get("Observation?category=imaging"))
