import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from clinic.accounts.models import Site
from clinic.cases.models import Case, StudyItem
from clinic.patients.models import Patient

USER = settings.AUTH_USER_MODEL


class ImportKind(models.TextChoices):
    CASES = "cases"
    LABS = "labs"


class ImportStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class Import(models.Model):
    """Many cases or laboratory panels out of one table. Done means: every row has its verdict."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="imports")
    kind = models.CharField(max_length=20, choices=ImportKind)
    filename = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    total = models.PositiveIntegerField()
    status = models.CharField(max_length=20, choices=ImportStatus, default=ImportStatus.QUEUED)
    by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(auto_now_add=True, help_text="When somebody last worked on it")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=ImportKind.values), name="import_kind_known"),
            models.CheckConstraint(condition=Q(status__in=ImportStatus.values), name="import_status_known"),
            models.CheckConstraint(
                condition=Q(status="done", finished_at__isnull=False)
                | (~Q(status="done") & Q(finished_at__isnull=True)),
                name="done_import_has_an_end",
            ),
            models.UniqueConstraint(fields=["site", "kind", "sha256"], name="a_table_is_imported_once"),
        ]
        ordering = ["-requested_at", "-id"]


class RowStatus(models.TextChoices):
    PENDING = "pending"
    CREATED = "created"
    UNCHANGED = "unchanged", "Known already"
    REJECTED = "rejected"


class ImportRow(models.Model):
    """One line of the table as it came, and what became of it."""

    of = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField(help_text="Line of the file; the first is 1")
    content = models.JSONField(help_text="Column → text")
    status = models.CharField(max_length=20, choices=RowStatus, default=RowStatus.PENDING)
    problem = models.JSONField(null=True, blank=True, help_text="code, place, problem, remedy")
    patient = models.ForeignKey(Patient, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    case = models.ForeignKey(Case, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    item = models.ForeignKey(StudyItem, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["of", "number"], name="one_verdict_per_line"),
            models.CheckConstraint(condition=Q(status__in=RowStatus.values), name="row_status_known"),
            models.CheckConstraint(
                condition=Q(status="rejected", problem__isnull=False)
                | (~Q(status="rejected") & Q(problem__isnull=True)),
                name="rejected_row_has_reason",
            ),
            models.CheckConstraint(condition=~Q(status="created") | Q(case__isnull=False), name="created_row_has_case"),
        ]
        indexes = [models.Index(fields=["of", "status", "number"])]
        ordering = ["number"]
