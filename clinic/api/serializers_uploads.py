from django.conf import settings
from rest_framework import serializers

from clinic.api.serializers import RejectionOut
from clinic.cases.models import ItemKind
from clinic.uploads.models import Upload


class UploadOut(serializers.ModelSerializer):
    rejection = RejectionOut(allow_null=True, help_text="Why it was refused; of a taken file see its item.")
    chunk_bytes = serializers.SerializerMethodField(help_text="How many bytes one PATCH may carry.")

    class Meta:
        model = Upload
        fields = [
            "id",
            "case",
            "filename",
            "size",
            "received",
            "sha256",
            "kind",
            "status",
            "item",
            "rejection",
            "started_at",
            "chunk_bytes",
        ]

    def get_chunk_bytes(self, _upload) -> int:
        return settings.UPLOAD_CHUNK_BYTES


class UploadIn(serializers.Serializer):
    filename = serializers.CharField(max_length=255)
    size = serializers.IntegerField(min_value=1, max_value=2**62)
    sha256 = serializers.RegexField(
        r"^[0-9a-f]{64}$", default="", help_text="Of the content: lets an upload go on, and a duplicate be noticed."
    )
    kind = serializers.ChoiceField(ItemKind.choices, default="", help_text="Where it is left out, the content tells.")
    options = serializers.DictField(default=dict, help_text="What is said of the file: sample, scale, row.")


class UploadRetryIn(serializers.Serializer):
    kind = serializers.ChoiceField(ItemKind.choices, default="", help_text="What the file is.")
    sample = serializers.CharField(max_length=200, allow_blank=True, default="", help_text="Which sample of it.")
