"""The pixels of a DICOM file, which stay in it: one frame at a time is read, decoded and forgotten.

A whole slide has thousands of frames, most of them empty glass; those that show something are found by a glance at an
eighth of their resolution.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame, parse_basic_offsets, parse_fragments
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options, get_j2k_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom import Dataset

Rgb = npt.NDArray[np.uint8]

MAX_FRAMES = 64
MAX_FRAMES_PIXELS = 512_000_000
LOOKS = 4  # frames looked at for each that can be read
LOOKED_PIXELS = 32_000_000
BLANK = 6.0  # grey levels: the standard deviation of green below which a frame is empty glass
UNDEFINED = 0xFFFFFFFF  # the length of encapsulated pixels
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
PICTURES = (uid.JPEGBaseline8Bit, uid.JPEG2000, uid.JPEG2000Lossless)  # each frame is a picture with its own header
PIXEL_DATA = (0x7FE0, 0x0010)
VRS = {b"OB": "OB", b"OW": "OW", b"UN": "UN"}
RGB_IDS = ([82, 71, 66], [114, 103, 98])  # of a JPEG's components: "RGB", "rgb"
FAULTS = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, AttributeError, MemoryError,
    RuntimeError, NotImplementedError, AssertionError, ZeroDivisionError, struct.error, Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class Pixels:
    """Where the value of a file's PixelData lies: ``start``, and the ``length`` that its element declares, in bytes.

    ``vr``: how its element says that it is written; ``count``: of frames.
    """

    source: Path
    header: Dataset
    start: int
    length: int
    vr: str
    count: int

    @property
    def syntax(self) -> uid.UID:
        return self.header.file_meta.TransferSyntaxUID

    @property
    def there(self) -> int:
        """Bytes from the start of the value to the end of the file."""
        return self.source.stat().st_size - self.start

    @property
    def area(self) -> int:
        return int(self.header.Rows) * int(self.header.Columns)

    @cached_property
    def offsets(self) -> tuple[Any, Any] | None:
        """Where each frame begins and how long it is, where the file has such a table or needs one.

        Without any table pydicom walks through all fragments for every frame; here it happens once.
        """
        table = [self.header.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        if all(table):
            return table[0], table[1]
        with self.source.open("rb") as stream:
            stream.seek(self.start)
            if self.count == 1 or parse_basic_offsets(stream):
                return None
            found, places = parse_fragments(stream)
            return _lengths(stream, places) if found == self.count else None

    def frame(self, index: int) -> bytes:
        """An encapsulated frame's own bytes. Raises one of FAULTS where the file does not hold them."""
        with self.source.open("rb") as stream:
            stream.seek(self.start)
            frame = get_frame(stream, index, number_of_frames=self.count, extended_offsets=self.offsets)
        if not frame:
            raise EOFError(f"frame {index + 1} is empty")
        return bytes(frame)


def _lengths(stream: BinaryIO, places: list[int]) -> tuple[list[int], list[int]]:
    lengths = []
    for place in places:
        stream.seek(place + 4)
        lengths.append(struct.unpack("<L", stream.read(4))[0])
    return [place - places[0] for place in places], lengths


def value_of_pixels(stream: BinaryIO, syntax: uid.UID) -> tuple[int, int, str] | None:
    """Start, declared length and VR of PixelData's value in a stream that stands at its element; None: it does not.

    Files exist whose elements name no VR though their syntax says so. A length is even, these letters would be odd.
    """
    order = "<" if syntax.is_little_endian else ">"
    said = stream.read(8)
    if len(said) < 8 or struct.unpack(f"{order}HH", said[:4]) != PIXEL_DATA:
        return None
    vr = VRS.get(said[4:6])
    length = stream.read(4) if vr else said[4:]
    return stream.tell(), struct.unpack(f"{order}L", length)[0], vr or "OW"


def decoded(pixels: Pixels, index: int, frame: bytes | None = None) -> npt.NDArray[Any]:
    """One frame, (h, w) or RGB (h, w, 3), as deep as it is stored. Raises one of FAULTS.

    ``frame``: its encapsulated bytes, where they have been read already.
    """
    if pixels.syntax in NATIVE:
        with pixels.source.open("rb") as stream:
            stream.seek(pixels.start)
            return by_pydicom(pixels, stream, index)
    frame = frame or pixels.frame(index)
    quick = by_pillow(frame, pixels.header) if pixels.syntax in PICTURES else None
    return by_pydicom(pixels, encapsulate([frame]), 0) if quick is None else quick


def by_pydicom(pixels: Pixels, source: bytes | BinaryIO, index: int) -> npt.NDArray[Any]:
    """Any syntax and colours that are read; two to three times as long as Pillow alone, for the colours' sake."""
    options = as_pixel_options(pixels.header, pixel_keyword="PixelData", pixel_vr=pixels.vr)
    if isinstance(source, bytes):
        options |= {"number_of_frames": 1}
        options.pop("extended_offsets", None)
    array, _ = get_decoder(pixels.syntax).as_array(source, index=index, **options)
    return np.asarray(array)


def by_pillow(frame: bytes, header: Dataset) -> Rgb | None:
    """A JPEG or JPEG 2000 frame, eight bits deep; None where its colours need pydicom's care.

    libjpeg turns YCbCr into RGB as it decodes, which is what YBR_FULL and YBR_FULL_422 ask for; a stream whose marker
    (Adobe) or component names say something else of its colours is left to pydicom. OpenJPEG undoes the colour
    transforms that YBR_ICT and YBR_RCT name.
    """
    colours = str(header.PhotometricInterpretation)
    with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as picture:
        fit = header.BitsStored == 8 and picture.mode == ("L" if header.SamplesPerPixel == 1 else "RGB")
        if not fit or not COLOURS_OF[picture.format](picture, colours, frame):
            return None
        return np.asarray(picture)


def _jpeg(picture: Image.Image, colours: str, _: bytes) -> bool:
    """An RGB header over a JFIF stream is a mistake that pydicom, too, decides for the stream."""
    if colours.startswith("MONOCHROME"):
        return True
    named = [component[0] for component in cast("Any", picture).layer]
    plain = "adobe" not in picture.info and named not in RGB_IDS
    return plain and (colours in {"YBR_FULL", "YBR_FULL_422"} or "jfif" in picture.info)


def _jpeg_2000(_: Image.Image, colours: str, frame: bytes) -> bool:
    return colours in {"YBR_ICT", "YBR_RCT", "RGB"} and get_j2k_parameters(frame).get("precision") == 8


COLOURS_OF: dict[str | None, Any] = {"JPEG": _jpeg, "JPEG2000": _jpeg_2000}


def choose(pixels: Pixels) -> list[int]:
    """At most MAX_FRAMES frames, evenly spaced; of more than that, evenly spaced ones that are not empty glass."""
    most = max(1, min(MAX_FRAMES, MAX_FRAMES_PIXELS // pixels.area))
    looked = evenly(pixels.count, min(LOOKS * most, LOOKED_PIXELS // pixels.area))
    if pixels.count <= most or len(looked) <= most:
        return evenly(pixels.count, most)
    full = [index for index in looked if contrast(pixels, index) > BLANK]
    return [full[k] for k in evenly(len(full), most)] or evenly(pixels.count, most)


def evenly(count: int, most: int) -> list[int]:
    return sorted({int(k) for k in np.linspace(0, count - 1, min(count, most)).round()})


def contrast(pixels: Pixels, index: int) -> float:
    """Standard deviation of green, which every stain of cells absorbs, over the frame at an eighth of its resolution.

    In grey levels; 0 for a frame that cannot be decoded, which is then not chosen for what it shows.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small = glance(pixels, index)
    except FAULTS:
        return 0.0
    green = small[..., 1] if small.ndim == 3 else small
    return float(green.std()) * 255 / (2 ** int(pixels.header.BitsStored) - 1)


def glance(pixels: Pixels, index: int) -> npt.NDArray[Any]:
    """A frame at about an eighth of its resolution; a JPEG is not even decoded further than that."""
    if pixels.syntax not in PICTURES:
        return decoded(pixels, index)[::8, ::8]
    with Image.open(io.BytesIO(pixels.frame(index)), formats=("JPEG", "JPEG2000")) as picture:
        if picture.size != (pixels.header.Columns, pixels.header.Rows):
            return np.zeros((1, 1))
        picture.draft(picture.mode, (max(1, picture.width // 8), max(1, picture.height // 8)))
        if picture.format == "JPEG2000":
            cast("Any", picture).reduce = 3
        return np.asarray(picture)
