"""DICOM files as a microscope sends them. Synthetic: the pixels are noise."""

import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

VL, SLIDE, WHOLE, SC, CT = (
    "1.2.840.10008.5.1.4.1.1.77.1.2",
    "1.2.840.10008.5.1.4.1.1.77.1.3",
    "1.2.840.10008.5.1.4.1.1.77.1.6",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.2",
)
STUDY = "1.2.826.0.1.3680043.8.498.1"


def dicom(number=1, *, sop_class=VL, mrn="M1", study=STUDY, side=64, seed=None, frames=1, jpeg=False, **tags):
    """``jpeg``: JPEG baseline, a fragment a frame. ``tags``: further attributes by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, f"{study}.1.{number}"
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    said = FileDataset("made.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    said.SOPClassUID, said.SOPInstanceUID = sop_class, f"{study}.1.{number}"
    said.StudyInstanceUID, said.SeriesInstanceUID = study, f"{study}.1"
    said.PatientID, said.PatientName = mrn, "Synthetic^Fay"
    said.StudyDate, said.Modality, said.InstanceNumber, said.AccessionNumber = "20260302", "SM", number, "A-1"
    said.StudyTime, said.StudyID, said.SeriesNumber, said.ReferringPhysicianName = "081530", "S-1", 7, "House^Gregory"
    said.Rows = said.Columns = side
    said.SamplesPerPixel, said.PlanarConfiguration = 3, 0
    said.PhotometricInterpretation = "YBR_FULL_422" if jpeg else "RGB"
    said.BitsAllocated, said.BitsStored, said.HighBit, said.PixelRepresentation = 8, 8, 7, 0
    pixels = noise(number if seed is None else seed, frames, side)
    if frames > 1:
        said.NumberOfFrames = frames
    said.PixelData = encapsulate([as_jpeg(one) for one in pixels]) if jpeg else pixels.tobytes()
    for name, value in tags.items():
        setattr(said, name, value)
    file = io.BytesIO()
    said.save_as(file, enforce_file_format=True)
    return file.getvalue()


def noise(seed, frames, side):
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)


def as_jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def item_of(**said):
    """A dataset of a sequence."""
    one = Dataset()
    for name, value in said.items():
        setattr(one, name, value)
    return one


def slide(number=1, *, frames=4, side=64, **said):
    """A level of a whole slide: tiles, their optical path with a colour profile, and the scale."""
    measures = item_of(PixelMeasuresSequence=[item_of(PixelSpacing=[0.00025, 0.00025], SliceThickness=0.001)])
    path = item_of(OpticalPathIdentifier="1", ObjectiveLensPower=40, ICCProfile=b"\1\2" * 2000)
    return dicom(
        number,
        sop_class=WHOLE,
        frames=frames,
        side=side,
        ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        DimensionOrganizationType="TILED_FULL",
        TotalPixelMatrixColumns=side * 2,
        TotalPixelMatrixRows=side * (frames // 2),
        ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        SharedFunctionalGroupsSequence=[measures],
        OpticalPathSequence=[path],
        **said,
    )


def multipart(*files, media_type="application/dicom", boundary="XYZ"):
    parts = b"".join(f"--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode() + file + b"\r\n" for file in files)
    return parts + f"--{boundary}--\r\n".encode(), f'multipart/related; type="{media_type}"; boundary={boundary}'
