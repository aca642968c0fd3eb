from tests.clinic.interop.conftest import person
from tests.security.audited.lines import acts, plain, shows

TRANSACTION = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [{"resource": person("new-1"), "request": {"method": "POST", "url": "Patient"}}],
}
LINES = {
    "fhir:metadata": plain("what the server can do"),
    "fhir:base": acts("patient.create", body=TRANSACTION),
    "fhir_base": acts("patient.create", body=TRANSACTION),
    "fhir:type": [
        shows("patient.search", "Patient"),
        shows(
            "patient.create", "Patient", method="post", body=person("new-1") | {"name": [{"text": "Quillfeather two"}]}
        ),
    ],
    "fhir:search": shows("patient.search", "Patient", method="post", format="multipart"),
    "fhir:read": shows("patient.read", "Patient", "patient"),
    "fhir:version": shows("report.read", "DiagnosticReport", "case", 1),
    "fhir:nothing": plain("refuses whatever else is asked"),
}
