"""Single frames out of a stored file, as they are stored. Only of files whose pixels the capped reader has judged."""

import warnings

from pydicom import dcmread
from pydicom.encaps import get_frame

from clinic.errors import InvalidInput, NotFound
from clinic.interop.dicomweb.parts import BLOCK
from ml.dicom_pixels import FAULTS, NATIVE, value_of_pixels

LAYOUT = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "NumberOfFrames",
          "ExtendedOffsetTable", "ExtendedOffsetTableLengths")  # fmt: skip
MOST_FRAMES = 64


class Frames:
    """The frames of a file that is open as ``stream``. Nothing is decoded, and no more than one is in memory."""

    def __init__(self, stream):
        self.stream = stream
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._look()
            except FAULTS as fault:
                problem = "The pixels of this file cannot be told apart."
                raise NotFound("no_pixels", problem, "Fetch the whole instance.") from fault

    def _look(self):
        self.header = dcmread(self.stream, stop_before_pixels=True, specific_tags=list(LAYOUT))
        self.syntax = self.header.file_meta.TransferSyntaxUID
        self.start, self.length, _ = value_of_pixels(self.stream, self.syntax)
        self.count = int(self.header.get("NumberOfFrames") or 1)
        samples = 2 if self.header.PhotometricInterpretation == "YBR_FULL_422" else self.header.SamplesPerPixel
        self.size = self.header.Rows * self.header.Columns * samples * (self.header.BitsAllocated // 8)

    def blocks(self, number):
        """Frame ``number`` (from 1) in blocks."""
        if self.syntax in NATIVE:
            self.stream.seek(self.start + (number - 1) * self.size)
            left = self.size
            while left and (block := self.stream.read(min(BLOCK, left))):
                left -= len(block)
                yield block
            return
        self.stream.seek(self.start)
        tables = [self.header.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
        offsets = tuple(tables) if all(tables) else None
        yield get_frame(self.stream, number - 1, number_of_frames=self.count, extended_offsets=offsets)

    def check(self, numbers):
        if beyond := [number for number in numbers if number > self.count]:
            raise NotFound("no_frame", f"There are {self.count} frames, and no frame {beyond[0]}.", "They begin at 1.")


def numbers_in(text):
    """'1,3,5' → [1, 3, 5]. Raises InvalidInput."""
    said = text.split(",")
    if len(said) > MOST_FRAMES:
        raise InvalidInput("too_many", f"At most {MOST_FRAMES} frames at once.", "Ask for fewer.", place="frames")
    if not all(one.isascii() and one.isdigit() and len(one) < 9 and int(one) for one in said):
        raise InvalidInput("bad_number", f"{text[:40]!r} are no frames.", "Write 1 or 1,2,5.", place="frames")
    return [int(one) for one in said]


def read_as(summary, number):
    """The place (from 0) at which our reader kept frame ``number``; it keeps up to 64 of a file. Raises NotFound."""
    kept = summary.get("frame_numbers") or list(range(1, summary.get("frames", 1) + 1))
    if number not in kept:
        problem = f"Frame {number} is not among the frames that were read of this file."
        raise NotFound("no_picture", problem, "Fetch it as it is stored: /frames.")
    return kept.index(number)
