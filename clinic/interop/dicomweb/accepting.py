"""What an Accept header of DICOMweb asks for. Its media types stand inside of multipart/related, with parameters."""

from dataclasses import dataclass
from email.message import Message
from urllib.request import parse_http_list

from pydicom import uid
from rest_framework.exceptions import NotAcceptable

LITTLE_ENDIAN = str(uid.ExplicitVRLittleEndian)
BYTES = "application/octet-stream"
FRAMES = {
    uid.ImplicitVRLittleEndian: BYTES,
    uid.ExplicitVRLittleEndian: BYTES,
    uid.JPEGBaseline8Bit: "image/jpeg",
    uid.JPEG2000Lossless: "image/jp2",
    uid.JPEG2000: "image/jp2",
    uid.RLELossless: "image/dicom-rle",
}
MOST_WANTED = 50


@dataclass(frozen=True)
class Wanted:
    """One media range: ``media_type`` is that of the parts, where it asks for several parts."""

    media_type: str
    syntax: str
    multipart: bool
    q: float

    def takes(self, media_type):
        return self.media_type in {"*/*", media_type, f"{media_type.split('/')[0]}/*"}


def wanted(request):
    """What the client takes, what it likes best first. Nothing said is everything."""
    said = request.headers.get("Accept", "") or "*/*"
    ranges = [_wanted(one) for one in parse_http_list(said)[:MOST_WANTED] if one]
    return sorted((one for one in ranges if one.q > 0), key=lambda one: -one.q)


def _wanted(text):
    header = Message()
    header["Content-Type"] = text.strip()
    kind = text.split(";")[0].strip().lower()
    multipart = kind == "multipart/related"
    inner = str(header.get_param("type", "*/*")).lower() if multipart else kind
    try:
        q = float(str(header.get_param("q", "1")))
    except ValueError:
        q = 0.0
    return Wanted(inner, str(header.get_param("transfer-syntax", "")), multipart, q)


def first_of(request, media_types):
    """The one of ``media_types`` that is liked best. Raises NotAcceptable."""
    for one in wanted(request):
        for media_type in media_types:
            if one.takes(media_type):
                return media_type
    raise NotAcceptable(f"Here there is {' or '.join(media_types)}.")


def form_of_files(request):
    """Whether files are wanted as parts (True) or as the one file that it is. Raises NotAcceptable."""
    for one in wanted(request):
        if one.takes("application/dicom"):
            return one.multipart or one.media_type == "*/*"
    raise NotAcceptable('Here there is multipart/related; type="application/dicom", each file as it came.')


def form_of_frames(request, syntax):
    """The parts' media type for frames that are stored in ``syntax``: as they are, never decoded here."""
    own = FRAMES.get(syntax)
    stored = LITTLE_ENDIAN if own == BYTES else str(syntax)
    for one in wanted(request) if own else ():
        if one.takes(own) and one.syntax in {"", "*", stored}:
            return f"{own}; transfer-syntax={stored}"
        if one.media_type == BYTES and one.syntax in {"*", stored}:
            return f"{BYTES}; transfer-syntax={stored}"
    there = f"multipart/related; type={own}; transfer-syntax={stored}" if own else "no frame, only the file"
    raise NotAcceptable(f"Here there is {there}. Pictures to look at: /rendered.")
