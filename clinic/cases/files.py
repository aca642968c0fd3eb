"""The private store: every file sealed, under the SHA-256 of its plain content. No static route ever serves it.

``opened`` and ``opened_canonical`` give a stream of plain bytes; ``plain`` and ``plain_canonical`` a file or a folder
that a reader can open, in a private place and only within the block. What a browser gets goes through
``cases.downloads``.
"""

import hashlib
import io
import os
import re
import shutil
import tempfile
import unicodedata
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from clinic.cases import keyring
from clinic.cases.sealing import MAGIC, Damaged, Opened, Sealer
from clinic.errors import InvalidInput, TooLarge

SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")  # of a reader's own files
UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, bidirectional and other invisible characters
BLOCK = 1024 * 1024
INCOMING, CANONICAL, WORK = "incoming", "canonical", "work"


def place_of(sha256):
    """Where the sealed file lies."""
    if not SHA256.fullmatch(sha256):
        raise ValueError("not a SHA-256 in hex")
    return settings.FILES_ROOT / sha256[:2] / sha256[2:4] / sha256


def canonical_place(item):
    """Where that which a reader made of an item lies, sealed."""
    return settings.FILES_ROOT / CANONICAL / str(item.pk)


def sha256_of(path):
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def exists(sha256):
    return bool(sha256) and place_of(sha256).is_file()


def store(chunks, *, place="file"):
    """Seal ``chunks`` of bytes, hashing on the way; the file appears whole or not at all. Returns (sha256, size)."""
    sha256, sealed = hashlib.sha256(), None
    waiting_room = settings.FILES_ROOT / INCOMING
    waiting_room.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, part = tempfile.mkstemp(dir=waiting_room)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            sealed = Sealer(stream)
            for chunk in chunks:
                check_size(sealed.size + len(chunk), place)
                sha256.update(chunk)
                sealed.write(chunk)
            if not sealed.size:
                raise InvalidInput("empty", "The file is empty.", "Export it again and send the new one.", place=place)
            sealed.close(keyring.ring(), sha256.hexdigest())
            stream.flush()
            os.fsync(stream.fileno())
        target = place_of(sha256.hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(part).replace(target)
    finally:
        Path(part).unlink(missing_ok=True)
    return sha256.hexdigest(), sealed.size


def store_bytes(data):
    return store([data])[0]


def opened(sha256):
    """The plain bytes of a stored file, as a stream that can seek. FileNotFoundError, Damaged."""
    return _open(place_of(sha256), sha256)


def blocks(sha256):
    """The plain bytes of a stored file, in blocks: what ``store`` takes."""
    with opened(sha256) as stream:
        while block := stream.read(BLOCK):
            yield block


@contextmanager
def plain(sha256, name="file"):
    """A stored file in the clear, under ``name`` in a private folder, for a reader that wants a path."""
    with workplace() as folder:
        path = folder / _file_name(name)
        _pour(opened(sha256), path)
        yield path


def keep_canonical(item, folder):
    """Seal the files that a reader wrote into ``folder`` (flat), in place of what it made of the item before."""
    target = canonical_place(item)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True, mode=0o700)
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink()):
        with path.open("rb") as stream, (target / path.name).open("xb") as out:
            sealed = Sealer(out)
            for block in iter(lambda: stream.read(BLOCK), b""):
                sealed.write(block)
            sealed.close(keyring.ring(), canonical_address(item.pk, path.name))


def opened_canonical(item, name):
    """One file that a reader made of an item, as a stream. FileNotFoundError where there is none of that name."""
    if not NAME.fullmatch(name):
        raise FileNotFoundError(name)
    return _open(canonical_place(item) / name, canonical_address(item.pk, name))


@contextmanager
def plain_canonical(item):
    """All that a reader made of an item, in the clear in a private folder."""
    with workplace() as folder:
        for path in sorted(canonical_place(item).iterdir()):
            _pour(opened_canonical(item, path.name), folder / path.name)
        yield folder


@contextmanager
def workplace():
    """A private folder for plain bytes, gone after the block; what a killed process left there, ``collect`` removes."""
    room = settings.FILES_ROOT / WORK
    room.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=room) as folder:
        yield Path(folder)


def canonical_address(pk, name):
    return f"canonical/{pk}/{name}"


def _open(path, address):
    """A file of the store. One from before files were sealed is plain, and believed only if its hash fits."""
    stream = path.open("rb")
    try:
        if stream.read(len(MAGIC)) != MAGIC:
            stream.seek(0)
            if SHA256.fullmatch(address) and hashlib.file_digest(stream, "sha256").hexdigest() != address:
                raise Damaged(f"{address} is not what was stored.")
            stream.seek(0)
            return stream
        return io.BufferedReader(Opened(stream, keyring.ring(), address), BLOCK // 4)
    except BaseException:
        stream.close()
        raise


def _pour(stream, path):
    with stream, os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        shutil.copyfileobj(stream, out, BLOCK)


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


def _file_name(name):
    """A name where a file system can carry it: at most 255 bytes, not a folder's."""
    short = display_name(name).encode()[-250:].decode(errors="ignore")
    return short if short.strip(". ") else "file"
