"""Whose session needs a second factor: the roles of ``SECOND_FACTOR_ROLES``. Until they have one, they may set one up.

Tokens are not asked: each was made in a session, may do less, ends, and is revoked with the account's sessions; a login
that asks for one by name and password is refused. Nor is who comes by the hospital's directory, which asks for its own.
"""

from allauth.account.internal.flows.login import get_authentication_records
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.http import JsonResponse
from django.shortcuts import redirect, resolve_url
from django_htmx.http import HttpResponseClientRedirect

from clinic.accounts.login import lacks_second_factor
from clinic.accounts.models import Role
from clinic.api.problems import API_PREFIXES, problem

OPEN = {
    "account_login",
    "account_logout",
    "account_reauthenticate",
    "account_change_password",
    "portal:login",
    "portal:logout",
    "portal:appearance",
}
WANTED = "Your role needs a second factor: set up an authenticator app or a security key, then go on."


class SecondFactorWanted:
    def __init__(self, get_response):
        if unknown := set(settings.SECOND_FACTOR_ROLES) - set(Role.values):
            raise ImproperlyConfigured(f"MARROW_SECOND_FACTOR_ROLES names no roles: {', '.join(sorted(unknown))}.")
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, _view, _args, _kwargs):
        name = request.resolver_match.view_name or ""
        if name in OPEN or name.startswith("mfa_") or not wants_second_factor(request):
            return None
        if request.path.startswith(API_PREFIXES):
            said = problem(403, "second_factor_needed", WANTED, path=request.path)
            return JsonResponse(said, status=403, content_type="application/problem+json")
        if request.htmx:
            return HttpResponseClientRedirect(resolve_url("mfa_index"))
        messages.warning(request, WANTED)
        return redirect("mfa_index")


def wants_second_factor(request):
    """Whether this session is of somebody who must have a second factor and has none."""
    user = request.user
    if not user.is_authenticated or not lacks_second_factor(user):
        return False
    return not any(one.get("method") == "socialaccount" for one in get_authentication_records(request, user))
