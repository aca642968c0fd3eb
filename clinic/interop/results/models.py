import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from clinic.accounts.models import Site
from clinic.cases.models import Case
from clinic.patients.models import Patient

USER = settings.AUTH_USER_MODEL


class Source(models.TextChoices):
    FHIR = "fhir"
    HL7 = "hl7"


class ResultStatus(models.TextChoices):
    FINAL = "final"
    CORRECTED = "corrected"
    WITHDRAWN = "entered-in-error"


class LabResult(models.Model):
    """One laboratory value as another system sent it. Never changed: a correction is a new row that supersedes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="lab_results")
    source = models.CharField(max_length=10, choices=Source)
    identifier = models.CharField(
        max_length=255, help_text="What the sender calls this result, the same when corrected"
    )
    status = models.CharField(max_length=20, choices=ResultStatus, default=ResultStatus.FINAL)
    loinc = models.CharField(max_length=20)
    analyte = models.CharField(max_length=40)
    value = models.FloatField(help_text="In unit")
    unit = models.CharField(max_length=40, help_text="UCUM")
    number = models.FloatField(help_text="As sent, in unit_sent")
    unit_sent = models.CharField(max_length=60, blank=True)
    taken_at = models.DateTimeField(help_text="When the specimen was taken")
    received_at = models.DateTimeField(auto_now_add=True)
    received_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    supersedes = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="superseded_by"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(source__in=Source.values), name="result_source_known"),
            models.CheckConstraint(condition=Q(status__in=ResultStatus.values), name="result_status_known"),
            models.CheckConstraint(condition=~Q(identifier=""), name="result_has_an_identifier"),
            models.UniqueConstraint(
                fields=["patient", "source", "identifier"],
                condition=Q(supersedes__isnull=True),
                name="one_first_result_per_identifier",
            ),
        ]
        indexes = [models.Index(fields=["patient", "-taken_at"]), models.Index(fields=["-received_at", "-id"])]


class HeldStatus(models.TextChoices):
    WAITING = "waiting"
    TAKEN = "taken"
    DISMISSED = "dismissed"


class HeldResult(models.Model):
    """A result that no rule could place: it waits for a person, and is neither guessed nor dropped."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="held_results")
    patient = models.ForeignKey(Patient, null=True, on_delete=models.PROTECT, related_name="held_results")
    source = models.CharField(max_length=10, choices=Source)
    reason = models.CharField(max_length=40, help_text="unknown_patient, unknown_code, wrong_unit …")
    problem = models.TextField()
    local_code = models.CharField(
        max_length=200, blank=True, help_text="The code as the sender writes it, with its system"
    )
    said = models.JSONField(help_text="The result as it was sent")
    status = models.CharField(max_length=20, choices=HeldStatus, default=HeldStatus.WAITING)
    received_at = models.DateTimeField(auto_now_add=True)
    received_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(USER, null=True, on_delete=models.PROTECT, related_name="+")
    decision = models.CharField(max_length=500, blank=True)
    result = models.OneToOneField(LabResult, null=True, on_delete=models.PROTECT, related_name="held_as")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=HeldStatus.values), name="held_status_known"),
            models.CheckConstraint(
                condition=Q(status="waiting", decided_at__isnull=True, decided_by__isnull=True)
                | (~Q(status="waiting") & Q(decided_at__isnull=False, decided_by__isnull=False) & ~Q(decision="")),
                name="decided_held_result_has_a_decision",
            ),
        ]
        indexes = [models.Index(fields=["status", "-received_at"])]


class LocalCode(models.Model):
    """A site's own code for a value of the table, as a person of that site decided."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="local_codes")
    code = models.CharField(max_length=200)
    loinc = models.CharField(max_length=20)
    decided_at = models.DateTimeField(auto_now_add=True)
    decided_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "code"], name="one_meaning_per_local_code")]


class PanelOfResults(models.Model):
    """Which case a panel of received results was put into, and as which item."""

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="result_panels")
    item = models.OneToOneField("cases.StudyItem", on_delete=models.PROTECT, related_name="result_panel")
    results = models.ManyToManyField(LabResult, related_name="panels")
