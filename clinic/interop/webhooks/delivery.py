"""Deliver what is due: signed, to the resolved address, no redirects; again with growing pauses, until given up."""

import hashlib
import hmac
import json
import logging
import time
from datetime import timedelta

import httpx
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from clinic.errors import InvalidInput
from clinic.interop.webhooks.models import Delivery, DeliveryStatus
from clinic.interop.webhooks.targets import resolve

logger = logging.getLogger(__name__)

PAUSES = (5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)  # seconds; then it is dead
CLAIM_SECONDS = 60  # a worker that dies over a delivery leaves it to the next one after this
SECONDS = httpx.Timeout(5, read=10)
AT_ONCE = 20


def secret_of(webhook):
    """What its messages are signed with: derived from the server's own key, so that no table holds it."""
    key = settings.SECRET_KEY.encode()
    return "whsec_" + hmac.new(key, f"webhook:{webhook.pk}".encode(), hashlib.sha256).hexdigest()


def signature(secret, timestamp, body):
    """HMAC-SHA256 over ``timestamp.body``, in hex."""
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def deliver_due():
    """Try every delivery that is due. Returns how many were tried. Safe to run in several places at once."""
    due = Delivery.objects.filter(status=DeliveryStatus.WAITING, due_at__lte=timezone.now(), webhook__active=True)
    tried = 0
    for pk in due.order_by("due_at").values_list("pk", flat=True)[:AT_ONCE]:
        tried += _deliver(pk)
    return tried


def _deliver(pk):
    delivery = _claim(pk)
    if delivery is None:
        return 0
    answer, taken = _send(delivery)
    _settle(delivery, answer, taken)
    return 1


@transaction.atomic
def _claim(pk):
    now = timezone.now()
    claimed = Delivery.objects.filter(pk=pk, status=DeliveryStatus.WAITING, due_at__lte=now).update(
        due_at=now + timedelta(seconds=CLAIM_SECONDS), attempts=F("attempts") + 1, last_attempt_at=now
    )
    return Delivery.objects.select_related("webhook", "event").get(pk=pk) if claimed else None


def body_of(event):
    said = {"id": str(event.pk), "type": event.type, "at": event.at.isoformat(), "data": event.body}
    return json.dumps(said, separators=(",", ":"), sort_keys=True).encode()


def _send(delivery):
    """(what came of it, whether it was taken)."""
    try:
        target = resolve(delivery.webhook.url)
    except InvalidInput as refused:
        return f"refused: {refused.problem}", False
    body, timestamp = body_of(delivery.event), str(int(time.time()))
    headers = {
        "Host": target.authority,
        "Content-Type": "application/json",
        "User-Agent": "Marrow",
        "Marrow-Event-Id": str(delivery.event_id),
        "Marrow-Timestamp": timestamp,
        "Marrow-Signature": f"v1={signature(secret_of(delivery.webhook), timestamp, body)}",
    }
    try:
        status = _post(target, body, headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
        return f"no answer: {type(fault).__name__}", False
    return f"HTTP {status}", 200 <= status < 300


def _post(target, body, headers):
    """The status of the first address that answers; what else it says is of no interest."""
    with httpx.Client(timeout=SECONDS, follow_redirects=False, trust_env=False) as client:
        for url in target.urls:
            request = client.build_request(
                "POST", url, content=body, headers=headers, extensions={"sni_hostname": target.host}
            )
            try:
                answered = client.send(request, stream=True)
            except httpx.ConnectError:
                continue
            answered.close()
            return answered.status_code
    raise httpx.ConnectError("no address answers")


@transaction.atomic
def _settle(delivery, answer, taken):
    last = {"last_answer": answer[:300]}
    if taken:
        last["status"] = DeliveryStatus.DELIVERED
    elif delivery.attempts > len(PAUSES):
        last["status"] = DeliveryStatus.DEAD
        logger.warning("webhook %s: event %s was given up: %s", delivery.webhook_id, delivery.event_id, answer)
    else:
        last["due_at"] = timezone.now() + timedelta(seconds=PAUSES[delivery.attempts - 1])
    Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts, status=DeliveryStatus.WAITING).update(**last)
