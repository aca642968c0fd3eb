"""The keys that seal the store: the first seals, every one opens.

From the environment (``MARROW_FILE_KEYS``: ``id:base64,id:base64``), or from a file of such words, made on first use.
"""

import base64
import binascii
import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEY_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Ring:
    current: str
    keys: dict = field(repr=False)


def ring():
    """The key ring now; a running process sees a rotated key file at its next file."""
    words = settings.FILE_KEYS or _from_file(settings.FILE_KEYS_FILE)
    keys = dict(_parsed(word) for word in words)
    if not keys:
        raise ImproperlyConfigured("There is no key for the files. Run: manage.py rotate_file_keys")
    return Ring(next(iter(keys)), keys)


def new_word():
    """A fresh key, as one word of the ring."""
    return f"{os.urandom(8).hex()}:{base64.b64encode(AESGCM.generate_key(256)).decode()}"


def add_key():
    """Put a fresh key before those of the key file. ImproperlyConfigured where the ring is the environment's."""
    if settings.FILE_KEYS:
        problem = "The keys come from the environment: put a new one first in MARROW_FILE_KEYS yourself."
        raise ImproperlyConfigured(f"{problem} For example: {new_word().partition(':')[0]}:… (see new_file_key).")
    path = settings.FILE_KEYS_FILE
    words = [new_word(), *_from_file(path)]
    part = Path(f"{path}.{os.getpid()}.part")
    _write(part, words)
    part.replace(path)


def _parsed(word):
    key_id, _, encoded = word.strip().partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if not KEY_ID.fullmatch(key_id) or len(key) != 32:
        problem = "A key of the files is 16 hexadecimal digits, a colon, and 32 bytes in base64"
        raise ImproperlyConfigured(f"{problem}; one beginning with {key_id[:16]!r} is not. See: manage.py new_file_key")
    return key_id, key


def _from_file(path):
    path = Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = Path(f"{path}.{os.getpid()}.{os.urandom(4).hex()}.part")
        _write(part, [new_word()])
        with contextlib.suppress(FileExistsError):  # another process was quicker: its key counts
            os.link(part, path)
        part.unlink()
    return path.read_text().split()


def _write(path, words):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write("\n".join(words) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
