"""The private store: every file under the SHA-256 of its content. Nothing here is ever served by a static route."""

import hashlib
import os
import re
import tempfile
import unicodedata
from pathlib import Path

from django.conf import settings

from clinic.errors import InvalidInput, TooLarge

SHA256 = re.compile(r"[0-9a-f]{64}")
UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, bidirectional and other invisible characters


def path_of(sha256):
    if not SHA256.fullmatch(sha256):
        raise ValueError("not a SHA-256 in hex")
    return settings.FILES_ROOT / sha256[:2] / sha256[2:4] / sha256


def canonical_dir(item):
    """Where the reader keeps what it made of an item."""
    return settings.FILES_ROOT / "canonical" / str(item.pk)


def store(chunks, *, place="file"):
    """Write ``chunks`` of bytes, hashing on the way; the file appears whole or not at all. Returns (sha256, size)."""
    part, sha256, size = None, hashlib.sha256(), 0
    waiting_room = settings.FILES_ROOT / "incoming"
    waiting_room.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, part = tempfile.mkstemp(dir=waiting_room)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            for chunk in chunks:
                size += len(chunk)
                check_size(size, place)
                sha256.update(chunk)
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if not size:
            raise InvalidInput("empty", "The file is empty.", "Export it again and send the new one.", place=place)
        target = path_of(sha256.hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(part).replace(target)
    finally:
        Path(part).unlink(missing_ok=True)
    return sha256.hexdigest(), size


def store_bytes(data):
    return store([data])[0]


def check_size(size, place):
    if size > settings.UPLOAD_MAX_BYTES:
        limit = f"{settings.UPLOAD_MAX_BYTES // 1024**2} MiB"
        raise TooLarge(
            "too_large", f"The file is larger than {limit}.", "Send a smaller export or region.", place=place
        )


def display_name(filename):
    """A file's name, safe to show and to log in a header: no folders, nothing invisible, at most 200 characters."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", filename)[-1])
    name = "".join(c for c in name if unicodedata.category(c) not in UNPRINTABLE)
    stem, dot, suffix = " ".join(name.split()).rpartition(".")
    return f"{stem[: 199 - len(suffix)]}{dot}{suffix}"[:200].strip() or "unnamed"
