"""Signed heads of the chain, in the database and as files beside it: a chain cut short or made anew fits them no more.

The chain alone shows any change within it; only a head kept elsewhere shows that its end is gone. Copy the folder of
anchors to a machine whose administrator is somebody else. The public keys in that folder are the ones believed.
"""

import contextlib
import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clinic.audit.models import Anchor, AuditEvent
from clinic.canonical import canonical_json, digest

SIGNED = ("seq", "hash", "at", "key_id")


@transaction.atomic(durable=True)
def anchor_head():
    """Sign the newest committed event and write the anchor beside the database. None where there is no event yet."""
    head = AuditEvent.objects.order_by("-seq").first()
    if head is None:
        return None
    key, key_id = _signing_key()
    if anchor := Anchor.objects.filter(seq=head.seq, hash=head.hash).first():
        return anchor
    said = {"seq": head.seq, "hash": head.hash, "at": timezone.now().isoformat(), "key_id": key_id}
    said["signature"] = key.sign(canonical_json(said)).hex()
    anchor = Anchor.objects.create(**said)
    name = f"{head.seq:012d}-{head.hash[:12]}.json"
    _write_new(settings.AUDIT_ANCHORS / name, canonical_json(said))
    return anchor


def all_anchors():
    """Every anchor there is, from rows and files, by ``seq``: (said, where). ValueError names an unreadable file."""
    rows = [(_said_by(row), f"anchor {row.seq} in the database") for row in Anchor.objects.all()]
    files = [(_read(path), f"anchor file {path.name}") for path in sorted(settings.AUDIT_ANCHORS.glob("*.json"))]
    return sorted(rows + files, key=lambda pair: pair[0]["seq"])


def signature_holds(said):
    key_file = settings.AUDIT_ANCHORS / f"{said['key_id']}.pub.pem"
    if not said["key_id"].isalnum() or not key_file.is_file():
        return False
    key = serialization.load_pem_public_key(key_file.read_bytes())
    try:
        key.verify(bytes.fromhex(said["signature"]), canonical_json({name: said[name] for name in SIGNED}))
    except (InvalidSignature, ValueError):
        return False
    return True


def _said_by(row):
    said = {name: getattr(row, name) for name in (*SIGNED, "signature")}
    return said | {"at": row.at.isoformat()}


def _read(path):
    try:
        said = json.loads(path.read_bytes())
        return {
            name: kind(said[name]) for name, kind in zip((*SIGNED, "signature"), (int, str, str, str, str), strict=True)
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"anchor file {path.name} cannot be read") from error


def _signing_key():
    """The private key and its id; both files are made on first use."""
    path = settings.AUDIT_KEY_FILE
    if not path.exists():
        fresh = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with contextlib.suppress(FileExistsError):  # another process was quicker: its key counts
            _write_new(path, fresh)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key_id = digest(public.decode())[:16]
    settings.AUDIT_ANCHORS.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        _write_new(settings.AUDIT_ANCHORS / f"{key_id}.pub.pem", public)
    return key, key_id


def _write_new(path, content):
    """The file appears whole, with mode 0600, or not at all; FileExistsError where it is there already."""
    part = Path(f"{path}.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(part, path)
    finally:
        part.unlink()
