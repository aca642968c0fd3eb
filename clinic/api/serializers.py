"""The API's words: what goes in (…In) and what comes out (…Out)."""

import json

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clinic.accounts.models import Membership, Site, User
from clinic.audit.models import AuditEvent
from clinic.cases.models import (
    Alert,
    Analysis,
    AnalysisStatus,
    Artefact,
    Assessment,
    Case,
    Decision,
    Finding,
    ItemKind,
    Report,
    SignOff,
    Stage,
    StudyItem,
)
from clinic.patients.models import Patient, Sex
from clinic.registry.models import ModelBundle


class PlaceOut(serializers.Serializer):
    place = serializers.CharField()
    problem = serializers.CharField()
    remedy = serializers.CharField()


class ProblemOut(serializers.Serializer):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField()
    errors = PlaceOut(many=True)


class TokenIn(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=1000, trim_whitespace=False)
    code = serializers.CharField(
        max_length=20, required=False, help_text="Of the authenticator, where the account has one."
    )


class TokenOut(serializers.Serializer):
    token = serializers.CharField(help_text="Send it as `Authorization: Token …`. It is shown only now.")


class SiteOut(serializers.ModelSerializer):
    class Meta:
        model = Site
        fields = ["id", "code", "name"]


class MembershipOut(serializers.ModelSerializer):
    site = SiteOut()

    class Meta:
        model = Membership
        fields = ["site", "role"]


class MeOut(serializers.ModelSerializer):
    name = serializers.CharField(source="display_name")
    memberships = MembershipOut(many=True)

    class Meta:
        model = User
        fields = ["id", "username", "name", "memberships"]


class PatientOut(serializers.ModelSerializer):
    class Meta:
        model = Patient
        fields = ["id", "site", "mrn", "name", "birth_date", "sex", "synthetic", "created_at"]


class PatientIn(serializers.Serializer):
    site = serializers.UUIDField()
    mrn = serializers.CharField(max_length=64)
    name = serializers.CharField(max_length=200)
    birth_date = serializers.DateField(required=False, allow_null=True)
    sex = serializers.ChoiceField(Sex.choices, default=Sex.UNKNOWN)
    synthetic = serializers.BooleanField(default=False)


class PatientEdit(serializers.Serializer):
    name = serializers.CharField(max_length=200)
    birth_date = serializers.DateField(allow_null=True)
    sex = serializers.ChoiceField(Sex.choices)


class CaseOut(serializers.ModelSerializer):
    class Meta:
        model = Case
        fields = ["id", "patient", "stage", "follows", "title", "history", "created_at"]


class CaseIn(serializers.Serializer):
    patient = serializers.UUIDField()
    stage = serializers.ChoiceField(Stage.choices, default=Stage.DIAGNOSIS)
    follows = serializers.UUIDField(required=False, allow_null=True, default=None, help_text="An earlier case")
    title = serializers.CharField(max_length=200, allow_blank=True, default="")
    history = serializers.CharField(max_length=100_000, allow_blank=True, default="")


class CaseEdit(serializers.Serializer):
    title = serializers.CharField(max_length=200, allow_blank=True)
    history = serializers.CharField(max_length=100_000, allow_blank=True)


class RejectionOut(serializers.Serializer):
    code = serializers.CharField()
    place = serializers.CharField()
    problem = serializers.CharField()
    remedy = serializers.CharField()


class ItemOut(serializers.ModelSerializer):
    rejection = RejectionOut(allow_null=True)

    class Meta:
        model = StudyItem
        fields = [
            "id",
            "case",
            "kind",
            "filename",
            "sha256",
            "size",
            "options",
            "status",
            "summary",
            "rejection",
            "received_at",
            "checked_at",
        ]


class ItemsIn(serializers.Serializer):
    file = serializers.ListField(
        child=serializers.FileField(allow_empty_file=True, max_length=None),
        help_text="Repeat the part for several files.",
    )
    kind = serializers.ChoiceField(ItemKind.choices)
    options = serializers.JSONField(default=dict, help_text="One JSON object for all files of this request.")


class ReceivedOut(serializers.Serializer):
    """What became of one file: an item, or a problem."""

    filename = serializers.CharField()
    item = ItemOut(allow_null=True)
    problem = ProblemOut(allow_null=True)


class ItemsReceivedOut(serializers.Serializer):
    results = ReceivedOut(many=True)


class AlertOut(serializers.ModelSerializer):
    message = serializers.CharField(source="body.message")

    class Meta:
        model = Alert
        fields = ["code", "modality", "message", "raised_at", "lowered_at"]


class AnalysisOut(serializers.ModelSerializer):
    queue_place = serializers.SerializerMethodField(help_text="1: next. Null once it runs.")
    failure = serializers.SerializerMethodField()
    alerts = AlertOut(many=True, read_only=True, help_text="What cannot wait for the end of the run")

    class Meta:
        model = Analysis
        fields = [
            "id",
            "case",
            "status",
            "stage",
            "done",
            "total",
            "queue_place",
            "items",
            "bundles",
            "requested_at",
            "started_at",
            "finished_at",
            "attempt",
            "failure",
            "alerts",
        ]

    def get_queue_place(self, analysis) -> int | None:
        if analysis.status != AnalysisStatus.QUEUED:
            return None
        queue = Analysis.objects.filter(status=AnalysisStatus.QUEUED)
        return queue.filter(requested_at__lt=analysis.requested_at).count() + 1

    @extend_schema_field(
        {"type": ["object", "null"], "properties": {"code": {"type": "string"}, "message": {"type": "string"}}}
    )
    def get_failure(self, analysis):
        if analysis.status != AnalysisStatus.FAILED:
            return None
        return {"code": analysis.failure_code, "message": analysis.failure_message}


class ArtefactOut(serializers.ModelSerializer):
    class Meta:
        model = Artefact
        fields = ["id", "kind", "name", "media_type", "sha256"]


class FindingOut(serializers.ModelSerializer):
    artefacts = ArtefactOut(many=True)

    class Meta:
        model = Finding
        fields = ["modality", "bundle", "bundle_sha256", "body", "artefacts", "created_at"]


class AssessmentOut(serializers.ModelSerializer):
    class Meta:
        model = Assessment
        fields = [
            "analysis",
            "status",
            "answer",
            "probability",
            "urgent",
            "discordant",
            "body",
            "digest",
            "created_at",
        ]


class SignOffOut(serializers.ModelSerializer):
    class Meta:
        model = SignOff
        fields = ["signer", "at", "decision", "diagnosis", "reason", "meaning", "report_digest"]


class ReportOut(serializers.ModelSerializer):
    analysis = serializers.UUIDField(source="assessment.analysis_id")
    sign_off = SignOffOut(allow_null=True, default=None)
    amended_by = serializers.UUIDField(source="amended_by.pk", allow_null=True, default=None)

    class Meta:
        model = Report
        fields = [
            "id",
            "case",
            "analysis",
            "version",
            "digest",
            "amends",
            "amendment_reason",
            "amended_by",
            "sign_off",
            "body",
            "created_at",
        ]


class SignIn(serializers.Serializer):
    password = serializers.CharField(max_length=1000, trim_whitespace=False)
    code = serializers.CharField(
        max_length=20, allow_blank=True, default="", help_text="Of the authenticator, where the account has one."
    )
    decision = serializers.ChoiceField(Decision.choices)
    diagnosis = serializers.CharField(
        max_length=60, allow_blank=True, default="", help_text="Node of the diagnosis tree"
    )
    reason = serializers.CharField(max_length=10_000, allow_blank=True, default="")


class AmendIn(serializers.Serializer):
    reason = serializers.CharField(max_length=10_000)


class EventOut(serializers.ModelSerializer):
    said = serializers.SerializerMethodField(help_text="The event exactly as it was hashed.")

    class Meta:
        model = AuditEvent
        fields = [
            "seq",
            "at",
            "actor_id",
            "actor",
            "action",
            "outcome",
            "object_type",
            "object_id",
            "patient_id",
            "case_id",
            "site_id",
            "said",
            "hash",
        ]

    def get_said(self, event) -> dict:
        return json.loads(event.body)


class PersonWhoSawOut(serializers.Serializer):
    actor_id = serializers.CharField()
    actor = serializers.CharField()
    count = serializers.IntegerField()
    first = serializers.DateTimeField()
    last = serializers.DateTimeField()
    acts = serializers.ListField(child=serializers.CharField())


class ChainStateOut(serializers.Serializer):
    ok = serializers.BooleanField()
    from_seq = serializers.IntegerField()
    count = serializers.IntegerField()
    first_bad = serializers.IntegerField(allow_null=True)
    why = serializers.CharField(allow_blank=True)
    head = serializers.CharField(allow_blank=True)
    anchored_to = serializers.IntegerField(
        allow_null=True, help_text="Up to here the events are those that were signed; after it only the chain speaks."
    )
    to_seq = serializers.IntegerField()


class BundleOut(serializers.ModelSerializer):
    class Meta:
        model = ModelBundle
        fields = ["id", "name", "version", "sha256", "status", "imported_at", "manifest"]


class NodeOut(serializers.Serializer):
    id = serializers.CharField()
    name = serializers.CharField()
    parent = serializers.CharField(allow_null=True)
    codes = serializers.DictField(child=serializers.CharField())
    seen_by = serializers.ListField(child=serializers.CharField())
    trained = serializers.BooleanField()


class TreeOut(serializers.Serializer):
    version = serializers.CharField()
    nodes = NodeOut(many=True)
