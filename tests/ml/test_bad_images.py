"""Image files that are odd, hostile or broken: read with a flag or refused by name, never a traceback.

test_images.py has the usual ones, test_dicom.py and test_whole_slides.py those in DICOM.
"""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from ml.findings import InputRejected
from ml.images import MAX_PIXELS, read_image
from tests.ml.test_images import chunk

RNG = np.random.default_rng(23)
SMALL = Image.fromarray(RNG.integers(40, 250, (6, 8, 3)).astype(np.uint8)).resize((80, 60), Image.Resampling.BICUBIC)
COLOURS = np.asarray(SMALL)
ALPHA = np.full((60, 80, 1), 65535, dtype=np.uint16)


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def png(pixels, depth, colour, *, width=None, height=None, extra=b""):
    """A PNG of ``pixels`` (h, w[, channels]), whose header may say otherwise."""
    big = pixels.astype(">u2") if depth == 16 else pixels
    rows = b"".join(b"\0" + row.tobytes() for row in big)
    said = struct.pack(">IIBBBBB", width or pixels.shape[1], height or pixels.shape[0], depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", said) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def tiff(pixels, *, kind=1, width=None, height=None):
    """An uncompressed TIFF of one strip; ``kind`` 1 is unsigned, 2 signed, 3 floating point."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    bits = [pixels.dtype.itemsize * 8] * channels
    lists = struct.pack(f"<{channels}H", *bits) + struct.pack(f"<{channels}H", *[kind] * channels)
    at = 8 + 2 + 12 * 9 + 4
    short = channels == 1
    entries = [
        (256, 4, 1, width or pixels.shape[1]), (257, 4, 1, height or pixels.shape[0]),
        (258, 3, channels, bits[0] if short else at), (259, 3, 1, 1), (262, 3, 1, 1 if short else 2),
        (273, 4, 1, at + len(lists)), (277, 3, 1, channels), (279, 4, 1, pixels.nbytes),
        (339, 3, channels, kind if short else at + 2 * channels),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, 9) + table + bytes(4) + lists + pixels.tobytes()


def patched(content, marker, offset, new):
    at = content.index(marker) + offset
    return content[:at] + new + content[at + len(new) :]


def read(folder, content):
    path = folder / "field"
    path.write_bytes(content)
    frames, summary = read_image(path)
    (frame,) = frames
    assert (frame.dtype, frame.shape[2]) == (np.uint8, 3)
    return frame, summary


def rejection(folder, content):
    path = folder / "field.dat"
    path.write_bytes(content)
    with pytest.raises(InputRejected) as caught:
        list(read_image(path)[0])
    said = caught.value
    assert said.place == "field.dat"
    assert said.problem.endswith(".")
    assert said.remedy.endswith(".")
    return said


@pytest.mark.parametrize("make", [lambda a: png(a, 16, 2), tiff], ids=["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [16, 12])
def test_colours_of_sixteen_bits_keep_their_range(tmp_path, make, bits):
    deep = np.round(COLOURS / 255 * (2**bits - 1)).astype(np.uint16)
    deep[0, 0] = 2**bits - 1
    frame, summary = read(tmp_path, make(deep))
    assert np.abs(frame.astype(int) - COLOURS)[1:].max() <= 1
    assert summary["flags"] == ["reduced_depth"]


def test_colours_of_sixteen_bits_are_turned_too(tmp_path):
    orientation = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
    frame, summary = read(tmp_path, png(COLOURS.astype(np.uint16) * 257, 16, 2, extra=orientation))
    assert np.array_equal(frame, np.rot90(COLOURS, -1))
    assert summary["flags"] == ["reduced_depth", "rotated"]


@pytest.mark.parametrize(("colour", "depths", "flags"), [(6, 3, ["flattened"]), (4, 1, ["flattened", "grey"])])
def test_sixteen_bits_and_transparency(tmp_path, colour, depths, flags):
    deep = COLOURS[..., :depths].astype(np.uint16) * 257
    frame, summary = read(tmp_path, png(np.dstack([deep, ALPHA]), 16, colour))
    assert np.abs(frame[..., 0].astype(int) - COLOURS[..., 0]).max() <= 1
    assert summary["flags"] == ["reduced_depth", *flags]


@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
def test_whole_numbers_of_32_bits_are_scaled(tmp_path, dtype):
    frame, summary = read(tmp_path, tiff(COLOURS[..., 0].astype(dtype), kind=1 if dtype == np.uint32 else 2))
    assert np.abs(frame[..., 0].astype(int) - COLOURS[..., 0] * (255 / 255)).max() <= 1
    assert set(summary["flags"]) == {"reduced_depth", "grey"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_tiffs_are_named(tmp_path, dtype, channels):
    pixels = COLOURS[..., 0] if channels == 1 else COLOURS
    said = rejection(tmp_path, tiff((pixels / 255).astype(dtype), kind=3))
    assert said.code == "unsupported_type"
    assert "floating-point" in said.problem
    assert "8 or 16 bits" in said.remedy


def test_a_tiff_of_five_channels_is_named(tmp_path):
    said = rejection(tmp_path, tiff(np.dstack([COLOURS, COLOURS[..., :2]])))
    assert said.code == "unsupported_type"
    assert "5 channels" in said.problem


@pytest.mark.parametrize(
    ("content", "mean", "flags"),
    [
        (lambda: saved(SMALL.convert("CMYK"), "JPEG"), 4, ["cmyk"]),
        (lambda: saved(SMALL.convert("L"), "JPEG"), None, ["grey"]),
        (lambda: saved(SMALL, "JPEG", progressive=True), 5, []),
        (lambda: saved(SMALL.convert("RGBA"), "TIFF"), 0, ["flattened"]),
        (lambda: saved(SMALL.convert("P"), "PNG", transparency=3), None, ["flattened"]),
        (lambda: saved(SMALL, "PNG", transparency=(1, 2, 3)), 0, ["flattened"]),
        (lambda: saved(SMALL, "TIFF", compression="tiff_lzw"), 0, []),
        (lambda: saved(SMALL, "JPEG") + bytes(5000), 5, []),
    ],
)
def test_odd_but_sound_files_are_read(tmp_path, content, mean, flags):
    frame, summary = read(tmp_path, content())
    assert summary["flags"] == flags
    if mean is not None:
        assert np.abs(frame.astype(int) - COLOURS).mean() <= mean


@pytest.mark.parametrize("kind", ["PNG", "MPO", "TIFF"])
def test_of_moving_or_many_pictures_the_first_is_read(tmp_path, kind):
    turned = SMALL.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    frame, summary = read(tmp_path, saved(SMALL, kind, save_all=True, append_images=[turned]))
    assert np.abs(frame.astype(int) - COLOURS).mean() < 5
    assert summary["flags"] == ["further_pages"]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "JPEG2000", "ICO", "PPM", "TGA", "EPS"])
def test_formats_that_are_not_accepted_are_named(tmp_path, kind):
    said = rejection(tmp_path, saved(SMALL, kind))
    assert said.code == "unsupported_type"
    assert kind in said.problem
    assert "PNG" in said.remedy


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_moving_pictures_are_refused(tmp_path, kind):
    said = rejection(tmp_path, saved(SMALL, kind, save_all=True, append_images=[SMALL.rotate(9)]))
    assert said.code == "unsupported_type"


@pytest.mark.parametrize("content", [b"%PDF-1.7\n" * 40, b"<svg/>" * 60, b"PK\x03\x04" + bytes(400)])
def test_what_is_no_picture_says_so(tmp_path, content):
    assert rejection(tmp_path, content).code == "unsupported_type"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_of_a_jpeg(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    frame, summary = read(tmp_path, saved(SMALL, "JPEG", exif=exif, quality=95))
    turned = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
              6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
              8: np.rot90}.get(orientation, lambda a: a)(COLOURS)  # fmt: skip
    assert np.abs(frame.astype(int) - turned).mean() < 5
    assert summary["flags"] == (["rotated"] if orientation > 1 else [])


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0" + b"\xff" * 60, b"Exif\0\0", b"Exif\0\0" + bytes(300)])
def test_exif_of_no_meaning_is_passed_over(tmp_path, exif):
    frame, summary = read(tmp_path, saved(SMALL, "JPEG", exif=exif))
    assert frame.shape == COLOURS.shape
    assert summary["flags"] == []


def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 9
    assert read(tmp_path, saved(SMALL, "JPEG", exif=exif))[1]["flags"] == []


SIZE = struct.Struct(">HH")
DAMAGED = {
    "a PNG claims more rows": lambda: png(COLOURS, 8, 2, height=600),
    "a PNG claims more columns": lambda: png(COLOURS, 8, 2, width=800),
    "a PNG of no width": lambda: patched(png(COLOURS, 8, 2), b"IHDR", 4, bytes(4)),
    "a PNG of seven bits": lambda: png(COLOURS, 7, 2),
    "a PNG of no known colours": lambda: png(COLOURS, 8, 9),
    "a PNG with a wrong checksum": lambda: patched(png(COLOURS, 8, 2), b"IHDR", 17, b"XXXX"),
    "a PNG whose pixels are no stream": lambda: patched(png(COLOURS, 8, 2), b"IDAT", 6, b"\xff" * 40),
    "a TIFF claims more pixels": lambda: tiff(COLOURS, width=800, height=600),
    "a TIFF whose table lies elsewhere": lambda: patched(tiff(COLOURS), b"II*", 4, b"\xff\xff\xff\x7f"),
    "a BMP claims more pixels": lambda: patched(saved(SMALL, "BMP"), b"BM", 18, struct.pack("<ii", 4000, 3000)),
    "half a JPEG": lambda: saved(SMALL, "JPEG")[:900],
    "a JPEG header alone": lambda: saved(SMALL, "JPEG")[:200],
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_file_that_lies_about_itself_is_refused(tmp_path, what):
    assert rejection(tmp_path, DAMAGED[what]()).code == "damaged"


BOMBS = {
    "a TIFF of a whole slide": (lambda: tiff(COLOURS, width=90_000, height=80_000), "too_many_pixels"),
    "a BMP of a whole slide": (
        lambda: patched(saved(SMALL, "BMP"), b"BM", 18, struct.pack("<ii", 90_000, 80_000)), "too_many_pixels"),
    "a JPEG of 65,535 squared": (
        lambda: patched(saved(SMALL, "JPEG"), b"\xff\xc0", 5, SIZE.pack(65_535, 65_535)), "too_many_pixels"),
    "a text that unfolds": (
        lambda: png(COLOURS, 8, 2, extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "damaged"),
    "a colour profile that unfolds": (
        lambda: png(COLOURS, 8, 2, extra=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_before_it_unfolds(tmp_path, what):
    make, code = BOMBS[what]
    content = make()
    tracemalloc.start()
    began = time.process_time()
    said = rejection(tmp_path, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said.code == code
    assert peak < 20_000_000
    assert time.process_time() - began < 2
    if code == "too_many_pixels":
        assert f"{MAX_PIXELS:,}" in said.problem


def test_a_png_whose_last_row_is_black_is_read(tmp_path):
    black = COLOURS.copy()
    black[-9:] = 0
    for content in (png(black, 8, 2), png(black.astype(np.uint16) * 257, 16, 2), saved(Image.fromarray(black), "PNG")):
        assert np.array_equal(read(tmp_path, content)[0], black)
    assert (read(tmp_path, saved(Image.fromarray(black).convert("1"), "PNG"))[0][-1] == 0).all()


def test_pixels_beyond_those_claimed_are_not_unfolded(tmp_path):
    surplus = np.vstack([COLOURS, np.zeros((200_000, 80, 3), dtype=np.uint8)])
    frame, _ = read(tmp_path, png(surplus, 8, 2, height=60))
    assert np.array_equal(frame, COLOURS)


def test_a_tiff_whose_pages_go_in_a_circle_is_read(tmp_path):
    content = bytearray(tiff(COLOURS))
    struct.pack_into("<I", content, 8 + 2 + 12 * 9, 8)
    assert np.array_equal(read(tmp_path, bytes(content))[0], COLOURS)


def test_any_byte_may_be_wrong(tmp_path):
    """One wrong byte at many places of each format: a picture or a refusal, nothing else."""
    for whole in (png(COLOURS, 8, 2), saved(SMALL, "JPEG"), tiff(COLOURS), saved(SMALL, "BMP")):
        for at in RNG.integers(0, min(len(whole), 700), 60):
            content = bytearray(whole)
            content[at] ^= int(RNG.integers(1, 256))
            path = tmp_path / "field"
            path.write_bytes(content)
            try:
                frames, _ = read_image(path)
                assert all(frame.dtype == np.uint8 for frame in frames)
            except InputRejected as said:
                assert said.code in {"damaged", "unsupported_type", "too_many_pixels", "too_small"}  # noqa: PT017
