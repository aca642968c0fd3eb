import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from clinic.cases.models import Case, ItemKind, StudyItem


class UploadStatus(models.TextChoices):
    RECEIVING = "receiving"
    CHECKING = "checking"
    TAKEN = "taken"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class Upload(models.Model):
    """A file on its way into a case: how much of it is here, and what became of it.

    ``sha256`` is what the sender stated, and of a whole file what was received. ``kind`` is empty until the content has
    told it, unless a person chose one.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="uploads")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    filename = models.CharField(max_length=255)
    size = models.PositiveBigIntegerField()
    received = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    kind = models.CharField(max_length=20, choices=ItemKind, blank=True)
    options = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=20, choices=UploadStatus, default=UploadStatus.RECEIVING)
    item = models.ForeignKey(StudyItem, null=True, blank=True, on_delete=models.PROTECT, related_name="uploads")
    rejection = models.JSONField(null=True, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=UploadStatus.values), name="upload_status_known"),
            models.CheckConstraint(condition=Q(kind__in=["", *ItemKind.values]), name="upload_kind_known"),
            models.CheckConstraint(condition=Q(received__lte=F("size"), size__gte=1), name="upload_within_its_size"),
            models.CheckConstraint(
                condition=~Q(status__in=["checking", "taken"]) | Q(received=F("size")) & ~Q(sha256=""),
                name="checked_upload_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(status="refused", rejection__isnull=False)
                | (~Q(status="refused") & Q(rejection__isnull=True)),
                name="refused_upload_has_reason",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["taken", "duplicate"], item__isnull=False)
                | (~Q(status__in=["taken", "duplicate"]) & Q(item__isnull=True)),
                name="taken_upload_has_its_item",
            ),
        ]
        indexes = [models.Index(fields=["case", "status"]), models.Index(fields=["status", "touched_at"])]
        ordering = ["started_at", "id"]
