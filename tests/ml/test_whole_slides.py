"""Whole slides in DICOM, made here: which of their files are cells, which frames are read, and how little memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    VLWholeSlideMicroscopyImageStorage,
)

from ml.dicom import MAX_FRAMES, opened
from ml.dicom_pixels import by_pillow, by_pydicom, choose, contrast
from ml.findings import InputRejected
from ml.images import flags_of, read_image

SIDE, COUNT = 64, 3000
RNG = np.random.default_rng(5)
GLASS = np.full((SIDE, SIDE, 3), 240, dtype=np.uint8)
CELLS = np.asarray(
    Image.fromarray(RNG.integers(60, 240, (6, 6, 3)).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
)
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom" / "vl_wsi_tile_camelyon.dcm"


def jpeg(frame, kind="JPEG", **options):
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, format=kind, **options)
    return stream.getvalue()


def slide(count, syntax=JPEGBaseline8Bit, photometric="YBR_FULL_422", side=SIDE):
    """The header of one level of a slide."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID, ds.SOPInstanceUID = VLWholeSlideMicroscopyImageStorage, pydicom.uid.generate_uid()
    ds.Modality, ds.ImageType = "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.Rows = ds.Columns = side
    ds.NumberOfFrames, ds.SamplesPerPixel, ds.PhotometricInterpretation = count, 3, photometric
    ds.PlanarConfiguration, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 0, 8, 8, 7, 0
    return ds


def measured(ds, micrometres, power=None):
    measures, shared, path = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [micrometres / 1000] * 2
    shared.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    if power:
        path.ObjectiveLensPower = power
        ds.OpticalPathSequence = [path]
    return ds


def save(ds, folder, frames=(), table="extended"):
    if frames and table == "extended":
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(list(frames))
    elif frames:
        ds.PixelData = encapsulate(list(frames), has_bot=table == "basic")
    ds["PixelData"].VR = "OB"
    path = folder / "slide.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def rejection(path):
    with pytest.raises(InputRejected) as caught:
        list(read_image(path)[0])
    assert path.name in caught.value.place
    return caught.value


def few(folder, ds=None):
    return save(ds or slide(2), folder, [jpeg(CELLS)] * 2)


@pytest.mark.parametrize("table", ["extended", "basic", "none"])
def test_of_thousands_of_frames_those_with_cells_are_read_one_by_one(tmp_path, table):
    glass, cells = jpeg(GLASS), jpeg(CELLS)
    held = [cells if k % 20 == 0 or 1000 < k < 1400 else glass for k in range(COUNT)]
    path = save(slide(COUNT), tmp_path, held, table)
    tracemalloc.start()
    frames, summary = read_image(path)
    shown = [float(frame[..., 1].std()) for frame in frames]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 30 < summary["frames"] == len(shown) <= MAX_FRAMES
    assert min(shown) > 15
    assert [flag.code for flag in flags_of(summary)] == ["frames_chosen"]
    assert path.stat().st_size > 2_000_000
    assert peak < 1_500_000


def test_uncompressed_pixels_stay_in_the_file(tmp_path):
    """400 MB of pixels, nearly all of it a hole in the file."""
    side, count = 256, 2000
    path = tmp_path / "slide.dcm"
    ds = slide(count, ExplicitVRLittleEndian, "RGB", side)
    ds.PixelData = b"\0\0"
    ds["PixelData"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)
    size = count * side * side * 3
    at = path.stat().st_size - 2
    with path.open("r+b") as stream:
        stream.seek(at - 4)
        stream.write(struct.pack("<L", size))
        for k in range(0, count, 10):
            stream.seek(at + k * side * side * 3)
            stream.write(np.resize(CELLS, (side, side, 3)).tobytes())
        stream.truncate(at + size)
    tracemalloc.start()
    frames, summary = read_image(path)
    shown = [float(frame.std()) for frame in frames]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert summary["frames"] == len(shown) > 10
    assert min(shown) > 15
    assert peak < 3_000_000


def test_of_glass_alone_frames_are_chosen_evenly(tmp_path):
    pixels = opened(save(slide(200), tmp_path, [jpeg(GLASS)] * 200), "slide.dcm")
    chosen = choose(pixels)
    assert len(chosen) == MAX_FRAMES
    assert (chosen[0], chosen[-1]) == (0, 199)


@pytest.mark.parametrize(
    ("syntax", "photometric", "kind", "options"),
    [
        (JPEGBaseline8Bit, "YBR_FULL_422", "JPEG", {}),
        (JPEG2000Lossless, "YBR_RCT", "JPEG2000", {"no_jp2": True, "mct": 1}),
    ],
)
def test_a_glance_tells_cells_from_glass(tmp_path, syntax, photometric, kind, options):
    frames = [jpeg(frame, kind, **options) for frame in (GLASS, CELLS)]
    pixels = opened(save(slide(2, syntax, photometric), tmp_path, frames), "slide.dcm")
    assert contrast(pixels, 0) < 1
    assert contrast(pixels, 1) > 15


def test_a_glance_at_run_lengths(tmp_path):
    ds = slide(2, ExplicitVRLittleEndian, "RGB")
    ds.PixelData = np.stack([GLASS, CELLS]).tobytes()
    ds.compress(RLELossless)
    pixels = opened(save(ds, tmp_path), "slide.dcm")
    assert contrast(pixels, 0) < 1
    assert contrast(pixels, 1) > 15


@pytest.mark.parametrize(
    ("photometric", "kind", "options", "quick"),
    [
        ("YBR_FULL_422", "JPEG", {"subsampling": 1}, True),
        ("YBR_FULL_422", "JPEG", {"subsampling": 2}, True),
        ("YBR_FULL", "JPEG", {"subsampling": 0}, True),
        ("RGB", "JPEG", {}, True),
        ("RGB", "JPEG", {"keep_rgb": True}, False),
        ("YBR_RCT", "JPEG2000", {"irreversible": False, "no_jp2": True, "mct": 1}, True),
        ("YBR_ICT", "JPEG2000", {"irreversible": True, "no_jp2": True, "mct": 1}, True),
        ("RGB", "JPEG2000", {"irreversible": False, "no_jp2": True, "mct": 0}, True),
        ("YBR_FULL", "JPEG2000", {"irreversible": False, "no_jp2": True, "mct": 0}, False),
    ],
)
@pytest.mark.filterwarnings("ignore:The .0028,0004. 'Photometric Interpretation' value is 'RGB':UserWarning")
def test_the_quick_way_gives_the_pixels_of_the_slow_one(tmp_path, photometric, kind, options, quick):
    syntax = {"JPEG": JPEGBaseline8Bit, "JPEG2000": JPEG2000}[kind]
    coded = jpeg(CELLS, kind, **options)
    pixels = opened(save(slide(1, syntax, photometric), tmp_path, [coded]), "slide.dcm")
    got = by_pillow(pixels.frame(0), pixels.header)
    assert (got is not None) == quick
    if got is not None:
        slow = by_pydicom(pixels, encapsulate([coded]), 0)
        assert np.abs(got.astype(int) - slow).max() <= 2


@pytest.mark.parametrize("name", ["SC_rgb_dcmtk_+eb+cy+s2.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_small_odd_jpeg.dcm"])
def test_the_quick_way_on_files_of_other_makers(name):
    pixels = opened(Path(get_testdata_file(name)), name)
    got = by_pillow(pixels.frame(0), pixels.header)
    assert np.abs(got.astype(int) - by_pydicom(pixels, encapsulate([pixels.frame(0)]), 0)).max() <= 2


@pytest.mark.filterwarnings("ignore")
def test_a_file_without_the_vrs_that_its_syntax_promises_is_read():
    frames, summary = read_image(Path(get_testdata_file("SC_rgb_jpeg.dcm")))
    assert next(iter(frames)).shape == (summary["height"], summary["width"], 3)


@pytest.mark.parametrize("kind", ["LABEL", "OVERVIEW", "LOCALIZER", "THUMBNAIL"])
def test_what_shows_no_cells_is_refused(tmp_path, kind):
    ds = slide(2)
    ds.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
    said = rejection(few(tmp_path, ds))
    assert said.code == "wrong_level"
    assert "ImageType" in said.place
    assert "VOLUME" in said.remedy


@pytest.mark.parametrize(("micrometres", "power"), [(0.25, 40), (0.5, 20), (1.0, None)])
def test_the_scale_is_in_the_summary(tmp_path, micrometres, power):
    _, summary = read_image(few(tmp_path, measured(slide(2), micrometres, power)))
    assert summary["micrometres_per_pixel"] == pytest.approx(micrometres)
    assert summary.get("objective_power") == power


def test_without_spacing_the_size_of_the_slide_gives_the_scale(tmp_path):
    ds = slide(2)
    ds.ImagedVolumeWidth, ds.TotalPixelMatrixColumns = 10.0, 40_000
    assert read_image(few(tmp_path, ds))[1]["micrometres_per_pixel"] == pytest.approx(0.25)


def test_a_level_too_coarse_for_cells_is_refused(tmp_path):
    said = rejection(few(tmp_path, measured(slide(2), 8.0)))
    assert said.code == "too_coarse"
    assert "8 µm a pixel" in said.problem
    assert "highest resolution" in said.remedy


@pytest.mark.parametrize("spacing", [0, -1, "empty"])
def test_a_spacing_that_says_nothing_is_not_asked(tmp_path, spacing):
    ds = measured(slide(2), 1.0)
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = None if spacing == "empty" else [spacing, spacing]
    ds.PixelSpacing = [0.3, 0.3]  # of a screen
    assert "micrometres_per_pixel" not in read_image(few(tmp_path, ds))[1]


@pytest.mark.parametrize("table", ["extended", "basic", "none"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_slide_that_was_cut_off_is_refused(tmp_path, table, kept):
    path = save(slide(200), tmp_path, [jpeg(CELLS)] * 200, table)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    said = rejection(path)
    assert said.code == "damaged"
    assert "frame" in said.place


@pytest.mark.parametrize("lie", [2**40, 2**63, 7])
@pytest.mark.parametrize("which", ["ExtendedOffsetTable", "ExtendedOffsetTableLengths"])
def test_a_table_that_lies_is_refused(tmp_path, which, lie):
    ds = slide(3)
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended([jpeg(CELLS)] * 3)
    setattr(ds, which, struct.pack("<3Q", 0, lie, lie))
    assert rejection(save(ds, tmp_path)).code == "damaged"


def test_a_table_shorter_than_the_frames_is_refused(tmp_path):
    ds = slide(3)
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended([jpeg(CELLS)] * 3)
    ds.ExtendedOffsetTable = ds.ExtendedOffsetTable[:8]
    assert rejection(save(ds, tmp_path)).code == "damaged"


@pytest.mark.skipif(not REAL.is_file(), reason="the real slide is not on this machine")
def test_a_real_slide(tmp_path):
    """Its level is of 29 µm a pixel: decoded as pydicom decodes it, and no cells."""
    pixels = opened(REAL, REAL.name)
    for index in range(pixels.count):
        frame = pixels.frame(index)
        slow = by_pydicom(pixels, encapsulate([frame]), 0)
        assert np.abs(by_pillow(frame, pixels.header).astype(int) - slow).max() <= 2
    assert rejection(REAL).code == "too_coarse"
