import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

USER = settings.AUTH_USER_MODEL


class Kind(models.TextChoices):
    URGENT = "urgent", "Urgent"
    READY = "ready", "Result to sign"
    FAILED = "failed", "Analysis failed"


class Notice(models.Model):
    """That a case waits for somebody. One for each person and case: news changes it, and nobody is told twice."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    recipient = models.ForeignKey(USER, on_delete=models.CASCADE, related_name="notices")
    case = models.ForeignKey("cases.Case", on_delete=models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=10, choices=Kind)
    changed_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)
    mail_due = models.BooleanField(default=False, help_text="A mail is still to be sent for this kind")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["recipient", "case"], name="one_notice_per_person_and_case"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="notice_kind_known"),
        ]
        indexes = [
            models.Index(fields=["recipient", "-changed_at"]),
            models.Index(fields=["recipient"], condition=Q(read_at__isnull=True), name="notices_unread"),
            models.Index(fields=["changed_at"], condition=Q(mail_due=True), name="notices_to_mail"),
        ]


class Scope(models.TextChoices):
    SITE = "site", "Every case of my sites"
    MINE = "mine", "Cases whose analysis I asked for"


class Preference(models.Model):
    """What somebody wants to hear of. An urgent result is told to everybody who may sign it, whatever stands here."""

    user = models.OneToOneField(USER, on_delete=models.CASCADE, related_name="notice_preference")
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.SITE)
    by_mail = models.BooleanField(default=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(scope__in=Scope.values), name="notice_scope_known")]
