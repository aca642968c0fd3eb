import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from clinic.accounts.models import Site
from clinic.patients.models import Patient

USER = settings.AUTH_USER_MODEL


class CaseState(models.TextChoices):
    ANALYSING = "analysing", "Analysing"
    FAILED = "failed", "Analysis failed"
    CHECKING = "checking", "Files being checked"
    ASSESSED = "assessed", "Assessed, not signed"
    ABSTAINED = "abstained", "No answer, not signed"
    SIGNED = "signed", "Signed"
    OPEN = "open", "Not analysed"


class Triage(models.IntegerChoices):
    """The order of the worklist; within one rank the oldest case comes first."""

    URGENT = 0
    DISCORDANT = 1
    WAITING = 2
    SIGNED = 3


class Stage(models.TextChoices):
    """Why a patient is looked at: for the first time, again under treatment, or because it may be back."""

    DIAGNOSIS = "diagnosis", "Diagnosis"
    FOLLOW_UP = "follow_up", "Follow-up"
    RELAPSE = "relapse", "Suspected relapse"


class Case(models.Model):
    """One diagnostic work-up of one patient.

    From ``state`` on: copies of what the case's other rows say, kept by clinic.cases.triage alone, in the transaction
    of each change. ``site`` is the patient's. The worklist reads one table in the order of one index.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="cases")
    stage = models.CharField(max_length=20, choices=Stage, default=Stage.DIAGNOSIS)
    follows = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="followed_by",
        help_text="The earlier case of this patient that this one follows, where it is known here",
    )
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="cases")
    accession = models.CharField(max_length=64, blank=True, help_text="The laboratory's own number of the order")
    title = models.CharField(max_length=200, blank=True, help_text="What is asked, in a line")
    history = models.TextField(blank=True, help_text="Clinical history, as told; no model reads it")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=20, choices=CaseState, default=CaseState.OPEN, editable=False)
    triage = models.PositiveSmallIntegerField(choices=Triage, default=Triage.WAITING, editable=False)
    answer = models.CharField(max_length=60, blank=True, editable=False)
    probability = models.FloatField(null=True, blank=True, editable=False)
    urgent = models.BooleanField(default=False, editable=False)
    discordant = models.BooleanField(default=False, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="case_stage_known"),
            models.CheckConstraint(
                condition=Q(follows__isnull=True) | ~Q(stage="diagnosis"), name="a_diagnosis_follows_nothing"
            ),
            models.UniqueConstraint(
                fields=["site", "accession"], condition=~Q(accession=""), name="accession_unique_per_site"
            ),
            models.CheckConstraint(condition=Q(state__in=CaseState.values), name="case_state_known"),
            models.CheckConstraint(condition=Q(triage__in=Triage.values), name="case_triage_known"),
            models.CheckConstraint(
                condition=Q(state="signed", triage=Triage.SIGNED) | (~Q(state="signed") & ~Q(triage=Triage.SIGNED)),
                name="signed_case_is_last_in_triage",
            ),
            models.CheckConstraint(
                condition=~Q(triage=Triage.URGENT) | Q(urgent=True), name="urgent_triage_has_an_alert"
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"]),
            models.Index(fields=["site", "triage", "created_at", "id"], name="case_in_triage"),
            models.Index(fields=["site", "state", "created_at", "id"], name="case_in_state"),
            models.Index(fields=["site", "created_at", "id"], name="case_by_age"),
        ]


class ItemKind(models.TextChoices):
    SMEAR_FIELD = "smear_field", "Smear field"
    SMEAR_CELL = "smear_cell", "Smear cell"
    EXPRESSION = "expression", "RNA-seq expression"
    LABS = "labs", "Laboratory values"
    HISTORY = "history", "Clinical history"


class ItemStatus(models.TextChoices):
    RECEIVED = "received"
    VALID = "valid"
    REJECTED = "rejected"


class StudyItem(models.Model):
    """One input of a case, kept as it came; ``summary`` is what the reader saw, ``rejection`` why it was not taken."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="items")
    kind = models.CharField(max_length=20, choices=ItemKind)
    filename = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    options = models.JSONField(
        default=dict, blank=True, help_text="What the sender said of the file: sample, scale, row"
    )
    status = models.CharField(max_length=20, choices=ItemStatus, default=ItemStatus.RECEIVED)
    summary = models.JSONField(default=dict, blank=True)
    rejection = models.JSONField(null=True, blank=True)
    received_at = models.DateTimeField(auto_now_add=True)
    received_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=ItemKind.values), name="item_kind_known"),
            models.CheckConstraint(condition=Q(status__in=ItemStatus.values), name="item_status_known"),
            models.CheckConstraint(
                condition=Q(status="rejected", rejection__isnull=False)
                | (~Q(status="rejected") & Q(rejection__isnull=True)),
                name="rejected_item_has_reason",
            ),
            models.UniqueConstraint(
                fields=["case", "kind", "sha256"], condition=~Q(status="rejected"), name="one_copy_of_a_file_per_case"
            ),
        ]
        indexes = [models.Index(fields=["status", "received_at"])]
        ordering = ["received_at", "id"]


class AnalysisStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE = [AnalysisStatus.QUEUED, AnalysisStatus.RUNNING]


class Analysis(models.Model):
    """One run over a frozen list of items and bundles. This row is the truth about the work, not the broker.

    Whoever works on it holds a lease: ``attempt`` names the holder, ``lease_until`` is renewed by its heartbeat. A
    write for another attempt changes nothing, so a worker that was given up cannot speak for the one that took over.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="analyses")
    status = models.CharField(max_length=20, choices=AnalysisStatus, default=AnalysisStatus.QUEUED)
    items = models.ManyToManyField(StudyItem, related_name="analyses")
    bundles = models.JSONField(help_text="Bundle name → SHA-256 of its manifest")
    requested_at = models.DateTimeField(auto_now_add=True)
    requested_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    dispatched_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    stage = models.CharField(max_length=60, blank=True)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    failure_code = models.CharField(max_length=40, blank=True)
    failure_message = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "analyses"
        constraints = [
            models.CheckConstraint(condition=Q(status__in=AnalysisStatus.values), name="analysis_status_known"),
            models.UniqueConstraint(fields=["case"], condition=Q(status__in=LIVE), name="one_live_analysis_per_case"),
            models.CheckConstraint(
                condition=~Q(status="failed") | ~Q(failure_code=""), name="failed_analysis_has_reason"
            ),
            models.CheckConstraint(
                condition=Q(status__in=LIVE, finished_at__isnull=True)
                | (~Q(status__in=LIVE) & Q(finished_at__isnull=False)),
                name="ended_analysis_has_an_end",
            ),
            models.CheckConstraint(
                condition=~Q(status="running") | Q(lease_until__isnull=False), name="running_analysis_has_a_lease"
            ),
        ]
        indexes = [models.Index(fields=["status", "lease_until"])]
        ordering = ["-requested_at", "-id"]


class Finding(models.Model):
    """What one modality said; ``body`` is ml.findings.Finding.as_dict(). Saved once: the checkpoint of a run."""

    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="findings")
    modality = models.CharField(max_length=20)
    bundle = models.CharField(max_length=110)
    bundle_sha256 = models.CharField(max_length=64)
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["analysis", "modality"], name="one_finding_per_modality")]
        ordering = ["modality"]


class Alert(models.Model):
    """What cannot wait for the end of a run: raised with the first finding that calls for it, shown at once.

    ``modality`` is the finding that raised it (``fusion`` where only all together did), ``body`` what is to be shown.
    ``lowered_at`` is set where the finished assessment no longer says so; a run that failed leaves its alerts up.
    """

    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="alerts")
    code = models.CharField(max_length=40)
    modality = models.CharField(max_length=20)
    body = models.JSONField()
    raised_at = models.DateTimeField()
    lowered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["analysis", "code"], name="one_alert_of_a_kind_per_analysis"),
            models.CheckConstraint(
                condition=Q(lowered_at__isnull=True) | Q(lowered_at__gte=models.F("raised_at")),
                name="alert_lowered_after_raised",
            ),
        ]
        indexes = [models.Index(fields=["analysis"], condition=Q(lowered_at__isnull=True), name="alerts_standing")]
        ordering = ["raised_at", "id"]


class Artefact(models.Model):
    """A picture that belongs to a finding (a Grad-CAM overlay, a thumbnail), kept in the private store."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    finding = models.ForeignKey(Finding, on_delete=models.PROTECT, related_name="artefacts")
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    media_type = models.CharField(max_length=60)


class AssessmentStatus(models.TextChoices):
    ASSESSED = "assessed"
    ABSTAINED = "abstained"


class Assessment(models.Model):
    """What the fusion said, or why it abstained; ``body`` is ml.fusion's own JSON, ``digest`` its SHA-256."""

    analysis = models.OneToOneField(Analysis, on_delete=models.PROTECT, related_name="assessment")
    status = models.CharField(max_length=20, choices=AssessmentStatus)
    answer = models.CharField(max_length=60, blank=True)
    probability = models.FloatField(null=True, blank=True)
    urgent = models.BooleanField(default=False)
    discordant = models.BooleanField(default=False)
    body = models.JSONField()
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=AssessmentStatus.values), name="assessment_status_known"),
            models.CheckConstraint(
                condition=Q(status="assessed", probability__isnull=False) & ~Q(answer="")
                | Q(status="abstained", answer=""),
                name="assessed_has_an_answer",
            ),
        ]


class Report(models.Model):
    """The document a clinician signs. Version 1, 2, …: an amendment is a new version, the old one stays."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="reports")
    assessment = models.ForeignKey(Assessment, on_delete=models.PROTECT, related_name="reports")
    version = models.PositiveSmallIntegerField()
    body = models.JSONField()
    digest = models.CharField(max_length=64)
    amends = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="amended_by")
    amendment_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "version"], name="report_version_unique_per_case"),
            models.CheckConstraint(
                condition=Q(amends__isnull=True) | ~Q(amendment_reason=""), name="amendment_has_a_reason"
            ),
        ]
        ordering = ["-version"]


class Decision(models.TextChoices):
    AGREE = "agree"
    OVERRIDE = "override"


class SignOff(models.Model):
    """A clinician's signature under one report: who, when, what it means, and the digest of exactly what was signed."""

    report = models.OneToOneField(Report, on_delete=models.PROTECT, related_name="sign_off")
    by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    signer = models.CharField(max_length=200, help_text="Name as it was on the day")
    at = models.DateTimeField()
    decision = models.CharField(max_length=20, choices=Decision)
    diagnosis = models.CharField(max_length=60, blank=True, help_text="Node of the diagnosis tree the signer states")
    reason = models.TextField(blank=True)
    meaning = models.CharField(max_length=200)
    report_digest = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(decision__in=Decision.values), name="decision_known"),
            models.CheckConstraint(
                condition=Q(decision="agree") | (~Q(reason="") & ~Q(diagnosis="")),
                name="override_has_reason_and_diagnosis",
            ),
        ]
