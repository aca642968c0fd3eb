"""What this server can do, in FHIR's own words."""

from datetime import UTC, datetime

from clinic.interop.fhir.including import names_of
from clinic.interop.fhir.kinds import CREATED, SOURCES, TYPES
from clinic.interop.fhir.search import known_parameters

SECURITY = (
    "Every request carries `Authorization: Token …` (see the integrator guide). What one may see ends at one's sites."
)
FROM = datetime(2026, 1, 1, tzinfo=UTC)


def statement(base_url):
    return {
        "resourceType": "CapabilityStatement",
        "id": "marrow",
        "url": f"{base_url}metadata",
        "name": "Marrow",
        "title": "Marrow: decision support for leukaemia work-ups",
        "status": "active",
        "experimental": True,
        "date": FROM.isoformat(),
        "kind": "instance",
        "software": {"name": "Marrow"},
        "implementation": {"description": "Research use; a clinician reviews and signs.", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "security": {"description": SECURITY},
                "resource": [_resource(kind) for kind in SOURCES],
                "interaction": [{"code": "transaction"}],
            }
        ],
    }


def _resource(kind):
    codes = ["read", "search-type", *(["create"] if kind in CREATED else [])]
    codes += ["vread"] if kind == "DiagnosticReport" else []
    said = {
        "type": kind,
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned" if kind == "DiagnosticReport" else "no-version",
        "searchParam": [{"name": name, "type": TYPES[name]} for name in sorted(known_parameters(SOURCES[kind]))],
    }
    said |= {"searchInclude": names_of(kind)} if names_of(kind) else {}
    return said | ({"conditionalCreate": True} if kind in CREATED else {})
