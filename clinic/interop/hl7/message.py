"""HL7 v2 as it is sent: segments, fields, repetitions, components. Tolerant of order, empty fields and line ends.

Own, not hl7apy's: a sender's Z-segments, missing optional fields and misplaced NTEs must not cost a result, and what
hl7apy reads depends on the version that a sender claims. hl7apy judges our acknowledgements in the tests.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from django.utils import timezone as zone

from clinic.errors import InvalidInput

CHARSETS = {"": "utf-8", "UNICODE UTF-8": "utf-8", "UNICODE": "utf-8", "UTF-8": "utf-8", "ASCII": "ascii"}
LATIN = re.compile(r"8859/(1|2|3|4|5|6|7|8|9|15)")
TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(?:(\d\d)(?:\.\d{1,6})?)?)?(?:([+-])(\d\d)(\d\d))?")
MOST_SEGMENTS = 5000


@dataclass(frozen=True)
class Separators:
    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    part: str = "&"


@dataclass(frozen=True)
class Segment:
    """``name`` and the raw fields; counted as HL7 does: MSH-1 is the separator itself."""

    name: str
    fields: list
    marks: Separators

    def raw(self, number):
        index = number - 1 if self.name == "MSH" else number
        return self.fields[index] if 0 < index < len(self.fields) else ""

    def repeats(self, number):
        """Every repetition of a field, as a list of its components."""
        return [
            [self._plain(part) for part in one.split(self.marks.component)]
            for one in self.raw(number).split(self.marks.repetition)
        ]

    def text(self, number, component=1):
        first = self.repeats(number)[0]
        return first[component - 1].strip() if component <= len(first) else ""

    def _plain(self, text):
        mark = re.escape(self.marks.escape)
        return re.sub(f"{mark}([^{mark}]{{1,40}}){mark}", self._unescaped, text)

    def _unescaped(self, match):
        code, marks = match[1], self.marks
        known = {"F": marks.field, "S": marks.component, "T": marks.part, "R": marks.repetition, "E": marks.escape}
        if code in known:
            return known[code]
        if code.startswith("X") and re.fullmatch(r"X([0-9A-Fa-f]{2})+", code):
            return bytes.fromhex(code[1:]).decode("latin-1").replace("\0", "")
        return "\n" if code == ".br" else ""


def parse(data):
    """Bytes of one message → its segments, MSH first. Raises InvalidInput (not_hl7, bad_charset, too_large)."""
    header = data.split(b"\r")[0].split(b"\n")[0].decode("latin-1")
    if not header.startswith("MSH") or len(header) < 8:
        problem = "It does not begin with an MSH segment that names its separators."
        raise InvalidInput("not_hl7", problem, "Send HL7 v2 in its vertical-bar form.")
    marks = _separators(header)
    text = _decoded(data, Segment("MSH", header.split(marks.field), marks).text(18))
    if "\0" in text:
        raise InvalidInput("not_hl7", "It holds a zero byte.", "Send text.")
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    if len(lines) > MOST_SEGMENTS:
        raise InvalidInput("too_large", f"It has more than {MOST_SEGMENTS} segments.", "Send fewer results a message.")
    return [Segment(line[:3], line.split(marks.field), marks) for line in lines]


def _separators(header):
    marks = Separators(header[3], *header[4:8])
    distinct = {marks.field, marks.component, marks.repetition, marks.escape, marks.part}
    if len(distinct) != 5 or any(mark.isalnum() or mark.isspace() for mark in distinct):
        raise InvalidInput("not_hl7", "MSH-1 and MSH-2 do not name five separators.", r"Use |^~\&.", place="MSH-2")
    return marks


def _decoded(data, charset):
    latin = LATIN.fullmatch(charset)
    codec = f"iso8859-{latin[1]}" if latin else CHARSETS.get(charset.upper())
    try:
        if codec is None:
            raise LookupError
        return data.decode(codec)
    except (UnicodeDecodeError, LookupError):
        problem = f"The text is not in the character set of MSH-18 ({charset or 'UTF-8, where it names none'})."
        raise InvalidInput("bad_charset", problem, "Name the one it is in.", place="MSH-18") from None


def moment(text):
    """An HL7 time as a datetime, in the server's zone where it names none; None where it is none."""
    match = TIME.fullmatch(text)
    if not match:
        return None
    try:
        plain = datetime(*(int(part or 0) for part in match.groups()[:6]))  # noqa: DTZ001 (its zone follows)
        if match[7]:
            offset = timedelta(hours=int(match[8]), minutes=int(match[9]))
            return plain.replace(tzinfo=timezone(offset if match[7] == "+" else -offset))
        return zone.make_aware(plain)
    except (ValueError, OverflowError):
        return None
