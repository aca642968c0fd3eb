"""Whether the log is what was written: every event against the one before, every signed anchor against the events.

One pass, one event at a time. It goes on from where the last one ended: a mark, signed like an anchor, so that whoever
can write to the database alone cannot move it. ``full`` begins at the first event whatever the mark says.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from clinic.audit.anchors import TRAIL_DIGITS, all_anchors
from clinic.audit.chain import GENESIS, fault_in
from clinic.audit.keys import signature_holds, signing_key, write_new
from clinic.audit.models import Anchor, AuditEvent
from clinic.canonical import canonical_json

MARK = "verified.json"
SCAN_LAST = 10_000


@dataclass(frozen=True)
class VerifyResult:
    """``count`` events hold from ``from_seq`` on; ``head`` is the hash of the last of them.

    Up to ``anchored_to`` they are also those that were signed; from there to ``to_seq`` only the chain itself speaks
    for them: whoever can write to the database could have written them again.
    """

    ok: bool
    from_seq: int
    count: int
    first_bad: int | None
    why: str
    head: str
    anchored_to: int | None

    @property
    def to_seq(self):
        return self.from_seq + self.count - 1

    @property
    def ranges(self):
        """(first, last, whether signed) of what holds."""
        signed_to = min(max(self.anchored_to or 0, self.from_seq - 1), self.to_seq)
        parts = ((self.from_seq, signed_to, True), (signed_to + 1, self.to_seq, False))
        return [part for part in parts if part[0] <= part[1]]


class _Anchors:
    """The anchors as they come up; each judged before its trail is believed."""

    def __init__(self, from_seq):
        self.coming, self.good = all_anchors(from_seq), None
        self.waiting, self.last_seen = [], 0
        self._next()

    def _next(self):
        self.pair = next(self.coming, None)
        if self.pair:
            self.last_seen = self.pair[0]["seq"]
            self.holds = signature_holds(self.pair[0])

    def fault_of(self, event):
        """Why ``event`` is not the one that was signed; empty where no anchor says so."""
        while self.pair:
            said, where = self.pair
            if self.holds and self._off_trail(said, event):
                return f"it is not the event that was signed ({where}, {said['at']}): it was written anew"
            if said["seq"] != event.seq:
                return ""
            if not self.holds:
                return f"the signature of {where} does not hold"
            if said["hash"] != event.hash:
                return f"the chain up to here is not the one that was signed ({where}, {said['at']})"
            self.good = event.seq
            self._next()
        return ""

    def _off_trail(self, said, event):
        if "trail" not in said or event.seq <= said["since"] or (event.seq - said["since"]) % said["step"]:
            return False
        at = ((event.seq - said["since"]) // said["step"] - 1) * TRAIL_DIGITS
        return said["trail"][at : at + TRAIL_DIGITS] != event.hash[:TRAIL_DIGITS]

    def beyond(self):
        """The last anchor that no event came up for, or None."""
        last = self.pair
        for pair in self.coming:
            last = pair
        return last


def verify(from_seq=1):
    """Check the chain from ``from_seq`` to its end, and every anchor on the way; stop at the first bad event."""
    before = AuditEvent.objects.filter(seq=from_seq - 1).values_list("hash", flat=True).first()
    seq, head, good = from_seq - 1, before or GENESIS, _signed_before(from_seq)
    rows = AuditEvent.objects.filter(seq__gte=from_seq) if from_seq > 1 else AuditEvent.objects.all()

    def result(why, *, ok=False):
        return VerifyResult(ok, from_seq, seq + 1 - from_seq, None if ok else seq + 1, why, head, good)

    try:
        anchors = _Anchors(from_seq)
        for event in rows.order_by("seq").iterator(chunk_size=1000):
            why = fault_in(event, seq=seq + 1, prev_hash=head) or anchors.fault_of(event)
            good = anchors.good or good
            if why:
                return result(why)
            seq, head = event.seq, event.hash
        if lost := anchors.beyond():
            return result(f"the end of the chain is gone: {lost[1]} knows events up to number {lost[0]['seq']}")
    except ValueError as error:
        return result(str(error))
    return result("", ok=True)


def _signed_before(from_seq):
    """The newest anchor before ``from_seq``, which an earlier pass has checked."""
    return Anchor.objects.filter(seq__lt=from_seq).aggregate(seq=Max("seq"))["seq"]


def verify_on(*, full=False):
    """Check what came since the last good pass (or all), and set the mark to the last anchor of what holds.

    Where an event before the mark is missing, or the marked one is another, all is checked.
    """
    mark = None if full else read_mark()
    if mark and not _still_there(mark):
        mark = None
    result = verify(mark["seq"] + 1 if mark else 1)
    if result.ok and result.anchored_to and (not mark or result.anchored_to > mark["seq"]):
        _write_mark(result)
    return result


def read_mark():
    """How far the last good pass has come, if the mark is one of ours."""
    try:
        said = json.loads((settings.AUDIT_ANCHORS / MARK).read_bytes())
        return said if isinstance(said["seq"], int) and signature_holds(said) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _still_there(mark):
    same = AuditEvent.objects.filter(seq=mark["seq"], hash=mark["hash"]).exists()
    return same and AuditEvent.objects.filter(seq__lte=mark["seq"]).count() == mark["seq"]


def _write_mark(result):
    key, key_id = signing_key()
    event_hash = AuditEvent.objects.values_list("hash", flat=True).get(seq=result.anchored_to)
    said = {"seq": result.anchored_to, "hash": event_hash, "at": timezone.now().isoformat(), "key_id": key_id}
    said["signature"] = key.sign(canonical_json(said)).hex()
    part = Path(f"{settings.AUDIT_ANCHORS / MARK}.{os.getpid()}.new")
    with contextlib.suppress(FileExistsError):
        write_new(part, canonical_json(said))
        part.replace(settings.AUDIT_ANCHORS / MARK)


def chain_state(*, full=False):
    """The state of the chain for a page: its last events checked, or all of them."""
    newest = AuditEvent.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
    return verify(1 if full else max(1, newest - SCAN_LAST + 1))
