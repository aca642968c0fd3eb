import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from clinic.accounts.models import Site
from clinic.cases.models import Analysis


class CalibrationStatus(models.TextChoices):
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    UNDONE = "undone"
    REFUSED = "refused"


class SiteCalibration(models.Model):
    """One attempt to recalibrate the fusion at a site: a small bundle of its own, named by its version and digest.

    ``body`` is what was learned (ml.site_fusion.Site with its effect), empty where it was refused for ``reason``.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="calibrations")
    version = models.PositiveIntegerField()
    status = models.CharField(max_length=20, choices=CalibrationStatus)
    body = models.JSONField(default=dict, blank=True)
    sha256 = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the canonical JSON of the body")
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(fields=["site", "version"], name="calibration_version_unique_per_site"),
            models.UniqueConstraint(fields=["site"], condition=Q(status="active"), name="one_active_calibration"),
            models.CheckConstraint(condition=Q(status__in=CalibrationStatus.values), name="calibration_status_known"),
            models.CheckConstraint(
                condition=Q(status="refused", sha256="") | (~Q(status="refused") & ~Q(sha256="")),
                name="calibration_has_a_body_or_was_refused",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["refused", "undone"]) | ~Q(reason=""), name="calibration_end_has_a_reason"
            ),
        ]

    @property
    def reference(self):
        return f"{self.site.code}@{self.version}"


class ShadowResult(models.Model):
    """What a bundle that runs in shadow said of an analysis, and what the fusion would have said with it: never shown
    beside a case, only compared. ``error`` where it failed, which concerns nobody but the registry.
    """

    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="shadows")
    bundle = models.CharField(max_length=110)
    bundle_sha256 = models.CharField(max_length=64)
    finding = models.JSONField(null=True, blank=True)
    assessment = models.JSONField(null=True, blank=True)
    answer = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["analysis", "bundle_sha256"], name="one_shadow_result_per_bundle"),
            models.CheckConstraint(
                condition=Q(assessment__isnull=False, error="") | (Q(assessment__isnull=True) & ~Q(error="")),
                name="shadow_has_a_result_or_an_error",
            ),
        ]


class SiteWeek(models.Model):
    """What the inputs and answers of one modality (or of the fusion) looked like at a site in one week, against before.

    ``figures``: name → {value, before, n, n_before}; ``alerts``: sentences. Measured anew until the week is over.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="weeks")
    monday = models.DateField()
    subject = models.CharField(max_length=110, help_text="A bundle's reference")
    figures = models.JSONField()
    alerts = models.JSONField(default=list, blank=True)
    measured_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-monday", "subject"]
        constraints = [models.UniqueConstraint(fields=["site", "monday", "subject"], name="one_row_per_site_and_week")]
