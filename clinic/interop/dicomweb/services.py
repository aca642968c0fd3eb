"""STOW-RS: each instance becomes an item of a case, by the same service as any file, or fails with DICOM's reason."""

import hashlib
import tempfile
from dataclasses import dataclass, fields

from django.db import IntegrityError, transaction

from clinic.accounts.access import require
from clinic.cases.models import Case, ItemKind, ItemStatus, StudyItem
from clinic.cases.services import open_case, receive_item
from clinic.cases.visibility import cases_visible_to, patients_visible_to
from clinic.errors import MarrowError, TooLarge
from clinic.interop.dicomweb import parts
from clinic.interop.dicomweb.models import DicomInstance, DicomStudy
from clinic.interop.dicomweb.reading import NotDicom, read_header

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.77.1.2": "VL Microscopic Image Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.3": "VL Slide-Coordinates Microscopic Image Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.6": "VL Whole Slide Microscopy Image Storage",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image Storage",
}
# PS3.4 and PS3.18: why an instance was not stored
PROCESSING, DUPLICATE, NO_SUCH_CLASS, NOT_AUTHORISED = 0x0110, 0x0111, 0x0122, 0x0124
NOT_OF_THE_ROW = {"study_uid", "patient_id", "tags"}
TOO_LARGE, OTHER_DATA, NOT_UNDERSTOOD = 0xA700, 0xA900, 0xC000


@dataclass(frozen=True)
class Stored:
    """What became of one instance: ``failure`` is 0 where it was stored."""

    sop_class: str
    sop_uid: str
    study_uid: str = ""
    series_uid: str = ""
    failure: int = 0


class Refused(Exception):
    def __init__(self, failure):
        super().__init__(hex(failure))
        self.failure = failure


def store(*, data, found, by, study_uid=None):
    """Take the parts of a request. ``study_uid``: the only study that they may be of. Returns a Stored for each."""
    require(by, "item.upload")
    return [_store_one(data, part, by, study_uid) for part in found]


def _store_one(data, part, by, study_uid):
    media_type, start, end = part
    if media_type not in {"application/dicom", ""}:
        return Stored("", "", failure=NOT_UNDERSTOOD)
    try:
        header, sha256 = _header(data, start, end)
    except NotDicom as fault:
        return Stored(fault.sop_class, fault.sop_uid, failure=NOT_UNDERSTOOD)
    said = (header.sop_class, header.sop_uid, header.study_uid, header.series_uid)
    try:
        if study_uid and header.study_uid != study_uid:
            raise Refused(OTHER_DATA)
        _keep(header, sha256, lambda: parts.blocks(data, start, end), by)
    except Refused as refused:
        return Stored(*said, failure=refused.failure)
    except TooLarge:
        return Stored(*said, failure=TOO_LARGE)
    except MarrowError:
        return Stored(*said, failure=PROCESSING)
    return Stored(*said)


def _header(data, start, end):
    """(the header, the SHA-256 of the whole)."""
    sha256 = hashlib.sha256()
    with tempfile.NamedTemporaryFile() as file:
        for block in parts.blocks(data, start, end):
            file.write(block)
            sha256.update(block)
        file.flush()
        return read_header(file.name), sha256.hexdigest()


def _keep(header, sha256, content, by):
    if header.sop_class not in SOP_CLASSES:
        raise Refused(NO_SUCH_CLASS)
    patients = list(patients_visible_to(by).filter(mrn=header.patient_id)[:2])
    if len(patients) != 1:
        raise Refused(NOT_AUTHORISED)  # unknown, another site's, or not one alone: the same answer
    try:
        with transaction.atomic():
            study = _study(header, patients[0], by)
            before = study.instances.filter(sop_uid=header.sop_uid).values_list("item__sha256", flat=True).first()
            if before not in (None, sha256):
                raise Refused(DUPLICATE)
            if before is None:
                _instance(study, _item(study.case, header, content, by, sha256), header)
    except IntegrityError:
        raise Refused(PROCESSING) from None  # the same study or instance on another connection


def _study(header, patient, by):
    study = DicomStudy.objects.filter(site=patient.site, uid=header.study_uid).select_related("case__patient").first()
    if study is None:
        case = Case.objects.filter(patient=patient).order_by("-created_at", "-pk").first()
        case = case or open_case(patient=patient, title="Images received by DICOMweb", by=by)
        return DicomStudy.objects.create(site=patient.site, case=case, uid=header.study_uid)
    if study.case.patient_id != patient.pk:
        raise Refused(OTHER_DATA)
    return study


def _item(case, header, content, by, sha256):
    """The case's item with these bytes: a new one, or the one that came by another way."""
    same = StudyItem.objects.filter(case=case, kind=ItemKind.SMEAR_FIELD, sha256=sha256, dicom__isnull=True)
    if there := same.exclude(status=ItemStatus.REJECTED).first():
        return there
    return receive_item(case=case, file=content(), filename=f"{header.sop_uid}.dcm", kind=ItemKind.SMEAR_FIELD, by=by)


def _instance(study, item, header):
    said = {one.name: getattr(header, one.name) for one in fields(header) if one.name not in NOT_OF_THE_ROW}
    DicomInstance.objects.create(study=study, item=item, header=header.tags, **said)


def instances_visible_to(user):
    rows = DicomInstance.objects.filter(study__case__in=cases_visible_to(user))
    return rows.select_related("study__case__patient__site", "item")


def studies_visible_to(user):
    return DicomStudy.objects.filter(case__in=cases_visible_to(user)).select_related("case__patient__site")
