"""People, sites and roles. ``by`` is the one who acts; None is the operator at the machine itself."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from clinic.accounts.access import require
from clinic.accounts.login import (
    check_code,
    check_password,
    has_second_factor,
    lacks_second_factor,
    record_failed_login,
)
from clinic.accounts.models import Membership, Role, Site, User
from clinic.accounts.sessions import end_all
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.errors import Conflict, Denied, InvalidInput, LoginFailed
from clinic.tokens.services import issue_for_login


@transaction.atomic
def create_site(*, code, name, by=None):
    if by:
        raise Denied("not_allowed", "Only the operator at the machine adds a site.")
    try:
        with transaction.atomic():
            site = Site.objects.create(code=code, name=name)
    except IntegrityError as error:
        raise Conflict("site_exists", f"There is already a site with the code {code}.", place="code") from error
    record(Action.SITE_CREATE, obj=site, site=site)
    return site


@transaction.atomic
def create_user(*, username, password, first_name="", last_name="", by=None):
    if by:
        require(by, "user.manage")
    user = User(username=username, first_name=first_name, last_name=last_name)
    _set_password(user, password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        raise Conflict("user_exists", "There is already a user of that name.", place="username") from error
    record(Action.USER_CREATE, by=by, obj=user, after={"username": username})
    return user


def change_own_password(*, request, old, new, by):
    """Another password, which the old one must vouch for; every other session and token of the account ends."""
    try:
        check_password(request=request, username=by.username, password=old)
    except LoginFailed as error:
        raise Denied("wrong_password", "The present password is not right.", place="old") from error
    with transaction.atomic():
        _set_password(by, new, place="new")
        by.save(update_fields=["password"])
        record(Action.PASSWORD_CHANGE, by=by, obj=by)
        end_all(user=by, by=by, keep=request.session.session_key)


def _set_password(user, password, place="password"):
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInput("weak_password", " ".join(error.messages), "Choose another.", place=place) from error
    user.set_password(password)


@transaction.atomic
def grant_role(*, user, site, role, by=None):
    """Give ``user`` this one role at ``site``, instead of the one before; None takes the role away."""
    if by:
        require(by, "user.manage", site, obj=user)
    if role is not None and role not in Role.values:
        raise InvalidInput("unknown_role", f"There is no role {role}.", f"Use one of {', '.join(Role.values)}.")
    held = Membership.objects.filter(user=user, site=site)
    before = held.values_list("role", flat=True).first()
    if role is None:
        held.delete()
    else:
        Membership.objects.update_or_create(user=user, site=site, defaults={"role": role})
    said = {"from": before, "to": role}
    record(Action.ROLE_CHANGE, by=by, obj=user, site=site, detail=said, before={"role": before}, after={"role": role})


def issue_token(*, request, username, password, code=""):
    """Log in with name and password, and a code where the account asks for one. Returns (token, user).

    The token is what to send from now on; the database keeps only its hash.
    """
    user = check_password(request=request, username=username, password=password)
    if has_second_factor(user) and not (code and check_code(request=request, user=user, code=code)):
        record_failed_login(username=username, factor="code")
        problem = "This account needs a code of its authenticator as well."
        raise LoginFailed("code_needed", problem, "Send it as code.", place="code")
    if lacks_second_factor(user):
        record_failed_login(username=username, factor="none set up")
        problem = "Your role needs a second factor, and this account has none."
        raise LoginFailed("second_factor_needed", problem, "Set one up in the portal first.")
    return issue_for_login(user=user)[1], user
