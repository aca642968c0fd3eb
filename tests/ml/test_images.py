"""Image files as laboratories send them, sound and unsound; none of them is a patient's."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from ml.findings import InputRejected
from ml.images import FLAGS, MAX_PIXELS, canonicalise, flags_of, load_canonical, read_image, to_eight_bits

RNG = np.random.default_rng(7)
COLOURS = RNG.integers(0, 255, (60, 80, 3)).astype(np.uint8)


def write(folder, name, image, **options):
    path = folder / name
    image.save(path, **options)
    return path


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 4096)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def rejection(path):
    with pytest.raises(InputRejected) as caught:
        list(read_image(path)[0])
    said = caught.value
    assert path.name in said.place
    assert said.problem.endswith(".")
    assert said.remedy.endswith(".")
    return said


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_keep_every_pixel(tmp_path, kind):
    source = write(tmp_path, "field.bin", Image.fromarray(COLOURS), format=kind)
    summary = canonicalise(source, tmp_path / "out")
    (frame,) = load_canonical(tmp_path / "out")
    assert np.array_equal(frame, COLOURS)
    assert (summary["format"], summary["width"], summary["height"], summary["frames"]) == (kind, 80, 60, 1)
    assert summary["flags"] == []


def test_jpeg_is_known_by_its_content_not_its_name(tmp_path):
    smooth = np.asarray(Image.fromarray(COLOURS[:6, :8]).resize((80, 60), Image.Resampling.BICUBIC))
    source = write(tmp_path, "field.png", Image.fromarray(smooth), format="JPEG", quality=95)
    summary = canonicalise(source, tmp_path / "out")
    assert summary["format"] == "JPEG"
    assert np.abs(load_canonical(tmp_path / "out")[0].astype(int) - smooth).mean() < 5


def test_a_gigantic_png_is_refused_from_its_header(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(png_claiming(50_000, 50_000))
    start = time.perf_counter()
    said = rejection(path)
    assert said.code == "too_many_pixels"
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(("width", "height"), [(MAX_PIXELS // 5000, 5001), (12_000, 12_000), (1, 2_000_000_000)])
def test_too_many_pixels_at_every_size(tmp_path, width, height):
    path = tmp_path / "large.png"
    path.write_bytes(png_claiming(width, height))
    assert rejection(path).code == "too_many_pixels"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"patient,wbc\n1,2\n" * 20, "unsupported_type"),
        (bytes(RNG.integers(0, 255, 5000, dtype=np.uint8)), "unsupported_type"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff\xe0", "damaged"),
        (b"BM" + b"\0" * 60, "damaged"),
        (png_claiming(300, 300), "damaged"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, code):
    path = tmp_path / "field.png"
    path.write_bytes(content)
    assert rejection(path).code == code


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_a_cut_off_file_is_refused(tmp_path, kind, kept):
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, (200, 200, 3)).astype(np.uint8)).save(stream, format=kind)
    path = tmp_path / "cut"
    path.write_bytes(stream.getvalue()[: int(kept * len(stream.getvalue()))])
    assert rejection(path).code == "damaged"


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_other_image_formats_are_named_in_the_refusal(tmp_path, kind):
    said = rejection(write(tmp_path, "field.png", Image.fromarray(COLOURS), format=kind))
    assert said.code == "unsupported_type"
    assert kind in said.problem


def test_a_thumbnail_is_refused(tmp_path):
    said = rejection(write(tmp_path, "small.png", Image.fromarray(COLOURS[:20])))
    assert said.code == "too_small"
    assert "80 × 20" in said.problem


def test_floating_point_pixels_are_refused(tmp_path):
    floats = Image.fromarray(np.ones((60, 60), dtype=np.float32))
    assert rejection(write(tmp_path, "f.tif", floats)).code == "unsupported_type"


def read_one(path):
    frames, summary = read_image(path)
    (frame,) = frames
    return frame, summary


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path, "turned.png", Image.fromarray(COLOURS), exif=exif)
    frame, summary = read_one(path)
    assert np.array_equal(frame, np.rot90(COLOURS, -1))
    assert summary["flags"] == ["rotated"]
    assert (summary["width"], summary["height"]) == (60, 80)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.dstack([COLOURS, np.where(np.arange(80) < 40, 0, 255)[None].repeat(60, 0)]).astype(np.uint8)
    frame, summary = read_one(write(tmp_path, "alpha.png", Image.fromarray(rgba)))
    assert (frame[:, :40] == 255).all()
    assert np.array_equal(frame[:, 40:], COLOURS[:, 40:])
    assert summary["flags"] == ["flattened"]


def test_sixteen_bit_grey_is_scaled_and_flagged(tmp_path):
    ramp = np.linspace(0, 65535, 60 * 80).reshape(60, 80).astype(np.uint16)
    frame, summary = read_one(write(tmp_path, "grey16.png", Image.fromarray(ramp)))
    assert np.abs(frame[..., 0].astype(int) - ramp / 257).max() <= 1
    assert set(summary["flags"]) == {"reduced_depth", "grey"}


def test_twelve_bits_in_sixteen_are_recognised():
    assert to_eight_bits(np.array([[0, 2048, 4095]], dtype=np.uint16)).tolist() == [[0, 128, 255]]
    assert to_eight_bits(np.array([[0, 1023]], dtype=np.uint16), bits=12).tolist() == [[0, 64]]


@pytest.mark.parametrize(
    ("mode", "flags"), [("L", ["grey"]), ("1", ["grey"]), ("CMYK", ["cmyk"]), ("P", []), ("YCbCr", [])]
)
def test_every_mode_becomes_rgb(tmp_path, mode, flags):
    smooth = Image.fromarray(COLOURS[:6, :8]).resize((80, 60), Image.Resampling.BICUBIC)
    kind = "JPEG" if mode == "YCbCr" else "TIFF"
    frame, summary = read_one(write(tmp_path, "field", smooth.convert(mode), format=kind))
    assert (frame.shape, frame.dtype) == ((60, 80, 3), np.uint8)
    assert summary["flags"] == flags


def test_of_several_pages_the_first_is_read_and_the_rest_flagged(tmp_path):
    pages = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    path = write(tmp_path, "pages.tif", pages[0], save_all=True, append_images=pages[1:])
    frame, summary = read_one(path)
    assert np.array_equal(frame, COLOURS)
    assert summary["flags"] == ["further_pages"]
    assert flags_of(summary)[0].message == FLAGS["further_pages"]


def test_the_summary_names_the_bytes_that_were_read(tmp_path):
    source = write(tmp_path, "field.png", Image.fromarray(COLOURS))
    first = canonicalise(source, tmp_path / "a")
    assert first == canonicalise(source, tmp_path / "b", {"name": "other"})
    assert len(first["sha256"]) == 64
