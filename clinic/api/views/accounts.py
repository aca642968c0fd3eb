from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.models import Site
from clinic.accounts.services import issue_token
from clinic.api.base import checked
from clinic.api.serializers import MeOut, SiteOut, TokenIn, TokenOut
from clinic.tokens.authentication import TokenAuthentication
from clinic.tokens.services import revoke


class Token(APIView):
    answer_is_secret = True
    permission_classes = [AllowAny]

    def get_authenticators(self):
        """Nobody is anybody before the login; a token is given back only with itself."""
        return [] if self.request and self.request.method == "POST" else [TokenAuthentication()]

    @extend_schema(operation_id="log_in", request=TokenIn, responses={201: TokenOut}, auth=[])
    def post(self, request):
        """Log in with name and password."""
        token, _ = issue_token(request=request, **checked(TokenIn, request))
        return Response({"token": token}, status=201)

    @extend_schema(operation_id="log_out", request=None, responses={204: None})
    def delete(self, request):
        """Log out: the token that this request carries is worth nothing from now on."""
        if request.auth is None:
            raise NotAuthenticated
        revoke(token=request.auth, by=request.user)
        return Response(status=204)


class Me(APIView):
    @extend_schema(responses=MeOut)
    def get(self, request):
        """Who is asking, and in which role where."""
        return Response(MeOut(request.user).data)


class Sites(APIView):
    @extend_schema(responses=SiteOut(many=True))
    @transaction.atomic
    def get(self, request):
        """The sites where the user has a role, and the token that asks is good for."""
        sites = Site.objects.filter(memberships__user=request.user).order_by("name")
        if request.auth and request.auth.site_id:
            sites = sites.filter(pk=request.auth.site_id)
        return Response(SiteOut(sites, many=True).data)
