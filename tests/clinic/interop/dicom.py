"""DICOM files as a microscope sends them. Synthetic: the pixels are noise."""

import io

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

VL, SLIDE, WHOLE, SC, CT = (
    "1.2.840.10008.5.1.4.1.1.77.1.2",
    "1.2.840.10008.5.1.4.1.1.77.1.3",
    "1.2.840.10008.5.1.4.1.1.77.1.6",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.2",
)
STUDY = "1.2.826.0.1.3680043.8.498.1"


def dicom(number=1, *, sop_class=VL, mrn="M1", study=STUDY, side=64, seed=None):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, f"{study}.1.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    said = FileDataset("made.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    said.SOPClassUID, said.SOPInstanceUID = sop_class, f"{study}.1.{number}"
    said.StudyInstanceUID, said.SeriesInstanceUID = study, f"{study}.1"
    said.PatientID, said.PatientName = mrn, "Synthetic^Fay"
    said.StudyDate, said.Modality, said.InstanceNumber, said.AccessionNumber = "20260302", "SM", number, "A-1"
    said.Rows = said.Columns = side
    said.SamplesPerPixel, said.PhotometricInterpretation, said.PlanarConfiguration = 3, "RGB", 0
    said.BitsAllocated, said.BitsStored, said.HighBit, said.PixelRepresentation = 8, 8, 7, 0
    noise = np.random.default_rng(number if seed is None else seed)
    said.PixelData = noise.integers(0, 256, (side, side, 3), dtype=np.uint8).tobytes()
    file = io.BytesIO()
    said.save_as(file, enforce_file_format=True)
    return file.getvalue()


def multipart(*files, media_type="application/dicom", boundary="XYZ"):
    parts = b"".join(f"--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode() + file + b"\r\n" for file in files)
    return parts + f"--{boundary}--\r\n".encode(), f'multipart/related; type="{media_type}"; boundary={boundary}'
