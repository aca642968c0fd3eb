"""The acknowledgement: AA taken, AE not taken (an error in it, or ours), AR refused as no message of ours."""

from django.utils import timezone

from clinic.interop.hl7.message import Separators

ERRORS = {  # of HL7 table 0357
    "missing": ("101", "Required field missing"),
    "not_hl7": ("100", "Segment sequence error"),
    "bad_charset": ("102", "Data type error"),
    "other_type": ("200", "Unsupported message type"),
    "not_production": ("202", "Unsupported processing id"),
    "other_version": ("203", "Unsupported version id"),
    "changed_message": ("205", "Duplicate key identifier"),
    "internal": ("207", "Application internal error"),
}
MARKS = Separators()


def escaped(text):
    """Text as a field's content: no separator and no line end of it reaches the message."""
    for mark, code in (("\\", "E"), ("|", "F"), ("^", "S"), ("~", "R"), ("&", "T")):
        text = text.replace(mark, "\0" if mark == "\\" else f"\\{code}\\")
    return " ".join(text.split()).replace("\0", "\\E\\")


def acknowledgement(code, header=None, *, control_id="", error=None):
    """``header``: the MSH segment that is answered, where it could be read; ``error``: a MarrowError."""
    said = (lambda number: escaped(header.text(number))) if header else (lambda _: "")
    now, own = timezone.now(), f"MARROW{timezone.now():%Y%m%d%H%M%S%f}"
    version = said(12) if said(12).startswith("2.") else "2.5.1"
    kind = f"ACK^{(escaped(header.text(9, 2)) if header else '') or 'R01'}^ACK"
    segments = [
        "|".join(["MSH", "^~\\&", "MARROW", said(6), said(3), said(4), f"{now:%Y%m%d%H%M%S%z}", "", kind, own])
        + f"|{said(11) or 'P'}|{version}||||||UNICODE UTF-8",
        f"MSA|{code}|{escaped(control_id)}",
    ]
    if error:
        number, text = ERRORS.get(error.code, ("207", "Application internal error"))
        segments.append(f"ERR||{escaped(error.place)}|{number}^{text}^HL70357|E||||{escaped(error.detail)[:250]}")
    return ("\r".join(segments) + "\r").encode()
