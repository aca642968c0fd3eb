"""Foreign image bytes → 8-bit RGB frames. The content decides what a file is, its name never does.

Everything that can be known from a header is checked before a pixel is decoded. No torch here: this runs in the
memory-capped child process that reads uploads.
"""

from __future__ import annotations

import hashlib
import json
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from ml import dicom
from ml.findings import InputRejected, QualityFlag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Rgb = npt.NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
MAX_BYTES = 512 * 1024 * 1024
MAX_PIXELS = 48_000_000
MIN_SIDE = 48
ACCEPTED = "Send PNG, JPEG, TIFF, BMP or DICOM."
EIGHT_OR_SIXTEEN = "Export the image as RGB with 8 or 16 bits per channel."
FLOATING = "floating-point numbers"
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION = 0x0112  # of EXIF
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
DECODING_FAULTS = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, AttributeError,
    MemoryError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
SUMMARY = "summary.json"

FLAGS = {
    "grey": "The image has no colour; the models were trained on stained smears in colour.",
    "further_pages": "The file holds more than one page; only the first was read.",
    "reduced_depth": "More than 8 bits per channel were reduced to 8.",
    "cmyk": "The image is in print colours (CMYK); its colours are approximate.",
    "rotated": "The image was turned as its EXIF orientation says.",
    "flattened": "Transparent parts were laid on white.",
    "frames_chosen": "The file holds more frames than are read; evenly spaced ones that are not empty were taken.",
}


def read_image(source: Path, name: str | None = None) -> tuple[Iterator[Rgb], dict[str, Any]]:
    """Frames (h, w, 3, uint8), decoded one at a time, and what is known of the file before decoding them.

    The summary's ``flags`` may still grow while the frames are drawn. Raises InputRejected, from this call or while
    drawing; ``name`` is what the person calls the file.
    """
    place = name or source.name
    with source.open("rb") as stream:
        head = stream.read(132)
    check_bytes(head, source.stat().st_size, place)
    if head[128:132] == b"DICM":
        return dicom.read(source, place, MAX_PIXELS, MIN_SIDE)
    summary: dict[str, Any] = {"flags": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about tags that do not matter here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = open_picture(source, place)
    summary |= {"format": image.format, "width": image.width, "height": image.height, "frames": 1}
    return one_frame(image, source, place, summary), summary


def check_bytes(head: bytes, size: int, place: str) -> None:
    if not head:
        raise InputRejected("empty", place=place, problem="The file is empty.", remedy="Export the image again.")
    if size > MAX_BYTES:
        raise InputRejected(
            "too_large",
            place=place,
            problem=f"The file has {size / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} MiB are read.",
            remedy="Send single fields or cells, not whole slides.",
        )


def open_picture(source: Path, place: str) -> Image.Image:
    """The picture with its header read and judged, not yet decoded."""
    try:
        image = Image.open(source, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as fault:
        raise too_many_pixels(place, f"More than {MAX_PIXELS:,} pixels.") from fault
    except UnidentifiedImageError as fault:
        raise unknown_type(source, place) from fault
    except DECODING_FAULTS as fault:
        raise damaged(place) from fault
    try:
        check_size(image.width, image.height, place)
    except InputRejected:
        image.close()
        raise
    return image


def check_size(width: int, height: int, place: str) -> None:
    if width * height > MAX_PIXELS:
        raise too_many_pixels(place, f"{width} × {height} pixels; at most {MAX_PIXELS:,} are read.")
    if min(width, height) < MIN_SIDE:
        raise InputRejected(
            "too_small",
            place=place,
            problem=f"{width} × {height} pixels; each side needs at least {MIN_SIDE}.",
            remedy="Send the original image, not a thumbnail.",
        )


def too_many_pixels(place: str, problem: str) -> InputRejected:
    return InputRejected(
        "too_many_pixels", place=place, problem=problem, remedy="Crop single fields at full resolution and send those."
    )


def unknown_type(source: Path, place: str) -> InputRejected:
    """Names the format where Pillow knows one that is not accepted; a known signature alone means a damaged file."""
    with source.open("rb") as stream:
        head = stream.read(4)
    if head in TIFF_HEADS and (kind := tiff_pixels(source)):
        return unsupported(place, f"The pixels are {kind}.", EIGHT_OR_SIXTEEN)
    if head in (b"\x89PNG", *TIFF_HEADS) or head[:2] in (b"BM", b"\xff\xd8"):
        return damaged(place)
    try:
        with Image.open(source) as image:
            problem = f"{image.format} images are not accepted."
    except (*DECODING_FAULTS, Image.DecompressionBombError):
        problem = "This is no image."
    return unsupported(place, problem, ACCEPTED)


def unsupported(place: str, problem: str, remedy: str) -> InputRejected:
    return InputRejected("unsupported_type", place=place, problem=problem, remedy=remedy)


def tiff_pixels(source: Path) -> str | None:
    """What the header of a TIFF that Pillow does not read says of its pixels; None where it says nothing coherent."""
    try:
        with source.open("rb") as stream:
            tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
            stream.seek(tags.next)
            tags.load(stream)
        bits, channels = tags[258], int(tags.get(277, 1))
        floating = 3 in tuple(tags.get(339, ()))
    except DECODING_FAULTS:
        return None
    return FLOATING if floating else f"{channels} channels of {'/'.join(str(b) for b in bits[:8])} bits"


def damaged(place: str) -> InputRejected:
    return InputRejected(
        "damaged",
        place=place,
        problem="The image is incomplete or damaged.",
        remedy="Copy or export it again and check that it opens in a viewer.",
    )


def one_frame(image: Image.Image, source: Path, place: str, summary: dict[str, Any]) -> Iterator[Rgb]:
    try:
        with image, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if getattr(image, "n_frames", 1) > 1:
                summary["flags"].append("further_pages")
                image.seek(0)
            frame = to_rgb(upright(loaded(image, source, summary["flags"]), summary["flags"]), place, summary["flags"])
    except (*DECODING_FAULTS, Image.DecompressionBombError) as fault:
        raise damaged(place) from fault
    summary |= {"width": frame.shape[1], "height": frame.shape[0]}
    if is_grey(frame):
        summary["flags"].append("grey")
    yield frame


def loaded(image: Image.Image, source: Path, flags: list[str]) -> Image.Image:
    """The picture with its pixels. Of colours 16 bits deep Pillow keeps the upper 8, which a camera of 12 bits leaves
    nearly empty; those are read by OpenCV.
    """
    deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) and not image.mode.startswith("I")
    orientation = image.getexif().get(ORIENTATION, 1)
    image.load()
    if image.format == "PNG" and image.crop((0, image.height - 1, image.width, image.height)).getbbox() is None:
        check_png(source)
    if not deep:
        return image
    flags.append("reduced_depth")
    pixels = sixteen_bits(source) if image.mode == "RGB" else None
    if pixels is None or pixels.shape != (image.height, image.width, 3):
        return image
    eight = Image.fromarray(to_eight_bits(pixels))
    eight.getexif()[ORIENTATION] = orientation
    return eight


def check_png(source: Path) -> None:
    """Raises EOFError where the compressed rows are fewer than the header claims; Pillow leaves those missing black."""
    with source.open("rb") as stream:
        width, height, depth, colour, interlaced = struct.unpack(">16xIIBB2xB", stream.read(29))
        wanted = 0 if interlaced else height * (1 + -(-width * PNG_CHANNELS[colour] * depth // 8))
        stream.seek(8)
        inflater, held = zlib.decompressobj(), 0
        for part in png_data(stream):
            data = part
            while data and held < wanted:
                held += len(inflater.decompress(data, 2**20))
                data = inflater.unconsumed_tail
    if held < wanted:
        raise EOFError(f"{wanted} bytes of pixels are claimed, {held} are there")


def png_data(stream: BinaryIO) -> Iterator[bytes]:
    """The contents of the IDAT chunks of a PNG whose stream stands after the signature."""
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            yield stream.read(length)
        else:
            stream.seek(length, 1)
        stream.seek(4, 1)


def sixteen_bits(source: Path) -> npt.NDArray[np.uint16] | None:
    """RGB (h, w, 3) of a PNG or TIFF; None where OpenCV does not read it as such."""
    import cv2  # noqa: PLC0415 (few images need it, and every reader process would carry it)

    try:
        pixels = cv2.imdecode(np.fromfile(source, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint16)


def upright(image: Image.Image, flags: list[str]) -> Image.Image:
    if image.getexif().get(ORIENTATION) not in range(2, 9):
        return image
    flags.append("rotated")
    return ImageOps.exif_transpose(image)


def to_rgb(image: Image.Image, place: str, flags: list[str]) -> Rgb:
    """Any of Pillow's modes → (h, w, 3) uint8."""
    if image.mode.startswith("I"):
        flags.append("reduced_depth")
        return np.repeat(to_eight_bits(np.asarray(image))[..., None], 3, axis=2)
    if image.mode == "F":
        raise unsupported(place, f"The pixels are {FLOATING}.", EIGHT_OR_SIXTEEN)
    if image.mode == "CMYK":
        flags.append("cmyk")
    if image.has_transparency_data:
        flags.append("flattened")
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def to_eight_bits(values: npt.NDArray[Any], bits: int | None = None) -> Rgb:
    """Unsigned values of ``bits`` → 0–255. Without ``bits``, the fewest of 8, 10, 12, 14, 16 that hold the
    largest value: the empty slide is near the top of the camera's range, so the largest value tells the range.
    """
    top = int(values.max()) if bits is None else 2**bits - 1
    if bits is None:
        top = next((2**b - 1 for b in (8, 10, 12, 14, 16) if top < 2**b), top)
    return np.round(np.clip(values, 0, top) * (255.0 / max(top, 1))).astype(np.uint8)


def is_grey(frame: Rgb) -> bool:
    """No pixel's channels differ by more than JPEG's rounding."""
    small = frame[:: max(1, frame.shape[0] // 256), :: max(1, frame.shape[1] // 256)].astype(np.int16)
    return int(np.percentile(small.max(axis=2) - small.min(axis=2), 99.9)) <= 4


def canonicalise(source: Path, target_dir: Path, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write ``frame-0000.png`` … and ``summary.json`` into ``target_dir``; the summary is also returned.

    ``options["name"]`` is what the person calls the file. Raises InputRejected.
    """
    frames, summary = read_image(source, (options or {}).get("name"))
    target_dir.mkdir(parents=True, exist_ok=True)
    written = 0
    for written, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(target_dir / f"frame-{written - 1:04d}.png", compress_level=1)
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    summary |= {"frames": written, "flags": sorted(set(summary["flags"])), "sha256": digest}
    (target_dir / SUMMARY).write_text(json.dumps(summary, indent=1, sort_keys=True), "utf-8")
    return summary


def load_canonical(folder: Path) -> list[Rgb]:
    """The frames (h, w, 3) that canonicalise wrote, in order."""
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("frame-*.png"))]


def flags_of(summary: dict[str, Any]) -> tuple[QualityFlag, ...]:
    """What the reader noticed, as quality flags."""
    return tuple(QualityFlag(code, FLAGS[code]) for code in summary["flags"])
