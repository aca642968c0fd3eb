from django.conf import settings
from django.db import models
from django.db.models import Q


class KeptAnswer(models.Model):
    """The answer to a POST with an ``Idempotency-Key``, kept for who sent it, should they send it again.

    The row is there before the act, and gets its answer in the act's own transaction: either both are, or neither.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    route = models.CharField(max_length=500)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was sent")
    rights = models.CharField(max_length=64, help_text="SHA-256 of what the sender might do then")
    request_id = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=b"")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "route", "key"], name="one_answer_per_key"),
            models.CheckConstraint(condition=Q(status__isnull=True) | Q(status__range=(200, 299)), name="kept_is_2xx"),
        ]
        indexes = [models.Index(fields=["started_at"])]
