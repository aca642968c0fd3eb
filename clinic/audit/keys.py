"""The keys that sign heads: one private, in a file of its own; every public one, old and new, beside the anchors.

A key that follows another is endorsed by it, so that who holds (or pins) the first can believe all that came after.
"""

import contextlib
import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from clinic.canonical import canonical_json, digest

PUBLIC, ENDORSED = ".pub.pem", ".endorsed.json"


def signing_key():
    """The private key and its id; both files are made on first use."""
    path = settings.AUDIT_KEY_FILE
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # another process was quicker: its key counts
            write_new(path, _private_pem(Ed25519PrivateKey.generate()))
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    return key, publish(key)


def publish(key):
    """Put the public half beside the anchors; returns the key's id."""
    public = _public_pem(key)
    key_id = digest(public.decode())[:16]
    settings.AUDIT_ANCHORS.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        write_new(settings.AUDIT_ANCHORS / f"{key_id}{PUBLIC}", public)
    return key_id


def replace_key():
    """A new key, endorsed by the one before, which is forgotten. Returns (old id, new id, the new public key's PEM)."""
    old, old_id = signing_key()
    new = Ed25519PrivateKey.generate()
    new_id = publish(new)
    endorsed = {"key_id": new_id, "public": _public_pem(new).decode(), "by": old_id}
    endorsed["signature"] = old.sign(canonical_json(endorsed)).hex()
    write_new(settings.AUDIT_ANCHORS / f"{new_id}{ENDORSED}", canonical_json(endorsed))
    part = Path(f"{settings.AUDIT_KEY_FILE}.{os.getpid()}.part")
    write_new(part, _private_pem(new))
    part.replace(settings.AUDIT_KEY_FILE)
    return old_id, new_id, endorsed["public"]


def signature_holds(said):
    """Whether ``said`` (with ``key_id`` and ``signature``) was signed by a key that is believed."""
    unsigned = {name: value for name, value in said.items() if name != "signature"}
    return is_believed(said["key_id"]) and _holds(said["key_id"], said["signature"], canonical_json(unsigned))


def is_believed(key_id):
    """Every key beside the anchors is; where the settings pin some, those and whom they endorsed."""
    pinned, seen = settings.AUDIT_TRUSTED_KEYS, set()
    if not pinned:
        return True
    while key_id not in pinned:
        seen.add(key_id)
        endorsed = _endorsement(key_id)
        if endorsed is None or endorsed["by"] in seen:
            return False
        key_id = endorsed["by"]
    return True


def _endorsement(key_id):
    try:
        said = json.loads((settings.AUDIT_ANCHORS / f"{key_id}{ENDORSED}").read_bytes())
        unsigned = {name: said[name] for name in ("key_id", "public", "by")}
    except (OSError, ValueError, KeyError):
        return None
    same = said["key_id"] == key_id == digest(said["public"])[:16]
    return said if same and _holds(said["by"], said["signature"], canonical_json(unsigned)) else None


def _holds(key_id, signature, signed):
    if not key_id.isalnum():
        return False
    try:
        key = _public_key(key_id)
        key.verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError, OSError):
        return False
    return True


def _public_key(key_id):
    """An id is the hash of its key: a file put in another's place is not that key."""
    pem = (settings.AUDIT_ANCHORS / f"{key_id}{PUBLIC}").read_bytes()
    if digest(pem.decode())[:16] != key_id:
        raise ValueError(f"{key_id} is not the key in its file")
    return serialization.load_pem_public_key(pem)


def _private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def write_new(path, content):
    """The file appears whole, with mode 0600, or not at all; FileExistsError where it is there already."""
    part = Path(f"{path}.{os.getpid()}.{os.urandom(4).hex()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(part, path)
    finally:
        part.unlink()
