"""ImagingStudy: what came by DICOMweb, with the addresses under which it is kept."""

from datetime import date

from django.db.models import Q

from clinic.audit.models import Action
from clinic.interop.dicomweb.models import DicomInstance
from clinic.interop.dicomweb.services import SOP_CLASSES, studies_visible_to
from clinic.interop.fhir.search import EVERY, Source, by_date, by_reference, token
from clinic.interop.fhir.structure import coding, instant, of_patient

DCM = "http://dicom.nema.org/resources/ontology/DCM"
URI = "urn:ietf:rfc:3986"
OF_PATIENT = by_reference("Patient", "case__patient")


def study_resource(study):
    by_series = {}
    for one in study.instances.all():
        by_series.setdefault(one.series_uid, []).append(one)
    modalities = sorted({one.modality for one in study.instances.all() if one.modality})
    more = {"modality": [coding(DCM, code) for code in modalities]} if modalities else {}
    if started := next(filter(None, map(_day, study.instances.all())), None):
        more["started"] = started
    return {
        "resourceType": "ImagingStudy",
        "id": str(study.pk),
        "meta": {"lastUpdated": instant(study.received_at)},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study.uid}"}],
        "status": "available",
        "subject": of_patient(study.case.patient),
        "numberOfSeries": len(by_series),
        "numberOfInstances": sum(map(len, by_series.values())),
        "series": [_series(uid, instances) for uid, instances in by_series.items()],
        **more,
    }


def _day(instance):
    """The study's day as FHIR writes one; None where the file names none."""
    text = instance.study_date
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat() if len(text) == 8 else None
    except ValueError:
        return None


def _series(uid, instances):
    return {
        "uid": uid,
        "modality": coding(DCM, instances[0].modality or "OT"),
        "numberOfInstances": len(instances),
        "instance": [
            {"uid": one.sop_uid, "sopClass": coding(URI, f"urn:oid:{one.sop_class}", SOP_CLASSES[one.sop_class])}
            for one in instances
        ],
    }


def _with(*said, **fields):
    return DicomInstance.objects.filter(*said, **fields).values("study")


DAYS = by_date("study_date", whole_days=True, written="%Y%m%d")  # as DICOM writes them


def _started(text):
    """By the study's day."""
    return Q(pk__in=_with(DAYS(text)).exclude(study_date=""))


STUDIES = Source(
    rows=lambda user: studies_visible_to(user).prefetch_related("instances"),
    resource=study_resource,
    at="received_at",
    recorded_as=Action.ITEM_READ,
    filters={
        "patient": OF_PATIENT,
        "subject": OF_PATIENT,
        "status": lambda text: EVERY if token(text)[1] == "available" else None,
        "modality": lambda text: Q(pk__in=_with(modality=token(text)[1])),
        "started": _started,
        "identifier": lambda text: Q(uid=text.rpartition("|")[2].removeprefix("urn:oid:")),
        "_lastUpdated": by_date("received_at"),
    },
)
