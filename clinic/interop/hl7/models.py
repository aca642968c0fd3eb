from django.conf import settings
from django.db import models
from django.db.models import Q

from clinic.accounts.models import Site


class Hl7Message(models.Model):
    """A message that was answered: the same one again gets the same answer, and does nothing."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="hl7_messages")
    sender = models.CharField(max_length=120, help_text="MSH-3 and MSH-4")
    control_id = models.CharField(max_length=199, help_text="MSH-10")
    sha256 = models.CharField(max_length=64)
    ack = models.CharField(max_length=2)
    counts = models.JSONField(default=dict, help_text="How many results were taken, held, or are not final yet")
    received_at = models.DateTimeField(auto_now_add=True)
    received_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "sender", "control_id"], name="one_answer_per_control_id"),
            models.CheckConstraint(condition=~Q(control_id=""), name="message_has_a_control_id"),
            models.CheckConstraint(condition=Q(ack__in=["AA"]), name="kept_message_was_taken"),
        ]
