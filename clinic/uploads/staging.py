"""Where the bytes of an unfinished upload wait, each in a file of its own that nobody else reads."""

import os

from django.conf import settings

from clinic.errors import InvalidInput

BLOCK = 1024 * 1024


def path_of(upload):
    return settings.FILES_ROOT / "incoming" / f"upload-{upload.pk}"


def write(upload, offset, chunks):
    """Put ``chunks`` at ``offset``; what was there of an earlier, unacknowledged try is written over. Returns how many
    bytes. Raises InvalidInput where they are more than the file was to have.
    """
    path = path_of(upload)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = offset
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(handle, "wb", closefd=True) as stream:
        stream.seek(offset)
        for chunk in chunks:
            place += len(chunk)
            if place > upload.size:
                problem = f"More bytes came than the {upload.size} that were announced."
                raise InvalidInput("too_many_bytes", problem, "Send the file again.", place=upload.filename)
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    return place - offset


def read(upload):
    return _blocks(path_of(upload))


def _blocks(path):
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            yield block


def remove(upload):
    path_of(upload).unlink(missing_ok=True)
