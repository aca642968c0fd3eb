"""An administrator and the people of the site: who is open, who proves themselves how, where they are signed in."""

from allauth.mfa.models import Authenticator
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from clinic.accounts.access import may_manage, sites_where
from clinic.accounts.models import Membership, User
from clinic.accounts.sessions import end_all
from clinic.audit.models import Action
from clinic.audit.services import deny, record
from clinic.errors import Conflict, Denied, InvalidInput


def people_visible_to(user):
    """Whoever has a role at a site that ``user`` administers."""
    sites = sites_where(user, "user.manage")
    return User.objects.filter(pk__in=Membership.objects.filter(site__in=sites).values("user"))


@transaction.atomic
def set_active(*, user, active, by):
    """Close an account, or open it again. A closed one is out at once: sessions and tokens end in the same breath."""
    _check_whole(user, by, "user.active")
    if user == by:
        raise Conflict("own_account", "Nobody closes their own account.", "Another administrator does.")
    User.objects.filter(pk=user.pk).update(is_active=active)
    user.is_active = active
    if not active:
        end_all(user=user, by=by)
    record(Action.USER_CHANGE, by=by, obj=user, detail={"active": active})


@transaction.atomic
def set_password(*, user, password, by):
    """A first password, to be told the person and changed by them; every session and token ends."""
    _check_whole(user, by, "user.password")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInput("weak_password", " ".join(error.messages), "Choose another.", place="password") from error
    user.set_password(password)
    user.save(update_fields=["password"])
    record(Action.PASSWORD_CHANGE, by=by, obj=user)
    end_all(user=user, by=by)


@transaction.atomic
def reset_factors(*, user, by):
    """Telephone lost: take the second factors away, and with them every session."""
    _check_whole(user, by, "user.factors")
    gone = list(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    Authenticator.objects.filter(user=user).delete()
    record(Action.FACTOR_CHANGE, by=by, obj=user, detail={"factor": gone, "how": "taken away by an administrator"})
    end_all(user=user, by=by)


def _check_whole(user, by, act):
    """Only who administers every site of the person: else one site's administrator could act at another as them."""
    if by is None:
        return
    elsewhere = Membership.objects.filter(user=user).exclude(site__in=sites_where(by, "user.manage"))
    if not may_manage(by, user) or elsewhere.exists():
        deny(act, by=by, obj=user)
        problem = "This person also works at a site that you do not administer."
        raise Denied("not_allowed", problem, "Ask the operator, or an administrator of all their sites.")
