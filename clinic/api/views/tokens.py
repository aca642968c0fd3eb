from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import sites_where
from clinic.accounts.models import Site
from clinic.api.base import checked
from clinic.api.serializers_tokens import AccessTokenIn, AccessTokenMadeOut, AccessTokenOut
from clinic.cases.visibility import find
from clinic.errors import InvalidInput
from clinic.tokens.models import AccessToken, TokenKind
from clinic.tokens.services import create_personal_token, create_service_token, revoke, tokens_visible_to


class Tokens(ListAPIView):
    serializer_class = AccessTokenOut
    queryset = AccessToken.objects.none()
    ordering = ("-created_at", "-id")
    answer_is_secret = True

    def get_queryset(self):
        return self.queryset if getattr(self, "swagger_fake_view", False) else tokens_visible_to(self.request.user)

    def get(self, request, *args, **kwargs):
        """One's own tokens, and those of the services of the sites whose users one manages; newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=AccessTokenIn, responses={201: AccessTokenMadeOut})
    def post(self, request):
        """Make a token. It is told in this answer and never again.

        A personal token acts as its owner; a service token as an account of its own with the role `integrator` at its
        site. Either may do what that account may *and* its scopes name. A token makes no tokens: log in for that.
        """
        said = checked(AccessTokenIn, request)
        kind, site = said.pop("kind"), said.pop("site")
        if kind == TokenKind.SERVICE:
            if site is None:
                raise InvalidInput("missing", "A service works at one site.", "Name it.", place="site")
            where = find(lambda user: sites_where(user, "user.manage"), site, by=request.user)
            row, token = create_service_token(site=where, by=request.user, **said)
        else:
            where = find(_sites_of, site, by=request.user) if site else None
            row, token = create_personal_token(site=where, by=request.user, **said)
        return Response(AccessTokenMadeOut(row, context={"token": token}).data, status=201)


class OneToken(APIView):
    @extend_schema(operation_id="tokens_retrieve_one", responses=AccessTokenOut)
    def get(self, request, pk):
        """A token: all but the token itself."""
        return Response(AccessTokenOut(find(tokens_visible_to, pk, by=request.user)).data)

    @extend_schema(operation_id="tokens_revoke", request=None, responses={204: None})
    def delete(self, request, pk):
        """Revoke: the token is worth nothing from now on. Its row stays, for whoever asks later what it was."""
        revoke(token=find(tokens_visible_to, pk, by=request.user), by=request.user)
        return Response(status=204)


def _sites_of(user):
    return Site.objects.filter(memberships__user=user.pk)
