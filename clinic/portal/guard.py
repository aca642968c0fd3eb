"""Who may open a page, and what is recorded when somebody does.

``note`` commits its event before the page is made: what cannot be recorded is not shown.
"""

from functools import wraps

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.shortcuts import resolve_url
from django_htmx.http import HttpResponseClientRedirect

from clinic.accounts.access import acts_of_roles, require
from clinic.audit.services import record

KEPT = "_roles"


def roles(request):
    """The person's roles with their sites, asked of the database once a request: guard, bar and banners share them."""
    if not hasattr(request, KEPT):
        rows = request.user.memberships.select_related("site").order_by("site__name")
        setattr(request, KEPT, list(rows) if request.user.is_active else [])
    return getattr(request, KEPT)


def acts(request):
    """Every act that the person may do at some site."""
    return acts_of_roles(row.role for row in roles(request))


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
            if act not in acts(request):
                require(request.user, act)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def _to_login(request):
    """A poll of a page whose session has ended moves the whole page; anything else comes back after the login."""
    if request.htmx:
        return HttpResponseClientRedirect(resolve_url(settings.LOGIN_URL))
    return redirect_to_login(request.get_full_path())
