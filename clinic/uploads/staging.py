"""Where the parts of an unfinished upload wait: each sealed, in a file named by where it begins."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from clinic.cases import keyring
from clinic.cases.sealing import Damaged, Opened, Sealer
from clinic.errors import InvalidInput

BLOCK = 1024 * 1024


def path_of(upload):
    """The folder of its parts."""
    return settings.FILES_ROOT / "incoming" / f"upload-{upload.pk}"


@contextmanager
def received(upload, offset, chunks):
    """Seal ``chunks`` as the part at ``offset``. Yields (how many bytes, a function that puts the part in its place);
    what was not put there is gone after the block. Raises InvalidInput where it is more than the file was to have.
    """
    folder = path_of(upload)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=folder, prefix="new-")  # mode 0600
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            size = _sealed(stream, upload, offset, chunks)
        yield size, lambda: new.replace(folder / str(offset)) if size else None
    finally:
        new.unlink(missing_ok=True)


def _sealed(stream, upload, offset, chunks):
    sealer = Sealer(stream)
    for chunk in chunks:
        if offset + sealer.size + len(chunk) > upload.size:
            problem = f"More bytes came than the {upload.size} that were announced."
            raise InvalidInput("too_many_bytes", problem, "Send the file again.", place=upload.filename)
        sealer.write(chunk)
    sealer.close(keyring.ring(), _address(upload, offset))
    stream.flush()
    os.fsync(stream.fileno())
    return sealer.size


def read(upload):
    """The whole, in blocks. Raises Damaged where a part is missing or is not what was put there."""
    place, ring = 0, keyring.ring()
    for offset in sorted(int(path.name) for path in path_of(upload).iterdir() if path.name.isdigit()):
        if offset != place:
            break
        with (path_of(upload) / str(offset)).open("rb") as stream:
            part = Opened(stream, ring, _address(upload, offset))
            while block := part.read(BLOCK):
                place += len(block)
                yield block
    if place != upload.size:
        raise Damaged(f"upload {upload.pk} has {place} of its {upload.size} bytes.")


def _address(upload, offset):
    return f"incoming/{upload.pk}/{offset}"


def remove(upload):
    shutil.rmtree(path_of(upload), ignore_errors=True)
