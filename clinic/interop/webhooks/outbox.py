"""What happened, for who wants to be told: written where it happens, in the same transaction."""

from django.utils import timezone

from clinic.interop.webhooks.models import Delivery, EventType, OutboxEvent, Webhook


def publish(type_, *, case, **ids):
    """Keep an event and one delivery for each webhook of the case's site that asks for its type."""
    site = case.patient.site
    hooks = [hook for hook in Webhook.objects.filter(site=site, active=True) if type_ in hook.events]
    if not hooks:
        return
    said = {"case": str(case.pk), "patient": str(case.patient_id), **{name: str(pk) for name, pk in ids.items()}}
    event = OutboxEvent.objects.create(site=site, type=EventType(type_), body=said)
    Delivery.objects.bulk_create(Delivery(webhook=hook, event=event, due_at=timezone.now()) for hook in hooks)
