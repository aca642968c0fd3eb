"""DICOM files, made here: what is read, and which lies about the pixels are noticed before they are decoded."""

from __future__ import annotations

import io
import struct

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import set_pixel_data
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    VLMicroscopicImageStorage,
)

from ml.dicom import MAX_FRAMES
from ml.findings import InputRejected
from ml.images import canonicalise, load_canonical

RNG = np.random.default_rng(3)
SMOOTH = np.asarray(
    Image.fromarray(RNG.integers(0, 255, (8, 8, 3)).astype(np.uint8)).resize((80, 64), Image.Resampling.BICUBIC)
)


def dataset(frames, photometric="RGB", bits=8):
    """An uncompressed microscopic image; ``frames`` (n, h, w[, 3])."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = VLMicroscopicImageStorage, pydicom.uid.generate_uid(), "SM"
    set_pixel_data(ds, frames if len(frames) > 1 else frames[0], photometric, bits)
    return ds


def compressed(ds, syntax, pictures):
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate(pictures)
    ds["PixelData"].VR = "OB"
    return ds


def picture(frame, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, format=kind, **options)
    return stream.getvalue()


def save(ds, folder, name="field.dcm"):
    path = folder / name
    ds.save_as(path, enforce_file_format=True)
    return path


def read(ds, folder):
    summary = canonicalise(save(ds, folder), folder / "out")
    return load_canonical(folder / "out"), summary


def rejection(path):
    with pytest.raises(InputRejected) as caught:
        canonicalise(path, path.parent / "out")
    assert path.name in caught.value.place
    return caught.value


def test_uncompressed_colour_keeps_every_pixel(tmp_path):
    (frame,), summary = read(dataset(SMOOTH[None]), tmp_path)
    assert np.array_equal(frame, SMOOTH)
    assert (summary["format"], summary["width"], summary["height"]) == ("DICOM", 80, 64)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_jpeg_baseline_comes_back_in_rgb(tmp_path, photometric):
    ds = dataset(SMOOTH[None])
    jpeg = picture(SMOOTH, "JPEG", quality=95, subsampling=1 if photometric.endswith("422") else 0)
    ds.PhotometricInterpretation = photometric
    (frame,), _ = read(compressed(ds, JPEGBaseline8Bit, [jpeg]), tmp_path)
    assert np.abs(frame.astype(int) - SMOOTH).mean() < 6


def test_jpeg_2000_lossless_keeps_every_pixel(tmp_path):
    ds = dataset(SMOOTH[None])
    ds.PhotometricInterpretation = "YBR_RCT"
    jpeg = picture(SMOOTH, "JPEG2000", irreversible=False, no_jp2=True, mct=1)
    (frame,), _ = read(compressed(ds, JPEG2000Lossless, [jpeg]), tmp_path)
    assert np.array_equal(frame, SMOOTH)


def test_rle_and_several_frames(tmp_path):
    frames = np.stack([SMOOTH, 255 - SMOOTH, SMOOTH[::-1]])
    ds = dataset(frames)
    ds.compress(RLELossless)
    read_frames, summary = read(ds, tmp_path)
    assert np.array_equal(np.stack(read_frames), frames)
    assert summary["frames"] == 3


@pytest.mark.parametrize(("photometric", "inverted"), [("MONOCHROME1", True), ("MONOCHROME2", False)])
def test_grey_is_flagged_and_monochrome1_inverted(tmp_path, photometric, inverted):
    grey = SMOOTH[..., 0]
    (frame,), summary = read(dataset(grey[None], photometric), tmp_path)
    assert np.array_equal(frame[..., 1], 255 - grey if inverted else grey)
    assert summary["flags"] == ["grey"]


def test_twelve_bits_are_scaled_by_bits_stored(tmp_path):
    deep = (SMOOTH[..., 0].astype(np.uint16) * 16)[None]
    (frame,), summary = read(dataset(deep, "MONOCHROME2", 12), tmp_path)
    assert np.abs(frame[..., 0].astype(int) - SMOOTH[..., 0]).max() <= 1
    assert "reduced_depth" in summary["flags"]


def test_many_frames_are_chosen_evenly_and_flagged(tmp_path):
    frames = np.arange(200, dtype=np.uint8)[:, None, None].repeat(50, 1).repeat(50, 2)
    read_frames, summary = read(dataset(frames, "MONOCHROME2"), tmp_path)
    values = [int(frame[0, 0, 0]) for frame in read_frames]
    assert len(values) == MAX_FRAMES
    assert (values[0], values[-1]) == (0, 199)
    assert set(np.diff(values)) <= {3, 4}
    assert "frames_chosen" in summary["flags"]


@pytest.mark.parametrize(
    ("tag", "value", "code"),
    [
        ("Rows", 4000, "damaged"),
        ("Columns", 79, "damaged"),
        ("NumberOfFrames", 5, "damaged"),
        ("Rows", 60_000, "too_many_pixels"),
        ("Columns", 8, "too_small"),
        ("SamplesPerPixel", 2, "wrong_tag"),
        ("BitsAllocated", 32, "wrong_tag"),
        ("BitsStored", 17, "wrong_tag"),
        ("PhotometricInterpretation", "HSV", "wrong_tag"),
        ("PixelRepresentation", 1, "wrong_tag"),
        ("Modality", "CT", "wrong_modality"),
        ("Rows", 0, "wrong_tag"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path, tag, value, code):
    ds = dataset(SMOOTH[None])
    if tag in {"Rows", "Columns"} and value > 50_000:
        ds.Columns = value
    setattr(ds, tag, value)
    said = rejection(save(ds, tmp_path))
    assert said.code == code
    if code != "damaged":
        assert tag in said.place


@pytest.mark.parametrize("tag", ["Rows", "Columns", "PhotometricInterpretation", "BitsAllocated", "PixelData"])
def test_a_missing_tag_is_named(tmp_path, tag):
    ds = dataset(SMOOTH[None])
    del ds[tag]
    said = rejection(save(ds, tmp_path))
    assert said.code == "missing_tag"
    assert tag in said.place


def test_a_pixel_length_that_lies_is_refused(tmp_path):
    path = save(dataset(SMOOTH[None]), tmp_path)
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00OB\0\0") + 8
    path.write_bytes(content[:at] + struct.pack("<I", 2**31) + content[at + 4 :])
    said = rejection(path)
    assert said.code == "damaged"
    assert "2,147,483,648" in said.problem


@pytest.mark.parametrize("kept", [100, 140, 300, 600, 2000, 15_000])
def test_a_cut_off_file_is_refused(tmp_path, kept):
    path = save(dataset(SMOOTH[None]), tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert rejection(path).code in {"damaged", "missing_tag", "unsupported_type"}


def test_a_fragment_that_ends_early_is_refused(tmp_path):
    ds = dataset(SMOOTH[None])
    ds.PhotometricInterpretation = "YBR_FULL"
    jpeg = picture(SMOOTH, "JPEG")
    said = rejection(save(compressed(ds, JPEGBaseline8Bit, [jpeg[: len(jpeg) // 2]]), tmp_path))
    assert said.code == "damaged"
    assert "frame 1" in said.place


def test_fewer_fragments_than_frames_are_refused(tmp_path):
    ds = dataset(np.stack([SMOOTH, SMOOTH]))
    ds.PhotometricInterpretation = "YBR_FULL"
    assert rejection(save(compressed(ds, JPEGBaseline8Bit, [picture(SMOOTH, "JPEG")]), tmp_path)).code == "damaged"


def test_a_picture_larger_than_its_header_says_is_refused_undecoded(tmp_path):
    ds = dataset(SMOOTH[None])
    ds.PhotometricInterpretation = "YBR_FULL"
    large = picture(np.zeros((3000, 3000, 3), dtype=np.uint8), "JPEG")
    said = rejection(save(compressed(ds, JPEGBaseline8Bit, [large]), tmp_path))
    assert said.code == "damaged"
    assert "3000 × 3000" in said.problem


def test_a_deflated_file_is_refused_before_it_unfolds(tmp_path):
    ds = dataset(np.zeros((1, 2000, 2000, 3), dtype=np.uint8))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    said = rejection(save(ds, tmp_path))
    assert said.code == "unsupported_type"
    assert "Deflated" in said.problem
