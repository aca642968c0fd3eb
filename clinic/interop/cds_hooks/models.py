import uuid

from django.db import models
from django.db.models import Q

from clinic.cases.models import Assessment
from clinic.patients.models import Patient


class UsedToken(models.Model):
    """A token's id that was seen: the same token is not taken again. Kept until it has expired."""

    issuer = models.CharField(max_length=300)
    jti = models.CharField(max_length=200)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issuer", "jti"], name="a_token_is_used_once")]
        indexes = [models.Index(fields=["expires_at"])]


class ServedCard(models.Model):
    """A card as it was shown, so that what is said of it later is said of something."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    service = models.CharField(max_length=60)
    hook_instance = models.CharField(max_length=64)
    issuer = models.CharField(max_length=300)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="+")
    assessment = models.ForeignKey(Assessment, on_delete=models.PROTECT, related_name="served_cards")
    summary = models.CharField(max_length=140)
    served_at = models.DateTimeField(auto_now_add=True)


class CardOutcome(models.TextChoices):
    ACCEPTED = "accepted"
    OVERRIDDEN = "overridden"


class CardFeedback(models.Model):
    """What a clinician did with a card, in the words of CDS Hooks."""

    card = models.ForeignKey(ServedCard, on_delete=models.PROTECT, related_name="feedback")
    outcome = models.CharField(max_length=20, choices=CardOutcome)
    reason_code = models.CharField(max_length=100, blank=True)
    reason_system = models.CharField(max_length=300, blank=True)
    comment = models.TextField(blank=True)
    outcome_at = models.DateTimeField()
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(outcome__in=CardOutcome.values), name="card_outcome_known"),
            models.UniqueConstraint(fields=["card", "outcome", "outcome_at"], name="feedback_is_kept_once"),
        ]
