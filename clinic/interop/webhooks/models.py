import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from clinic.accounts.models import Site

USER = settings.AUTH_USER_MODEL


class EventType(models.TextChoices):
    ANALYSIS_COMPLETED = "analysis.completed"
    ANALYSIS_FAILED = "analysis.failed"
    REPORT_SIGNED = "report.signed"


class Webhook(models.Model):
    """An address of a site's own software that is told of events. Its secret is derived, and is nowhere kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="webhooks")
    url = models.URLField(max_length=500)
    events = models.JSONField(help_text="Which types of event")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")


class OutboxEvent(models.Model):
    """What happened, written in the transaction in which it happened. Its id is the same at every delivery."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="outbox")
    type = models.CharField(max_length=40, choices=EventType)
    body = models.JSONField(help_text="Ids only: whoever wants more asks the API, and is seen doing so")
    at = models.DateTimeField(auto_now_add=True)


class DeliveryStatus(models.TextChoices):
    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class Delivery(models.Model):
    """One event on its way to one webhook: at least once, until it is taken or given up."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.PROTECT, related_name="deliveries")
    event = models.ForeignKey(OutboxEvent, on_delete=models.PROTECT, related_name="deliveries")
    status = models.CharField(max_length=20, choices=DeliveryStatus, default=DeliveryStatus.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    last_attempt_at = models.DateTimeField(null=True)
    last_answer = models.CharField(max_length=300, blank=True, help_text="What came of the last attempt")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["webhook", "event"], name="one_delivery_per_webhook_and_event"),
            models.CheckConstraint(condition=Q(status__in=DeliveryStatus.values), name="delivery_status_known"),
        ]
        indexes = [models.Index(fields=["status", "due_at"])]
