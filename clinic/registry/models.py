import uuid

from django.conf import settings
from django.db import models


class BundleStatus(models.TextChoices):
    IMPORTED = "imported"
    ACTIVE = "active"
    SHADOW = "shadow"
    RETIRED = "retired"


class ModelBundle(models.Model):
    """One version of one model bundle, known by the hash of its manifest."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.SlugField(max_length=60)
    version = models.CharField(max_length=40)
    sha256 = models.CharField(max_length=64, unique=True)
    path = models.CharField(max_length=500)
    manifest = models.JSONField()
    status = models.CharField(max_length=20, choices=BundleStatus, default=BundleStatus.IMPORTED)
    imported_at = models.DateTimeField(auto_now_add=True)
    imported_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(status="active"), name="one_active_bundle_per_name"
            ),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(status="shadow"), name="one_shadow_bundle_per_name"
            ),
            models.CheckConstraint(condition=models.Q(status__in=BundleStatus.values), name="bundle_status_known"),
        ]

    @property
    def reference(self):
        return f"{self.name}@{self.version}"
