from rest_framework import serializers

from clinic.tokens.models import AccessToken, TokenKind
from clinic.tokens.services import MAX_DAYS, SCOPES


class AccessTokenOut(serializers.ModelSerializer):
    owner = serializers.CharField(source="user.username")
    scopes = serializers.ListField(source="scope_list", child=serializers.CharField())

    class Meta:
        model = AccessToken
        fields = [
            "id",
            "kind",
            "name",
            "owner",
            "prefix",
            "scopes",
            "site",
            "created_at",
            "expires_at",
            "last_used_at",
            "revoked_at",
        ]


class AccessTokenMadeOut(AccessTokenOut):
    token = serializers.SerializerMethodField(help_text="Send it as `Authorization: Token …`. It is shown only now.")

    class Meta(AccessTokenOut.Meta):
        fields = [*AccessTokenOut.Meta.fields, "token"]

    def get_token(self, _row) -> str:
        return self.context["token"]


class AccessTokenIn(serializers.Serializer):
    kind = serializers.ChoiceField([TokenKind.PERSONAL, TokenKind.SERVICE], default=TokenKind.PERSONAL)
    name = serializers.CharField(max_length=80, help_text="What it is for. Of a service: its name.")
    scopes = serializers.ListField(child=serializers.ChoiceField(SCOPES), allow_empty=False, max_length=len(SCOPES))
    site = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="Where it works; required of a service."
    )
    days = serializers.IntegerField(min_value=1, max_value=MAX_DAYS, default=90, help_text="How long it lasts.")
