"""multipart/related (RFC 2387) in and out, without holding a body in memory."""

import mmap
import secrets
import tempfile
from contextlib import contextmanager
from email.message import Message

from rest_framework.exceptions import UnsupportedMediaType

from clinic.errors import InvalidInput, TooLarge

BLOCK = 1024**2
MOST_PARTS = 1000


@contextmanager
def received(request, most_bytes):
    """The parts of a request as (media type, start, end) of a file's bytes. Yields (the bytes, the list)."""
    boundary = _boundary(request.META.get("CONTENT_TYPE", ""))
    with tempfile.TemporaryFile() as file:
        size = 0
        while block := request.read(BLOCK):
            size += len(block)
            if size > most_bytes:
                raise TooLarge("too_large", f"One request may carry {most_bytes // BLOCK} MiB.", "Send fewer at once.")
            file.write(block)
        if not size:
            raise InvalidInput("empty", "The request has no body.", "Send at least one instance.")
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data, _split(data, b"--" + boundary)


def _boundary(content_type):
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/related":
        raise UnsupportedMediaType(content_type[:100])
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 70:
        problem = "The body is no multipart/related with a boundary."
        raise InvalidInput("not_multipart", problem, 'Send multipart/related; type="application/dicom".')
    return boundary.encode("latin-1", "replace")


def _split(data, mark):
    found, at = [], data.find(mark)
    while at >= 0 and data[at + len(mark) : at + len(mark) + 2] != b"--":
        after = data.find(b"\r\n" + mark, at + len(mark))
        head = data.find(b"\r\n\r\n", at)
        if after < 0 or head < 0 or head + 4 > after + 2:
            raise InvalidInput("bad_multipart", "A part has no end or no header.", "Send every part whole.")
        found.append((_media_type(data[at + len(mark) : head]), min(head + 4, after), after))
        if len(found) > MOST_PARTS:
            raise TooLarge("too_many", f"One request may carry {MOST_PARTS} instances.", "Send fewer at once.")
        at = after + 2
    if not found:
        raise InvalidInput("bad_multipart", "The body has no part.", "Send at least one instance.")
    return found


def _media_type(head):
    for line in head[:4000].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-type":
            return value.decode("latin-1").split(";")[0].strip().lower()
    return ""


def blocks(data, start, end):
    for at in range(start, end, BLOCK):
        yield data[at : min(at + BLOCK, end)]


def sent(files, media_type="application/dicom"):
    """(content type, blocks) of an answer with ``files``: functions that give blocks."""
    boundary = secrets.token_hex(16)

    def write():
        for file in files:
            yield f"--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode()
            yield from file()
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    kind, _, parameters = media_type.partition(";")
    said = f'multipart/related; type="{kind}"; {parameters.strip()}'.rstrip("; ")
    return f"{said}; boundary={boundary}", write()
