"""The header of a DICOM file, read with care: what it says is a stranger's, and its pixels are not looked at here.

(They are read later, by the same capped child process as every other item.)
"""

import json
import math
import re
import warnings
from dataclasses import dataclass

from pydicom import config, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

KEPT = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDate", "SeriesDate", "ContentDate",
    "StudyTime", "SeriesTime", "ContentTime", "AcquisitionDateTime", "TimezoneOffsetFromUTC", "AccessionNumber",
    "Modality", "Manufacturer", "ManufacturerModelName", "InstitutionName", "ReferringPhysicianName",
    "StudyDescription", "SeriesDescription", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "SeriesInstanceUID", "StudyID", "SeriesNumber", "InstanceNumber", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "ContainerIdentifier", "ContainerTypeCodeSequence", "SpecimenDescriptionSequence",
    "AnatomicRegionSequence", "PrimaryAnatomicStructureSequence", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns", "PixelSpacing", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod", "VolumetricProperties", "SpecimenLabelInImage", "FocusMethod",
    "ExtendedDepthOfField", "ImagedVolumeWidth", "ImagedVolumeHeight", "ImagedVolumeDepth", "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows", "TotalPixelMatrixFocalPlanes", "TotalPixelMatrixOriginSequence", "ImageOrientationSlide",
    "ImageCenterPointCoordinatesSequence", "NumberOfOpticalPaths", "OpticalPathSequence", "DimensionOrganizationType",
    "DimensionOrganizationSequence", "DimensionIndexSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
LARGEST_ELEMENT = 256 * 1024  # of JSON; the places of a slide's thousands of frames are left to the file itself
UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
LONGEST_VALUE = 1024

config.settings.reading_validation_mode = config.IGNORE  # as the reader does: judged below, where it matters


class NotDicom(Exception):
    """The file cannot be understood. Holds what of its identity could be read."""

    def __init__(self, sop_class="", sop_uid=""):
        super().__init__("not understood")
        self.sop_class, self.sop_uid = sop_class, sop_uid


@dataclass(frozen=True)
class Header:
    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    patient_id: str
    modality: str
    study_date: str
    accession: str
    referring: str
    study_time: str
    study_number: str
    series_number: str
    instance_number: str
    tags: dict


def read_header(path):
    """The header of the file at ``path``. Raises NotDicom."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(path)
        except NotDicom:
            raise
        except Exception as fault:  # pydicom raises whatever its parsers meet; here, all of it is the file's
            raise NotDicom from fault


def _read(path):
    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax is None or syntax == DeflatedExplicitVRLittleEndian:  # a deflated one could unfold without bound
        raise NotDicom
    said = dcmread(path, stop_before_pixels=True, specific_tags=list(KEPT))
    uids = [
        str(said.get(name, "")) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    ]
    if not all(UID.fullmatch(uid) for uid in uids):
        raise NotDicom(uids[3][:64], uids[2][:64])
    return Header(
        *uids,
        patient_id=_text(said, "PatientID", 64),
        modality=_text(said, "Modality", 16),
        study_date=_text(said, "StudyDate", 8),
        accession=_text(said, "AccessionNumber", 64),
        referring=_text(said, "ReferringPhysicianName", 64),
        study_time=_text(said, "StudyTime", 16),
        study_number=_text(said, "StudyID", 16),
        series_number=_text(said, "SeriesNumber", 12),
        instance_number=_text(said, "InstanceNumber", 12),
        tags=_as_json(said, syntax),
    )


def _text(said, name, longest):
    return str(said.get(name, "") or "").replace("\0", "").strip()[:longest]


def _as_json(said, syntax):
    """DICOM JSON of what is kept; an element that cannot be told is left out, a zero byte never told."""
    tags = {}
    for element in said:
        try:
            one = _without_bulk(element.to_json_dict(lambda _: "", LONGEST_VALUE))
            if one is not None and len(json.dumps(one)) <= LARGEST_ELEMENT:
                tags[f"{element.tag:08X}"] = one
        except Exception:  # noqa: BLE001, S112 (as above; without it the instance is still itself)
            continue
    tags["00083002"] = {"vr": "UI", "Value": [str(syntax)]}
    return _clean(tags)


def _without_bulk(one):
    """An element without binary values, in its items neither (a slide's colour profile); None for one that is such."""
    if "BulkDataURI" in one or "InlineBinary" in one:
        return None
    if one["vr"] != "SQ":
        return one
    items = [{tag: _without_bulk(inner) for tag, inner in item.items()} for item in one.get("Value", [])]
    return one | {"Value": [{tag: inner for tag, inner in item.items() if inner is not None} for item in items]}


def _clean(value):
    if isinstance(value, dict):
        return {name: _clean(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()[:LONGEST_VALUE]
    return None if isinstance(value, float) and not math.isfinite(value) else value
