"""A site's webhooks, and what could not be delivered. ``by`` is the one who acts: an administrator of the site."""

from django.db import transaction
from django.utils import timezone

from clinic.accounts.access import require, sites_where
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.errors import Conflict, InvalidInput
from clinic.interop.webhooks.delivery import secret_of
from clinic.interop.webhooks.models import Delivery, DeliveryStatus, EventType, Webhook
from clinic.interop.webhooks.targets import resolve

ACT = "user.manage"
MOST = 20


def webhooks_visible_to(user):
    return Webhook.objects.filter(site__in=sites_where(user, ACT)).select_related("site")


def deliveries_visible_to(user):
    return Delivery.objects.filter(webhook__in=webhooks_visible_to(user)).select_related("webhook__site", "event")


def create_webhook(*, site, url, events, by):
    """Returns (webhook, its secret, told once). The target is resolved and judged before anything is kept."""
    require(by, ACT, site)
    if unknown := sorted(set(events) - set(EventType.values)) or not events:
        problem = f"There is no event {', '.join(unknown)}." if isinstance(unknown, list) else "It names no event."
        raise InvalidInput("unknown_event", problem, f"Use some of {', '.join(EventType.values)}.", place="events")
    resolve(url)
    with transaction.atomic():
        if Webhook.objects.filter(site=site, active=True).count() >= MOST:
            raise Conflict("too_many", f"A site has at most {MOST} webhooks.", "Switch one off first.")
        webhook = Webhook.objects.create(site=site, url=url, events=sorted(set(events)), created_by=by)
        said = {"url": url, "events": webhook.events}
        record(Action.WEBHOOK_CREATE, by=by, obj=webhook, site=site, detail=said)
    return webhook, secret_of(webhook)


@transaction.atomic
def switch_webhook(*, webhook, active, by):
    require(by, ACT, webhook.site, obj=webhook)
    webhook.active = active
    webhook.save(update_fields=["active"])
    record(Action.WEBHOOK_CHANGE, by=by, obj=webhook, site=webhook.site, detail={"active": active})


@transaction.atomic
def replay(*, delivery, by):
    """Send a dead delivery again: the same event, under its own id."""
    site = delivery.webhook.site
    require(by, ACT, site, obj=delivery)
    dead = Delivery.objects.filter(pk=delivery.pk, status=DeliveryStatus.DEAD)
    if not dead.update(status=DeliveryStatus.WAITING, attempts=0, due_at=timezone.now()):
        raise Conflict("not_dead", f"This delivery is {delivery.status}.", "Only a dead one is sent again.")
    record(Action.WEBHOOK_REPLAY, by=by, obj=delivery, site=site, detail={"event": str(delivery.event_id)})
    delivery.refresh_from_db()
