"""``Authorization: Token …`` (or ``Bearer …``, the word that other standards use)."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed

from clinic.tokens.services import token_of


class TokenAuthentication(BaseAuthentication):
    WORDS = (b"token", b"bearer")

    def authenticate(self, request):
        word, _, secret = get_authorization_header(request).partition(b" ")
        if word.lower() not in self.WORDS:
            return None
        token = token_of(secret.strip().decode("latin-1"))
        if token is None:
            raise AuthenticationFailed("This token is not known, has expired or was revoked.")
        token.user.token = token  # what the user may do in this request ends where the token's scopes do
        return token.user, token

    def authenticate_header(self, request):  # noqa: ARG002 (REST framework's signature)
        return "Token"


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema):  # noqa: ARG002 (the library's signature)
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token …` or `Bearer …`: a personal or service token, or one from POST /api/v1/auth/token",
        }
