"""Anchors and public keys brought to where another administrator keeps them: folders, or addresses that take a PUT.

What could not be delivered is tried again at every call; a delivery is a row, so nothing is sent twice for long.
"""

import logging
from pathlib import Path

import httpx
from django.conf import settings

from clinic.audit.anchors import name_of
from clinic.audit.keys import ENDORSED, PUBLIC, write_new
from clinic.audit.models import Anchor, AnchorDelivery
from clinic.canonical import canonical_json

logger = logging.getLogger(__name__)
AT_ONCE = 200
SECONDS = 10


def deliver():
    """Bring every anchor that is not there yet to every target. Returns {target: how many}; a failure is logged."""
    return {target: _deliver_to(target) for target in settings.AUDIT_ANCHOR_TARGETS}


def _deliver_to(target):
    waiting = Anchor.objects.exclude(deliveries__target=target).order_by("seq")[:AT_ONCE]
    done = 0
    for anchor in waiting:
        try:
            for path in _keys():
                _put(target, path.name, path.read_bytes())
            _put(target, name_of(anchor), canonical_json({**anchor.said, "signature": anchor.signature}))
        except (OSError, httpx.HTTPError) as error:
            logger.error("anchor %s was not delivered to %s: %s", anchor.seq, target, type(error).__name__)  # noqa: TRY400
            break
        AnchorDelivery.objects.create(anchor=anchor, target=target)
        done += 1
    return done


def _keys():
    return [path for suffix in (PUBLIC, ENDORSED) for path in sorted(settings.AUDIT_ANCHORS.glob(f"*{suffix}"))]


def _put(target, name, content):
    if target.startswith(("https://", "http://")):
        httpx.put(f"{target.rstrip('/')}/{name}", content=content, timeout=SECONDS).raise_for_status()
        return
    path = Path(target) / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        write_new(path, content)
