"""People, sites and roles. ``by`` is the one who acts; None is the operator at the machine itself."""

from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from clinic.accounts.access import require
from clinic.accounts.models import Membership, Role, Site, User
from clinic.audit.models import Action, Outcome
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
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInput("weak_password", " ".join(error.messages), "Choose another.", place="password") from error
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        raise Conflict("user_exists", "There is already a user of that name.", place="username") from error
    record(Action.USER_CREATE, by=by, obj=user, after={"username": username})
    return user


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


def issue_token(*, request, username, password):
    """Log in with name and password. Returns (token to send from now on, user); the database keeps only its hash."""
    user = authenticate(request, username=username, password=password)
    if user is None:
        record_failed_login(username=username)
        raise LoginFailed("login_failed", "Name or password is wrong.", "Try again, or ask your administrator.")
    return issue_for_login(user=user)[1], user


@transaction.atomic
def record_failed_login(*, username):
    """One who is known is named as the object, never as the actor: nobody was logged in."""
    known = User.objects.filter(username=username).first()
    record(Action.LOGIN_FAILED, obj=known, outcome=Outcome.FAILURE, detail={"username": username[:150]})
