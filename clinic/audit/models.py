from django.db import models


class Action(models.TextChoices):
    """Everything that can stand in the log. Closed: a new act is a new line here."""

    LOGIN = "login"
    LOGIN_FAILED = "login.failed"
    LOGOUT = "logout"
    SESSION_END = "session.end"
    PASSWORD_CHANGE = "password.change"  # noqa: S105 (the name of an act)
    FACTOR_CHANGE = "factor.change"
    TOKEN_CREATE = "token.create"  # noqa: S105 (the name of an act)
    TOKEN_REVOKE = "token.revoke"  # noqa: S105 (the name of an act)
    PATIENT_CREATE = "patient.create"
    PATIENT_EDIT = "patient.edit"
    PATIENT_READ = "patient.read"
    PATIENT_SEARCH = "patient.search"
    CASE_CREATE = "case.create"
    CASE_EDIT = "case.edit"
    CASE_READ = "case.read"
    CASE_SEARCH = "case.search"
    UPLOAD_START = "upload.start"
    UPLOAD_READ = "upload.read"
    UPLOAD_COMPLETE = "upload.complete"
    UPLOAD_DUPLICATE = "upload.duplicate"
    UPLOAD_REFUSE = "upload.refuse"
    UPLOAD_CANCEL = "upload.cancel"
    UPLOAD_RETRY = "upload.retry"
    ITEM_RECEIVE = "item.receive"
    ITEM_ACCEPT = "item.accept"
    ITEM_REJECT = "item.reject"
    ITEM_READ = "item.read"
    ITEM_DOWNLOAD = "item.download"
    ANALYSIS_REQUEST = "analysis.request"
    ANALYSIS_START = "analysis.start"
    ANALYSIS_REQUEUE = "analysis.requeue"
    ANALYSIS_COMPLETE = "analysis.complete"
    ANALYSIS_FAIL = "analysis.fail"
    ANALYSIS_CANCEL = "analysis.cancel"
    ANALYSIS_READ = "analysis.read"
    FINDING_SAVE = "finding.save"
    ALERT_RAISE = "alert.raise"
    ALERT_LOWER = "alert.lower"
    ARTEFACT_READ = "artefact.read"
    REPORT_DRAFT = "report.draft"
    REPORT_READ = "report.read"
    REPORT_SIGN = "report.sign"
    REPORT_AMEND = "report.amend"
    REPORT_SECOND = "report.second"
    REPORT_DOWNLOAD = "report.download"
    COMMENT_WRITE = "comment.write"
    CELL_REVIEW = "cell.review"
    NOTICE_READ = "notice.read"
    BUNDLE_IMPORT = "bundle.import"
    BUNDLE_ACTIVATE = "bundle.activate"
    BUNDLE_RETIRE = "bundle.retire"
    BUNDLE_SHADOW = "bundle.shadow"
    SHADOW_RUN = "shadow.run"
    CALIBRATION_REQUEST = "calibration.request"
    CALIBRATION_ADOPT = "calibration.adopt"
    CALIBRATION_REFUSE = "calibration.refuse"
    CALIBRATION_UNDO = "calibration.undo"
    CALIBRATION_READ = "calibration.read"
    MONITORING_READ = "monitoring.read"
    DRIFT_ALERT = "drift.alert"
    SITE_CREATE = "site.create"
    SITE_CHANGE = "site.change"
    USER_CREATE = "user.create"
    USER_CHANGE = "user.change"
    ROLE_CHANGE = "role.change"
    INFERENCE_HALT = "inference.halt"
    INFERENCE_RELEASE = "inference.release"
    GLASS_BREAK = "glass.break"
    GLASS_READ = "glass.read"
    GLASS_REVIEW = "glass.review"
    RESULT_RECEIVE = "result.receive"
    RESULT_HOLD = "result.hold"
    RESULT_DECIDE = "result.decide"
    RESULT_READ = "result.read"
    MESSAGE_RECEIVE = "message.receive"
    CARD_SERVE = "card.serve"
    CARD_FEEDBACK = "card.feedback"
    WEBHOOK_CREATE = "webhook.create"
    WEBHOOK_CHANGE = "webhook.change"
    WEBHOOK_READ = "webhook.read"
    WEBHOOK_REPLAY = "webhook.replay"
    AUDIT_READ = "audit.read"
    AUDIT_EXPORT = "audit.export"
    IMPORT_REQUEST = "import.request"
    IMPORT_COMPLETE = "import.complete"
    IMPORT_READ = "import.read"
    ANSWER_REPLAY = "answer.replay"
    ANALYSIS_REPLAY = "analysis.replay"
    KEY_ROTATE = "key.rotate"
    FILE_COLLECT = "file.collect"
    DENIED = "denied"


class Outcome(models.TextChoices):
    SUCCESS = "success"
    DENIED = "denied"
    FAILURE = "failure"


class AuditEvent(models.Model):
    """One act by someone on something, chained to the one before. Rows are only ever added.

    ``body`` is the canonical JSON (RFC 8785) that was hashed, exactly as hashed; the columns beside it are copies for
    searching, and verification compares them with it.
    """

    seq = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor_id = models.CharField(max_length=64, blank=True)
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=40)  # one of Action: record() sees to it; a new act needs no migration
    outcome = models.CharField(max_length=20, choices=Outcome)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    patient_id = models.CharField(max_length=64, blank=True)
    case_id = models.CharField(max_length=64, blank=True)
    site_id = models.CharField(max_length=64, blank=True)
    body = models.TextField()
    prev_hash = models.CharField(max_length=64, unique=True)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-seq"]
        constraints = [
            models.CheckConstraint(condition=models.Q(seq__gte=1), name="audit_starts_at_one"),
            models.CheckConstraint(condition=models.Q(outcome__in=Outcome.values), name="audit_outcome_known"),
        ]
        indexes = [
            models.Index(fields=["actor_id", "-seq"]),
            models.Index(fields=["patient_id", "-seq"]),
            models.Index(fields=["case_id", "-seq"]),
            models.Index(fields=["object_id", "-seq"]),
            models.Index(fields=["action", "-seq"]),
            models.Index(fields=["-at"]),
        ]


class Anchor(models.Model):
    """A signed head of the chain (Ed25519), also written as a file outside the database, so that a cut tail shows."""

    seq = models.PositiveBigIntegerField(unique=True)
    hash = models.CharField(max_length=64)
    at = models.DateTimeField()
    key_id = models.CharField(max_length=16)
    signature = models.CharField(max_length=128)
    said = models.JSONField(default=dict, blank=True, help_text="What was signed; empty: the columns alone")


class AnchorDelivery(models.Model):
    """An anchor that has arrived at a place outside the house."""

    anchor = models.ForeignKey(Anchor, on_delete=models.PROTECT, related_name="deliveries")
    target = models.CharField(max_length=500)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["anchor", "target"], name="one_delivery_per_target")]
