"""The standards' own addresses. More of FHIR's resource types: tests/clinic/interop/test_fhir_permissions.py."""

from tests.clinic.interop.conftest import observation, person
from tests.security.matrix import answers, staff


def _transaction(w):
    value = observation("718-7", 8.1, "g/dL", subject={"reference": f"Patient/{w.patient.pk}"})
    entry = [{"resource": value, "request": {"method": "POST", "url": "Observation"}}]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entry}


READ = staff(200)
ROWS = {
    "GET fhir:metadata": answers(*[200] * 9),
    "POST fhir:base": staff(200, others=403, elsewhere=404),
    "POST fhir_base": staff(200, others=403, elsewhere=404),
    "GET fhir:type": staff(200, others=403, elsewhere=200),
    "POST fhir:type": staff(201, others=403, elsewhere=422),
    "POST fhir:search": staff(200, others=403, elsewhere=200),
    "GET fhir:read": READ,
    "GET fhir:version": READ,
}
OBJECTS = {
    "fhir:type": lambda w: ["Patient"],
    "fhir:search": lambda w: ["Patient"],
    "fhir:read": lambda w: ["Patient", w.patient],
    "fhir:version": lambda w: ["DiagnosticReport", w.draft.case, w.draft.version],
}
BODIES = {
    "POST fhir:base": _transaction,
    "POST fhir_base": _transaction,
    "POST fhir:type": lambda w: person("new-1"),
}
ELSEWHERE = {"fhir:nothing": "tests/clinic/interop/test_fhir.py"}
