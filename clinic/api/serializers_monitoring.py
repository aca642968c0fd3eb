from rest_framework import serializers

from clinic.monitoring.models import SiteCalibration, SiteWeek


class SiteWeekOut(serializers.ModelSerializer):
    class Meta:
        model = SiteWeek
        fields = ["id", "site", "monday", "subject", "figures", "alerts", "measured_at"]


class CalibrationOut(serializers.ModelSerializer):
    class Meta:
        model = SiteCalibration
        fields = ["id", "site", "version", "status", "body", "sha256", "reason", "created_at"]


class UndoIn(serializers.Serializer):
    reason = serializers.CharField(max_length=500)


class MoveIn(serializers.Serializer):
    do = serializers.ChoiceField(["activate", "shadow", "retire"])
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class RateOut(serializers.Serializer):
    """A share with its 95 % interval (Wilson)."""

    value = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()
    n = serializers.IntegerField()


class OverrideOut(serializers.Serializer):
    said = serializers.CharField()
    signed = serializers.CharField()
    n = serializers.IntegerField()


class AgreementOut(serializers.Serializer):
    agreed = RateOut(allow_null=True)
    overridden = OverrideOut(many=True)


class ChangedOut(serializers.Serializer):
    case = serializers.UUIDField(source="case.pk")
    spoke = serializers.CharField(allow_blank=True)
    shadow = serializers.CharField(allow_blank=True)
    signed = serializers.CharField(allow_blank=True)
    verdict = serializers.CharField(allow_blank=True)


class ShadowOut(serializers.Serializer):
    n = serializers.IntegerField()
    failed = serializers.IntegerField()
    same = RateOut(allow_null=True)
    better = serializers.IntegerField()
    worse = serializers.IntegerField()
    changed = ChangedOut(many=True)


class InUseOut(serializers.Serializer):
    agreement = AgreementOut()
    shadow = ShadowOut()
