from rest_framework import serializers

from clinic.interop.results.models import HeldResult


class HeldOut(serializers.ModelSerializer):
    class Meta:
        model = HeldResult
        fields = [
            "id",
            "site",
            "patient",
            "source",
            "reason",
            "problem",
            "local_code",
            "said",
            "status",
            "received_at",
            "decided_at",
            "decision",
            "result",
        ]


class TakeIn(serializers.Serializer):
    loinc = serializers.CharField(max_length=20, allow_blank=True, default="", help_text="What the code means")
    unit = serializers.CharField(max_length=60, allow_blank=True, default="", help_text="In which unit the value is")
    number = serializers.FloatField(required=False, allow_null=True, help_text="The measured value")
    patient = serializers.UUIDField(required=False, allow_null=True, help_text="Whose result it is")
    remember = serializers.BooleanField(default=False, help_text="Read the site's code so from now on")


class DismissIn(serializers.Serializer):
    reason = serializers.CharField(max_length=500)
