"""The resource types, and what can be done with each: the one table that routes and statement are made of."""

from clinic.interop.fhir.answers import DIFFERENTIALS, PROVENANCES, RISKS, SUBTYPES
from clinic.interop.fhir.documents import DEVICES, REPORTS
from clinic.interop.fhir.imaging import STUDIES
from clinic.interop.fhir.labs import LABS
from clinic.interop.fhir.log import EVENTS
from clinic.interop.fhir.people import PATIENTS

SOURCES = {
    "Patient": [PATIENTS],
    "Observation": [LABS, DIFFERENTIALS, SUBTYPES],
    "DiagnosticReport": [REPORTS],
    "RiskAssessment": [RISKS],
    "Provenance": [PROVENANCES],
    "Device": [DEVICES],
    "ImagingStudy": [STUDIES],
    "AuditEvent": [EVENTS],
}
ACT = {"AuditEvent": "audit.view"}  # what one must be allowed to, where it is not case.view
CREATED = ("Patient", "Observation")
TYPES = {
    "_id": "token",
    "_lastUpdated": "date",
    "agent": "string",
    "birthdate": "date",
    "category": "token",
    "code": "token",
    "date": "date",
    "device-name": "string",
    "family": "string",
    "gender": "token",
    "given": "string",
    "identifier": "token",
    "issued": "date",
    "modality": "token",
    "name": "string",
    "outcome": "token",
    "organization": "reference",
    "patient": "reference",
    "recorded": "date",
    "started": "date",
    "status": "token",
    "subtype": "token",
    "subject": "reference",
    "target": "reference",
}
