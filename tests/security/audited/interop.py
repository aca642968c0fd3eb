from tests.clinic.interop.conftest import person
from tests.security.audited.lines import acts, plain, shows


def _whose(world):
    return {"loinc": "6690-2", "patient": str(world["patient"].pk)}


TRANSACTION = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [{"resource": person("new-1"), "request": {"method": "POST", "url": "Patient"}}],
}
STUDY = ("1.2.3",)
SERIES = (*STUDY, "1.2.3.1")
INSTANCE = (*SERIES, "1.2.3.1.1")
MICROSCOPE = (*SERIES, "1.2.3.1.2")
LINES = {
    "dicomweb:studies": [
        shows("item.read"),
        plain("no multipart: tests/clinic/interop/test_dicomweb.py", method="post"),
    ],
    "dicomweb:all_series": acts("item.read", method="get"),
    "dicomweb:all_instances": shows("item.read"),
    "dicomweb:series_of_study": acts("item.read", *STUDY, method="get"),
    "dicomweb:instances_of_study": shows("item.read", *STUDY),
    "dicomweb:instances_of_series": shows("item.read", *SERIES),
    "dicomweb:study": [
        shows("item.download", *STUDY),
        plain("no multipart: tests/clinic/interop/test_dicomweb.py", *STUDY, method="post"),
    ],
    "dicomweb:study_metadata": shows("item.read", *STUDY),
    "dicomweb:series": shows("item.download", *SERIES),
    "dicomweb:series_metadata": shows("item.read", *SERIES),
    "dicomweb:instance": shows("item.download", *INSTANCE),
    "dicomweb:instance_metadata": shows("item.read", *INSTANCE),
    "dicomweb:instance_rendered": shows("item.read", *MICROSCOPE),
    "dicomweb:frames": shows("item.download", *MICROSCOPE, 1),
    "dicomweb:frame_rendered": shows("item.read", *MICROSCOPE, 1),
    "interop:webhooks": [
        acts("webhook.read", method="get", by="admin_user"),
        plain("a target inside of the network: refused; tests/clinic/interop/test_webhooks.py", method="post"),
    ],
    "interop:webhook": [
        acts("webhook.read", "webhook", method="get", by="admin_user"),
        acts("webhook.change", "webhook", method="patch", by="admin_user", body={"active": False}),
    ],
    "interop:deliveries": acts("webhook.read", method="get", by="admin_user"),
    "interop:replay": acts("webhook.replay", "delivery", by="admin_user"),
    "interop:held_results": shows("result.read"),
    "interop:held_result": shows("result.read", "held"),
    "interop:take_held": shows("result.decide", "held", method="post", body=_whose),
    "interop:dismiss_held": shows("result.decide", "held", method="post", body={"reason": "A control sample"}),
    "cds:discovery": plain("what the services are"),
    "cds:service": plain(
        "without its own JWT; tests/clinic/interop/test_cds_hooks.py", "marrow-patient-view", method="post"
    ),
    "cds:feedback": plain(
        "without its own JWT; tests/clinic/interop/test_cds_hooks.py", "marrow-patient-view", method="post"
    ),
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
