"""Who may open a page, and what is recorded when somebody does.

``note`` commits its event before the page is made: what cannot be recorded is not shown.
"""

from functools import wraps

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.shortcuts import resolve_url
from django_htmx.http import HttpResponseClientRedirect

from clinic.accounts.access import require
from clinic.audit.services import record


def note(request, action, **said):
    with transaction.atomic():
        record(action, by=request.user, **said)


def signed_in(view):
    """Only for who is signed in; what it shows concerns no patient."""

    @wraps(view)
    def guarded(request, *args, **kwargs):
        return view(request, *args, **kwargs) if request.user.is_authenticated else _to_login(request)

    return guarded


def allowed(act):
    """Only for who is signed in and may do ``act`` at some site; a refusal is recorded."""

    def decorate(view):
        @signed_in
        @wraps(view)
        def guarded(request, *args, **kwargs):
            require(request.user, act)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def _to_login(request):
    """A poll of a page whose session has ended moves the whole page; anything else comes back after the login."""
    if request.htmx:
        return HttpResponseClientRedirect(resolve_url(settings.LOGIN_URL))
    return redirect_to_login(request.get_full_path())
