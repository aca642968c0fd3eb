"""DICOM → 8-bit RGB frames: visible-light images, single or multi-frame; what the header claims is checked first."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, Sequence, config, dcmread, uid
from pydicom.filereader import read_file_meta_info
from pydicom.multival import MultiValue

from ml.dicom_pixels import (
    FAULTS,
    MAX_FRAMES,
    NATIVE,
    PICTURES,
    UNDEFINED,
    Pixels,
    choose,
    decoded,
    value_of_pixels,
)
from ml.findings import InputRejected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Rgb = npt.NDArray[np.uint8]

__all__ = ["MAX_FRAMES", "read"]

config.settings.reading_validation_mode = config.IGNORE  # a UID that is too long is no reason to refuse an image

COARSEST = 1.0  # µm a pixel: a red cell is seven pixels wide
SYNTAXES = (*NATIVE, *PICTURES, uid.RLELossless)
COLOURS = {
    "MONOCHROME1": 1, "MONOCHROME2": 1, "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_ICT": 3, "YBR_RCT": 3,
}  # fmt: skip
NOT_MICROSCOPY = {"CT", "MR", "CR", "DX", "MG", "NM", "PT", "XA", "RF", "US"}
REQUIRED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored")
WANTED = (
    *REQUIRED, "PixelRepresentation", "PlanarConfiguration", "NumberOfFrames", "Modality", "ImageType",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "SharedFunctionalGroupsSequence", "OpticalPathSequence",
    "ImagedVolumeWidth", "TotalPixelMatrixColumns",
)  # fmt: skip
NOT_CELLS = {
    "LABEL": "the slide's label, which may name the patient",
    "OVERVIEW": "an overview of the slide",
    "LOCALIZER": "an overview of the slide",
    "THUMBNAIL": "a thumbnail of the slide",
}
EXPORT = "Export it again as uncompressed, JPEG baseline, JPEG 2000 or RLE DICOM, or as PNG."
FINEST = "Send the slide's VOLUME image of the highest resolution: 0.5 µm a pixel or less."


def read(source: Path, place: str, max_pixels: int, min_side: int) -> tuple[Iterator[Rgb], dict[str, Any]]:
    """Frames (h, w, 3, uint8), at most MAX_FRAMES (see ml.dicom_pixels.choose), and the summary. Raises InputRejected.

    Memory holds the header and one frame.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = opened(source, place)
        check_extent(pixels.header, place, max_pixels, min_side)
        check_level(pixels.header, place)
        check_length(pixels, place)
        chosen = choose(pixels)
    header = pixels.header
    summary: dict[str, Any] = {
        "format": "DICOM",
        "width": int(header.Columns),
        "height": int(header.Rows),
        "frames": len(chosen),
        "flags": noticed(pixels, len(chosen)),
        "transfer_syntax": pixels.syntax.name,
        "modality": str(header.get("Modality", "")),
    }
    if len(chosen) < pixels.count:
        summary["frame_numbers"] = [index + 1 for index in chosen]
    return (decode(pixels, index, place) for index in chosen), summary | optics(header)


def opened(source: Path, place: str) -> Pixels:
    """The header, judged, and where the pixels lie; of these nothing is read."""
    try:
        syntax = read_file_meta_info(source).get("TransferSyntaxUID")
        check_syntax(syntax, place)
        with source.open("rb") as stream:
            header = dcmread(stream, stop_before_pixels=True, specific_tags=list(WANTED))
            found = value_of_pixels(stream, syntax)
    except FAULTS as fault:
        raise refused("damaged", place, "The DICOM header is incomplete or damaged.") from fault
    check_header(header, place, has_pixels=bool(found and found[1]))
    return Pixels(source, header, *(found or (0, 0, "")), frame_count(header, place))


def refused(code: str, place: str, problem: str, remedy: str = EXPORT) -> InputRejected:
    return InputRejected(code, place=place, problem=problem, remedy=remedy)


def noticed(pixels: Pixels, chosen: int) -> list[str]:
    said = {
        "frames_chosen": chosen < pixels.count,
        "grey": pixels.header.SamplesPerPixel == 1,
        "reduced_depth": pixels.header.BitsStored > 8,
    }
    return [code for code, true in said.items() if true]


def check_syntax(syntax: uid.UID | None, place: str) -> None:
    """Before the data set is read: a deflated one could unfold without bound."""
    if syntax is None:
        raise refused("missing_tag", f"{place}, tag TransferSyntaxUID (0002,0010)", "The tag is missing.")
    if syntax not in SYNTAXES:
        raise refused("unsupported_type", place, f"The transfer syntax {syntax.name} is not read.")


def check_header(dataset: Dataset, place: str, *, has_pixels: bool) -> None:
    missing = [name for name in REQUIRED if name not in dataset or dataset[name].is_empty]
    for name in (*missing, *([] if has_pixels else ["PixelData"])):
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


def check_level(header: Dataset, place: str) -> None:
    """A slide's label, its overview and its coarse levels are files like its cells; only these can be read."""
    kind = next((said for said in NOT_CELLS if said in header.get("ImageType", ())), None)
    if kind:
        raise refused("wrong_level", f"{place}, tag ImageType (0008,0008)", f"This is {NOT_CELLS[kind]}.", FINEST)
    spacing = optics(header).get("micrometres_per_pixel", 0)
    if spacing > COARSEST:
        problem = f"This level of the slide has {spacing:.3g} µm a pixel; cells are seen up to {COARSEST:g} µm a pixel."
        raise refused("too_coarse", f"{place}, tag PixelSpacing (0028,0030)", problem, FINEST)


def optics(header: Dataset) -> dict[str, float]:
    """What the header of a whole slide says of its scale, as far as it says it: ``micrometres_per_pixel`` and
    ``objective_power``. PixelSpacing outside the functional groups is a screen's or a printer's, and not asked.
    """
    measures = item(item(header, "SharedFunctionalGroupsSequence"), "PixelMeasuresSequence")
    spacing = number(measures, "PixelSpacing")
    width, columns = number(header, "ImagedVolumeWidth"), number(header, "TotalPixelMatrixColumns")
    said = {
        "micrometres_per_pixel": 1000 * (spacing or (width / columns if columns else 0)),
        "objective_power": number(item(header, "OpticalPathSequence"), "ObjectiveLensPower"),
    }
    return {name: round(value, 4) for name, value in said.items() if value}


def item(dataset: Dataset, name: str) -> Dataset:
    """The first item of a sequence; an empty one where there is none."""
    sequence = dataset.get(name)
    return sequence[0] if isinstance(sequence, Sequence) and len(sequence) else Dataset()


def number(dataset: Dataset, name: str) -> float:
    """The first value of an element; 0 where it is absent or no positive number."""
    try:
        value = dataset.get(name)
        first = float(value[0] if isinstance(value, MultiValue) else value)
    except FAULTS:
        return 0.0
    return first if 0 < first < math.inf else 0.0


def check_length(pixels: Pixels, place: str) -> None:
    """The bytes that are there against what the header claims. Encapsulated frames are judged one by one in decode,
    and the last of them here, so that a file that was cut off is noticed whichever frames are chosen.

    More bytes than claimed are refused too: with a wrong width the picture would be sheared and still be a picture.
    """
    if pixels.length != UNDEFINED and pixels.length > pixels.there:
        raise wrong_length(place, pixels.length, pixels.there)
    if pixels.syntax not in NATIVE:
        check_last(pixels, place)
        return
    header = pixels.header
    samples = 2 if header.PhotometricInterpretation == "YBR_FULL_422" else header.SamplesPerPixel
    claimed = pixels.area * samples * (header.BitsAllocated // 8) * pixels.count
    if not claimed <= pixels.length <= claimed + claimed % 2:
        raise wrong_length(place, claimed, pixels.length)


def check_last(pixels: Pixels, place: str) -> None:
    try:
        pixels.frame(pixels.count - 1)
    except FAULTS as fault:
        problem = f"The header claims {pixels.count:,} frames; the last of them is missing."
        raise refused("damaged", f"{place}, frame {pixels.count}", problem) from fault


def wrong_length(place: str, claimed: int, there: int) -> InputRejected:
    return refused(
        "damaged",
        f"{place}, tag PixelData (7FE0,0010)",
        f"The header claims {claimed:,} bytes of pixels, the file holds {there:,}.",
        "Copy or export the file again.",
    )


def decode(pixels: Pixels, index: int, place: str) -> Rgb:
    """One frame (h, w, 3), uint8. Raises InputRejected where its bytes do not hold what the header claims."""
    place = f"{place}, frame {index + 1}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = None if pixels.syntax in NATIVE else pixels.frame(index)
            if frame and pixels.syntax in PICTURES:
                check_picture(frame, pixels.header, place)
            return to_rgb(decoded(pixels, index, frame), pixels.header)
    except FAULTS as fault:
        raise refused("damaged", place, "The pixels are incomplete or damaged.") from fault


def check_picture(frame: bytes, header: Dataset, place: str) -> None:
    """A compressed frame is a picture with a header of its own; it must agree with the DICOM header before decoding."""
    with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as picture:
        if picture.size != (header.Columns, header.Rows):
            problem = (
                f"The frame has {picture.width} × {picture.height} pixels, the header claims another size "
                f"({header.Columns} × {header.Rows})."
            )
            raise refused("damaged", place, problem)


def to_rgb(pixels: npt.NDArray[Any], header: Dataset) -> Rgb:
    scaled = pixels if header.BitsStored == 8 else np.round(pixels * (255.0 / (2**header.BitsStored - 1)))
    frame = np.clip(scaled, 0, 255).astype(np.uint8)
    if header.PhotometricInterpretation == "MONOCHROME1":
        frame = 255 - frame
    return np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
