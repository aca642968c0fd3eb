"""DICOM → 8-bit RGB frames: visible-light images, single or multi-frame; what the header claims is checked first."""

from __future__ import annotations

import io
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import config, dcmread, uid
from pydicom.dataelem import RawDataElement
from pydicom.encaps import get_frame
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.utils import pixel_array

from ml.findings import InputRejected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom import Dataset

Rgb = npt.NDArray[np.uint8]

config.settings.reading_validation_mode = config.IGNORE  # a UID that is too long is no reason to refuse an image

MAX_FRAMES = 64
UNDEFINED = 0xFFFFFFFF  # the length of encapsulated pixels
MAX_FRAMES_PIXELS = 512_000_000
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
PICTURES = (uid.JPEGBaseline8Bit, uid.JPEG2000, uid.JPEG2000Lossless)  # each frame is a picture with its own header
SYNTAXES = (*NATIVE, *PICTURES, uid.RLELossless)
COLOURS = {
    "MONOCHROME1": 1, "MONOCHROME2": 1, "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_ICT": 3, "YBR_RCT": 3,
}  # fmt: skip
NOT_MICROSCOPY = {"CT", "MR", "CR", "DX", "MG", "NM", "PT", "XA", "RF", "US"}
REQUIRED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored")
FAULTS = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, AttributeError, MemoryError,
    RuntimeError, NotImplementedError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
EXPORT = "Export it again as uncompressed, JPEG baseline, JPEG 2000 or RLE DICOM, or as PNG."


def read(source: Path, place: str, max_pixels: int, min_side: int) -> tuple[Iterator[Rgb], dict[str, Any]]:
    """Frames (h, w, 3, uint8), at most MAX_FRAMES, evenly chosen, and the summary. Raises InputRejected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            syntax = read_file_meta_info(source).get("TransferSyntaxUID")
            check_syntax(syntax, place)
            dataset = dcmread(source)
        except FAULTS as fault:
            raise refused("damaged", place, "The DICOM header is incomplete or damaged.") from fault
        check_declared(dataset, place)
        check_header(dataset, place)
        check_extent(dataset, place, max_pixels, min_side)
        check_length(dataset, place)
    count = frame_count(dataset, place)
    chosen = evenly(count, dataset.Rows * dataset.Columns)
    summary: dict[str, Any] = {
        "format": "DICOM",
        "width": int(dataset.Columns),
        "height": int(dataset.Rows),
        "frames": len(chosen),
        "flags": noticed(dataset, count, len(chosen)),
        "transfer_syntax": syntax.name,
        "modality": str(dataset.get("Modality", "")),
    }
    return (decode(dataset, index, place) for index in chosen), summary


def refused(code: str, place: str, problem: str, remedy: str = EXPORT) -> InputRejected:
    return InputRejected(code, place=place, problem=problem, remedy=remedy)


def noticed(dataset: Dataset, count: int, chosen: int) -> list[str]:
    said = {
        "frames_chosen": chosen < count,
        "grey": dataset.SamplesPerPixel == 1,
        "reduced_depth": dataset.BitsStored > 8,
    }
    return [code for code, true in said.items() if true]


def check_syntax(syntax: uid.UID | None, place: str) -> None:
    """Before the data set is read: a deflated one could unfold without bound."""
    if syntax is None:
        raise refused("missing_tag", f"{place}, tag TransferSyntaxUID (0002,0010)", "The tag is missing.")
    if syntax not in SYNTAXES:
        raise refused("unsupported_type", place, f"The transfer syntax {syntax.name} is not read.")


def check_declared(dataset: Dataset, place: str) -> None:
    """The length that the pixels' own element declares; known only until the element is first looked at."""
    pixels: Any = dataset.get_item("PixelData") if "PixelData" in dataset else None
    if isinstance(pixels, RawDataElement) and pixels.length != UNDEFINED and pixels.length > len(pixels.value or b""):
        raise wrong_length(place, pixels.length, len(pixels.value or b""))


def check_header(dataset: Dataset, place: str) -> None:
    for name in (*REQUIRED, "PixelData"):
        if name not in dataset or dataset[name].is_empty:
            raise refused("missing_tag", f"{place}, tag {name}", "It is missing or empty; the file may be cut off.")
    if dataset.get("Modality") in NOT_MICROSCOPY:
        raise refused(
            "wrong_modality",
            f"{place}, tag Modality (0008,0060)",
            f"{dataset.Modality} is no microscopy.",
            "Send an image of the stained smear.",
        )
    check_pixel_tags(dataset, place)


def check_pixel_tags(dataset: Dataset, place: str) -> None:
    """Each pixel tag against the values that are read; the error names the tag."""
    colours = str(dataset.PhotometricInterpretation)
    bits, stored = dataset.BitsAllocated, dataset.BitsStored
    said = {
        "PhotometricInterpretation": colours in COLOURS,
        "SamplesPerPixel": dataset.SamplesPerPixel == COLOURS.get(colours),
        "BitsAllocated": bits in (8, 16),
        "BitsStored": isinstance(stored, int) and isinstance(bits, int) and 1 < stored <= bits,
        "PixelRepresentation": dataset.get("PixelRepresentation", 0) == 0,
        "PlanarConfiguration": dataset.get("PlanarConfiguration", 0) in (0, 1),
        "Rows": isinstance(dataset.Rows, int) and dataset.Rows > 0,
        "Columns": isinstance(dataset.Columns, int) and dataset.Columns > 0,
    }
    wrong = next((name for name, fine in said.items() if not fine), None)
    if wrong:
        raise refused("wrong_tag", f"{place}, tag {wrong}", f"The value {dataset.get(wrong)!r} is not read here.")


def frame_count(dataset: Dataset, place: str) -> int:
    try:
        count = int(dataset.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise refused("wrong_tag", f"{place}, tag NumberOfFrames (0028,0008)", "The value is no count of frames.")
    return count


def check_extent(dataset: Dataset, place: str, max_pixels: int, min_side: int) -> None:
    rows, columns = dataset.Rows, dataset.Columns
    if rows * columns > max_pixels:
        raise refused(
            "too_many_pixels",
            f"{place}, tags Rows and Columns",
            f"{columns} × {rows} pixels a frame; at most {max_pixels:,} are read.",
            "Send single fields, not whole slides.",
        )
    if min(rows, columns) < min_side:
        raise refused(
            "too_small",
            f"{place}, tags Rows and Columns",
            f"{columns} × {rows} pixels; each side needs at least {min_side}.",
            "Send the original image, not a thumbnail.",
        )


def check_length(dataset: Dataset, place: str) -> None:
    """The bytes that are there against what the header claims. Encapsulated frames are judged one by one in decode.

    More bytes than claimed are refused too: with a wrong width the picture would be sheared and still be a picture.
    """
    if dataset.file_meta.TransferSyntaxUID not in NATIVE:
        return
    samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else dataset.SamplesPerPixel
    claimed = dataset.Rows * dataset.Columns * samples * (dataset.BitsAllocated // 8) * frame_count(dataset, place)
    there = len(dataset.PixelData)
    if not claimed <= there <= claimed + claimed % 2:
        raise wrong_length(place, claimed, there)


def wrong_length(place: str, claimed: int, there: int) -> InputRejected:
    return refused(
        "damaged",
        f"{place}, tag PixelData (7FE0,0010)",
        f"The header claims {claimed:,} bytes of pixels, the file holds {there:,}.",
        "Copy or export the file again.",
    )


def evenly(count: int, pixels: int) -> list[int]:
    most = max(1, min(MAX_FRAMES, MAX_FRAMES_PIXELS // max(pixels, 1)))
    return sorted({int(k) for k in np.linspace(0, count - 1, min(count, most)).round()})


def decode(dataset: Dataset, index: int, place: str) -> Rgb:
    """One frame (h, w, 3), uint8. Raises InputRejected where its bytes do not hold what the header claims."""
    place = f"{place}, frame {index + 1}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_picture(dataset, index, place)
            return to_rgb(pixel_array(dataset, index=index), dataset)
    except FAULTS as fault:
        raise refused("damaged", place, "The pixels are incomplete or damaged.") from fault


def check_picture(dataset: Dataset, index: int, place: str) -> None:
    """A compressed frame is a picture with a header of its own; it must agree with the DICOM header before decoding."""
    if dataset.file_meta.TransferSyntaxUID not in PICTURES:
        return
    frame = get_frame(dataset.PixelData, index, number_of_frames=frame_count(dataset, place))
    with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as picture:
        if picture.size != (dataset.Columns, dataset.Rows):
            problem = (
                f"The frame has {picture.width} × {picture.height} pixels, the header claims another size "
                f"({dataset.Columns} × {dataset.Rows})."
            )
            raise refused("damaged", place, problem)


def to_rgb(pixels: npt.NDArray[Any], dataset: Dataset) -> Rgb:
    scaled = pixels if dataset.BitsStored == 8 else np.round(pixels * (255.0 / (2**dataset.BitsStored - 1)))
    frame = np.clip(scaled, 0, 255).astype(np.uint8)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        frame = 255 - frame
    return np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
