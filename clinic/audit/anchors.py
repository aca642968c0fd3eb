"""Signed heads of the chain, in the database and as files beside it: a chain cut short or made anew fits them no more.

The chain alone shows any change within it; only a head kept elsewhere shows that its end is gone, or that somebody
wrote all of it again. An anchor also carries a trail, the beginnings of the hashes since the anchor before, so that
the first event that was written anew can be named. Copy the folder of anchors to a machine whose administrator is
somebody else (see ``delivery``). The public keys in that folder are the ones believed.
"""

import contextlib
import heapq
import json
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from clinic.audit.keys import replace_key, signing_key, write_new
from clinic.audit.models import Action, Anchor, AuditEvent
from clinic.canonical import canonical_json

FIRST_FORM = ("seq", "hash", "at", "key_id")  # of anchors from before there were trails
KINDS = {"seq": int, "hash": str, "at": str, "key_id": str, "signature": str}
TRAIL_MOST, TRAIL_DIGITS = 4096, 8


def anchor_head():
    """Sign the newest committed event and write the anchor beside the database. None where there is no event yet."""
    with transaction.atomic(durable=True):
        head = AuditEvent.objects.order_by("-seq").first()
        if head is None:
            return None
        key, key_id = signing_key()
        if anchor := Anchor.objects.filter(seq=head.seq, hash=head.hash).first():
            return anchor
        said = {"seq": head.seq, "hash": head.hash, "at": timezone.now().isoformat(), "key_id": key_id, **_trail(head)}
        signature = key.sign(canonical_json(said)).hex()
        anchor = _kept(said, signature)
        with contextlib.suppress(FileExistsError):
            write_new(settings.AUDIT_ANCHORS / name_of(anchor), canonical_json(said | {"signature": signature}))
        return anchor


def _kept(said, signature):
    columns = {name: said[name] for name in FIRST_FORM}
    try:
        with transaction.atomic():
            return Anchor.objects.create(**columns, signature=signature, said=said)
    except IntegrityError:  # another process anchored the same head just now
        return Anchor.objects.get(seq=said["seq"])


def name_of(anchor):
    return f"{anchor.seq:012d}-{anchor.hash[:12]}.json"


def _trail(head):
    """Where the trail begins, at every how many events it has a hash, and the hashes' first digits."""
    before = Anchor.objects.filter(seq__lt=head.seq).order_by("-seq").values_list("seq", flat=True).first() or 0
    step = -(-(head.seq - before) // TRAIL_MOST)
    kept, digits = range(before + step, head.seq + 1, step), []
    events = AuditEvent.objects.filter(seq__gt=before, seq__lte=head.seq).order_by("seq")
    for seq, value in events.values_list("seq", "hash").iterator(chunk_size=5000):
        if seq in kept:
            digits.append(value[:TRAIL_DIGITS])
    return {"since": before, "step": step, "trail": "".join(digits)}


def anchor_when_due():
    """Anchor the head where the newest anchor is older than the settings want. Returns the anchor, or None."""
    newest = Anchor.objects.order_by("-seq").first()
    due = newest is None or timezone.now() - newest.at >= timedelta(seconds=settings.ANCHOR_SECONDS)
    return anchor_head() if due else None


def rotate_key(*, by=None):
    """Anchor with the key there is, go on with a new one, and say so in the log. Returns (old id, new id)."""
    from clinic.audit.services import record  # noqa: PLC0415 (which verifies, and so knows the anchors)

    anchor_head()
    old, new, public = replace_key()
    with transaction.atomic():
        record(Action.KEY_ROTATE, by=by, detail={"what": "audit", "from": old, "to": new, "public": public})
    anchor_head()
    return old, new


def all_anchors(from_seq=1):
    """Every anchor from ``from_seq`` on, from rows and files, by ``seq``, one at a time: (said, where).

    ValueError names a file that cannot be read.
    """
    rows = Anchor.objects.filter(seq__gte=from_seq).order_by("seq").iterator(chunk_size=200)
    of_rows = ((_said_by(row), f"anchor {row.seq} in the database") for row in rows)
    return heapq.merge(of_rows, _of_files(from_seq), key=lambda pair: pair[0]["seq"])


def _of_files(from_seq):
    for path in sorted(settings.AUDIT_ANCHORS.glob("[0-9]*-*.json")):
        if not path.name[:12].isdecimal() or int(path.name[:12]) >= from_seq:
            yield _read(path), f"anchor file {path.name}"


def _said_by(row):
    """As signed; a row whose columns were changed says what its columns say, which is not what was signed."""
    columns = {"seq": row.seq, "hash": row.hash, "key_id": row.key_id, "signature": row.signature}
    return {**row.said, **columns} if row.said else {**columns, "at": row.at.isoformat()}


def _read(path):
    try:
        said = json.loads(path.read_bytes())
        if any(not isinstance(said[name], kind) for name, kind in KINDS.items()):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"anchor file {path.name} cannot be read") from error
    if int(path.name[:12]) != said["seq"]:
        raise ValueError(f"anchor file {path.name} is not of the event that its name says")
    return said
