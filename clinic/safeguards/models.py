"""The emergency stop, and access in an emergency."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from clinic.patients.models import Patient

USER = settings.AUTH_USER_MODEL


class Halt(models.Model):
    """No new inference, by one bundle or (no name) by any, until somebody releases it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bundle = models.SlugField(max_length=60, blank=True, help_text="Name of the bundle; empty: every one")
    reason = models.TextField()
    at = models.DateTimeField(auto_now_add=True)
    by = models.ForeignKey(USER, null=True, on_delete=models.PROTECT, related_name="+")
    released_at = models.DateTimeField(null=True, blank=True)
    released_by = models.ForeignKey(USER, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    release_reason = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bundle"], condition=Q(released_at__isnull=True), name="one_live_halt_per_bundle"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="halt_has_a_reason"),
            models.CheckConstraint(
                condition=Q(released_at__isnull=True) | ~Q(release_reason=""), name="release_has_a_reason"
            ),
        ]
        ordering = ["-at"]

    @property
    def what(self):
        return f"the model {self.bundle}" if self.bundle else "every model"


class EmergencyAccess(models.Model):
    """Somebody who works elsewhere read one patient, in an emergency, for an hour; a reviewer says whether rightly."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="emergency_accesses")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="emergency_accesses")
    reason = models.TextField()
    at = models.DateTimeField()
    until = models.DateTimeField()
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.ForeignKey(USER, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    justified = models.BooleanField(null=True, blank=True)
    note = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="emergency_access_has_a_reason"),
            models.CheckConstraint(condition=Q(until__gt=F("at")), name="emergency_access_ends_after_it_begins"),
            models.CheckConstraint(
                condition=Q(reviewed_at__isnull=True, justified__isnull=True)
                | Q(reviewed_at__isnull=False, justified__isnull=False, reviewed_by__isnull=False),
                name="review_has_a_verdict",
            ),
            models.CheckConstraint(
                condition=Q(reviewed_by__isnull=True) | ~Q(reviewed_by=F("user")), name="nobody_reviews_themselves"
            ),
        ]
        indexes = [models.Index(fields=["user", "until"])]
        ordering = ["-at"]
