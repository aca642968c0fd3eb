"""The people of a site, for its administrators: accounts, roles, sessions."""

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.db import transaction
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from clinic.accounts import people as rules
from clinic.accounts import services, sessions
from clinic.accounts.access import sites_where
from clinic.cases.visibility import find
from clinic.errors import InvalidInput, MarrowError
from clinic.portal.forms import NewPersonForm, RoleForm, put_beside
from clinic.portal.guard import allowed


@require_GET
@allowed("user.manage")
def people(request):
    rows = rules.people_visible_to(request.user).prefetch_related("memberships__site").order_by("username")
    with_factor = set(Authenticator.objects.filter(user__in=rows).values_list("user_id", flat=True))
    return render(request, "portal/people.html", {"rows": [(row, row.pk in with_factor) for row in rows]})


@require_http_methods(["GET", "POST"])
@allowed("user.manage")
def new_person(request):
    form = NewPersonForm(request.POST if request.method == "POST" else None, user=request.user)
    if form.is_valid():
        said = dict(form.cleaned_data)
        site, role = said.pop("site"), said.pop("role")
        try:
            with transaction.atomic():
                made = services.create_user(**said, by=request.user)
                services.grant_role(user=made, site=site, role=role, by=request.user)
        except MarrowError as error:
            put_beside(form, error)
        else:
            return redirect("portal:person", made.pk)
    return render(request, "portal/new_person.html", {"form": form}, status=400 if form.errors else 200)


@require_GET
@allowed("user.manage")
def person(request, pk):
    shown = find(rules.people_visible_to, pk, by=request.user)
    memberships = shown.memberships.select_related("site").order_by("site__name")
    page = {
        "person": shown,
        "memberships": memberships,
        "role_form": RoleForm(user=request.user, initial=_role_here(memberships, request.user)),
        "sessions": sessions.sessions_of(shown),
        "factors": [row.get_type_display() for row in Authenticator.objects.filter(user=shown)],
    }
    return render(request, "portal/person.html", page)


def _role_here(memberships, user):
    """What the form begins with: a role of theirs that ``user`` may change, so that none is taken by default."""
    own = memberships.filter(site__in=sites_where(user, "user.manage")).first()
    return {"site": own.site_id, "role": own.role} if own else {}


def _set_role(person, data, by):
    form = RoleForm(data, user=by)
    if not form.is_valid():
        raise InvalidInput("invalid", "Choose a site of yours and a role.")
    services.grant_role(user=person, site=form.cleaned_data["site"], role=form.cleaned_data["role"] or None, by=by)


ACTS = {
    "role": _set_role,
    "password": lambda person, data, by: rules.set_password(user=person, password=data.get("password", ""), by=by),
    "close": lambda person, _, by: rules.set_active(user=person, active=False, by=by),
    "open": lambda person, _, by: rules.set_active(user=person, active=True, by=by),
    "factors": lambda person, _, by: rules.reset_factors(user=person, by=by),
    "sessions": lambda person, _, by: sessions.end_all(user=person, by=by),
}


@require_POST
@allowed("user.manage")
def change_person(request, pk):
    """One of ``ACTS``, named by the button."""
    shown = find(rules.people_visible_to, pk, by=request.user)
    act = ACTS.get(request.POST.get("act", ""))
    try:
        if act is None:
            raise InvalidInput("unknown_act", "There is no such act.", "Use the buttons of the page.")
        act(shown, request.POST, request.user)
    except MarrowError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, "Done.")
    still_there = rules.people_visible_to(request.user).filter(pk=pk).exists()
    return redirect("portal:person", pk) if still_there else redirect("portal:people")
