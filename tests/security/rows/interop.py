"""The standards' own addresses. More of FHIR's resource types: tests/clinic/interop/test_fhir_permissions.py."""

from tests.clinic.interop.conftest import delivery, held, instance_uids, observation, person
from tests.security.matrix import admins, answers, staff


def _transaction(w):
    value = observation("718-7", 8.1, "g/dL", subject={"reference": f"Patient/{w.patient.pk}"})
    entry = [{"resource": value, "request": {"method": "POST", "url": "Observation"}}]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entry}


def uids(w, many):
    """The UIDs of a stored instance, as many as the address has."""
    return instance_uids(w.item)[:many]


READ = staff(200)
ONLY_ADMIN = answers(401, 404, 404, 404, 404, 200, 404, 404, 404)
SEARCH = staff(200, others=403, elsewhere=200)
REFUSED = answers(
    401, 415, 415, 415, 415, 415, 415, 415, 415
)  # no multipart; who may: tests/clinic/interop/test_dicomweb.py
ROWS = {
    "GET dicomweb:studies": SEARCH,
    "POST dicomweb:studies": REFUSED,
    "GET dicomweb:all_series": SEARCH,
    "GET dicomweb:all_instances": SEARCH,
    "GET dicomweb:series_of_study": SEARCH,
    "GET dicomweb:instances_of_study": SEARCH,
    "GET dicomweb:instances_of_series": SEARCH,
    "GET dicomweb:study": READ,
    "POST dicomweb:study": REFUSED,
    "GET dicomweb:study_metadata": READ,
    "GET dicomweb:series": READ,
    "GET dicomweb:series_metadata": READ,
    "GET dicomweb:instance": READ,
    "GET dicomweb:instance_metadata": READ,
    "GET dicomweb:instance_rendered": READ,
    "GET dicomweb:frames": READ,
    "GET dicomweb:frame_rendered": READ,
    "GET interop:webhooks": admins(200),
    "POST interop:webhooks": answers(401, 404, 404, 404, 404, 400, 404, 404, 404),  # 400: no public address
    "GET interop:webhook": ONLY_ADMIN,
    "PATCH interop:webhook": ONLY_ADMIN,
    "GET interop:deliveries": admins(200),
    "POST interop:replay": ONLY_ADMIN,
    "GET interop:held_results": staff(200, others=403, elsewhere=200),
    "GET interop:held_result": READ,
    "POST interop:take_held": READ,
    "POST interop:dismiss_held": READ,
    "GET cds:discovery": answers(*[200] * 9),
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
    "dicomweb:study": lambda w: uids(w, 1),
    "dicomweb:study_metadata": lambda w: uids(w, 1),
    "dicomweb:series_of_study": lambda w: uids(w, 1),
    "dicomweb:instances_of_study": lambda w: uids(w, 1),
    "dicomweb:series": lambda w: uids(w, 2),
    "dicomweb:series_metadata": lambda w: uids(w, 2),
    "dicomweb:instances_of_series": lambda w: uids(w, 2),
    "dicomweb:instance": lambda w: uids(w, 3),
    "dicomweb:instance_metadata": lambda w: uids(w, 3),
    "dicomweb:instance_rendered": lambda w: instance_uids(w.microscope),
    "dicomweb:frames": lambda w: [*instance_uids(w.microscope), 1],
    "dicomweb:frame_rendered": lambda w: [*instance_uids(w.microscope), 1],
    "interop:webhook": lambda w: delivery(w.site).webhook,
    "interop:replay": lambda w: delivery(w.site),
    "interop:held_result": lambda w: held(w.site),
    "interop:take_held": lambda w: held(w.site),
    "interop:dismiss_held": lambda w: held(w.site),
    "fhir:type": lambda w: ["Patient"],
    "fhir:search": lambda w: ["Patient"],
    "fhir:read": lambda w: ["Patient", w.patient],
    "fhir:version": lambda w: ["DiagnosticReport", w.draft.case, w.draft.version],
}
BODIES = {
    "POST interop:webhooks": lambda w: {
        "site": str(w.site.pk),
        "url": "https://192.0.2.1/",
        "events": ["report.signed"],
    },
    "PATCH interop:webhook": lambda w: {"active": False},
    "POST interop:take_held": lambda w: {"loinc": "6690-2", "patient": str(w.patient.pk)},
    "POST interop:dismiss_held": lambda w: {"reason": "A control sample"},
    "POST fhir:base": _transaction,
    "POST fhir_base": _transaction,
    "POST fhir:type": lambda w: person("new-1"),
}
ELSEWHERE = {
    "cds:service": "tests/clinic/interop/test_cds_hooks.py",  # a JWT of its own, no role's session or token
    "cds:feedback": "tests/clinic/interop/test_cds_hooks.py",
    "fhir:nothing": "tests/clinic/interop/test_fhir.py",
}
