from rest_framework import serializers

from clinic.api.serializers import RejectionOut
from clinic.imports.models import Import, ImportKind, ImportRow
from clinic.imports.services import counts


class CountsOut(serializers.Serializer):
    pending = serializers.IntegerField()
    created = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    rejected = serializers.IntegerField()


class ImportOut(serializers.ModelSerializer):
    rows = serializers.SerializerMethodField(help_text="How many rows have which verdict; together they are `total`.")

    class Meta:
        model = Import
        fields = [
            "id",
            "site",
            "kind",
            "filename",
            "sha256",
            "status",
            "total",
            "rows",
            "requested_at",
            "finished_at",
        ]

    def get_rows(self, job) -> CountsOut:
        return counts(job)


class ImportIn(serializers.Serializer):
    site = serializers.UUIDField()
    kind = serializers.ChoiceField(ImportKind.choices)
    file = serializers.FileField(allow_empty_file=True, help_text="CSV with a header, or NDJSON; UTF-8.")


class ImportRowOut(serializers.ModelSerializer):
    problem = RejectionOut(allow_null=True)
    item_status = serializers.CharField(
        source="item.status", allow_null=True, default=None, help_text="What the reader said of the row's values."
    )

    class Meta:
        model = ImportRow
        fields = ["id", "number", "status", "problem", "content", "patient", "case", "item", "item_status"]
