import json

import pytest
from django.utils import timezone

from clinic.interop.dicomweb.models import DicomInstance, DicomStudy
from clinic.interop.results.models import HeldResult
from clinic.interop.webhooks.models import Delivery, OutboxEvent, Webhook
from tests.clinic.interop.dicom import dicom
from tests.factories import ItemFactory, UserFactory
from tests.portal_cases import keep_frame

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


def observation(code, value, unit, *, subject, identifier=None, status="final", at="2026-03-02T08:00:00Z"):
    said = {
        "resourceType": "Observation",
        "status": status,
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": subject,
        "effectiveDateTime": at,
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }
    return said | ({"identifier": [{"system": "urn:lis", "value": identifier}]} if identifier else {})


def person(mrn="P-1", **said):
    base = {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:marrow:site:home:mrn", "value": mrn}],
        "name": [{"family": "Synthetic", "given": ["Fay"]}],
        "gender": "female",
        "birthDate": "1980-04-01",
    }
    return base | said


def delivery(site, *, status="dead", url="https://lis.example/hook"):
    """A dead letter: an event that a webhook of ``site`` did not take."""
    webhook = Webhook.objects.create(site=site, url=url, events=["report.signed"], created_by=UserFactory())
    event = OutboxEvent.objects.create(site=site, type="report.signed", body={"case": "1"})
    return Delivery.objects.create(webhook=webhook, event=event, status=status, due_at=timezone.now(), attempts=0)


def stored_instance(item, number=1):
    """``item`` as it would have come by DICOMweb."""
    patient = item.case.patient
    study, _ = DicomStudy.objects.get_or_create(site=patient.site, uid="1.2.3", defaults={"case": item.case})
    header = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": patient.name}]}}
    uids = {"series_uid": "1.2.3.1", "sop_uid": f"1.2.3.1.{number}", "sop_class": "1.2.840.10008.5.1.4.1.1.77.1.2"}
    return DicomInstance.objects.create(study=study, item=item, modality="SM", header=header, **uids)


def microscope_image(case, picture):
    """A DICOM image of ``case`` that the reader has read, with its frame."""
    item = ItemFactory(case=case, kind="smear_field", filename="field.dcm", content=dicom(77))
    keep_frame(item, picture)
    stored_instance(item, 2)
    return item


def instance_uids(item):
    """The UIDs of study, series and instance."""
    one = getattr(item, "dicom", None) or stored_instance(item)
    return [one.study.uid, one.series_uid, one.sop_uid]


def held(site, *, name="Nobody"):
    """A result that waits for a person: a local code, of a patient whom nobody knows."""
    said = {
        "identifier": "LAB|1",
        "loinc": "",
        "local_code": "99LAB|LEUK",
        "text": "Leukos",
        "number": 48.0,
        "said_value": "48",
        "unit": "10*9/L",
        "taken_at": "2026-03-02T08:00:00+00:00",
        "status": "final",
        "patient": {"name": name},
    }
    return HeldResult.objects.create(
        site=site,
        source="hl7",
        reason="unknown_code",
        problem="The code is not LOINC.",
        local_code="99LAB|LEUK",
        said=said,
        received_by=UserFactory(),
    )


@pytest.fixture
def fhir(api):
    """``fhir(user).get("Patient")``: a client of /fhir that sends and reads FHIR."""

    def of(user=None):
        client = api(user)

        class Fhir:
            def get(self, path, **said):
                return client.get(f"/fhir/{path}", **said)

            def post(self, path, body, **said):
                return client.post(f"/fhir/{path}", json.dumps(body), content_type="application/fhir+json", **said)

        return Fhir()

    return of
