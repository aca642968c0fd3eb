"""Proving who one is: name and password, second factor, and both again at a signature.

Whoever fails learns nothing but that: an unknown name, a closed account and a wrong password get the same words after
the same work.
"""

import time

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    compare_user_code,
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.mfa.utils import decrypt, is_mfa_enabled
from django.conf import settings
from django.contrib.auth import authenticate
from django.db import transaction

from clinic.accounts.lockout import account_key, give_back, place_of, take_try
from clinic.accounts.models import User
from clinic.audit.context import current
from clinic.audit.models import Action, Outcome
from clinic.audit.services import deny, record
from clinic.errors import Denied, LoginFailed

SECOND_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def check_password(*, request, username, password):
    """The user of this name and password. Raises LoginFailed and TooManyTries."""
    account = account_key(username)
    place, known = place_of(request, account)
    last = take_try(account=account, place=place, known=known)
    user = authenticate(request, username=username, password=password)
    if user is None:
        record_failed_login(username=username, locked=last)
        raise LoginFailed("login_failed", "Name or password is wrong.", "Try again, or ask your administrator.")
    give_back(account=account, place=place, known=known)
    return user


@transaction.atomic
def record_failed_login(*, username, locked=False, factor="password"):
    """One who is known is named as the object, never as the actor: nobody was logged in."""
    known = User.objects.filter(username=username).first()
    said = {"username": username[:150], "factor": factor}
    record(Action.LOGIN_FAILED, obj=known, outcome=Outcome.FAILURE, detail=said | ({"locked": True} if locked else {}))


def single_sign_on():
    """(name, id) of the directory that the settings name, or None."""
    apps = settings.SOCIALACCOUNT_PROVIDERS.get("openid_connect", {}).get("APPS", [])
    return (apps[0]["name"], apps[0]["provider_id"]) if apps else None


def has_second_factor(user):
    return is_mfa_enabled(user, SECOND_FACTORS)


def lacks_second_factor(user):
    """Whether one of the user's roles must have a second factor (``SECOND_FACTOR_ROLES``) and there is none."""
    roles = settings.SECOND_FACTOR_ROLES
    return bool(roles) and user.memberships.filter(role__in=roles).exists() and not has_second_factor(user)


def prove_again(*, by, password, code="", act, obj):
    """Who signs proves again who they are: password, and second factor where the account has one.

    Returns the factors. Who has a security key alone confirms with it just before; who comes by the directory and has
    no password here signs with the second factor. Each failure is a denial of ``act``. Raises Denied, TooManyTries.
    """
    request, proved = current().request, []
    if by.has_usable_password():
        _prove_password(request, by, password, act, obj)
        proved.append("password")
    if recent := _key_just_used(request, by):
        return [*proved, recent]
    if not has_second_factor(by) and proved:
        return proved
    found = check_code(request=request, user=by, code=code) if code else None
    if found is None:
        deny(act, by=by, obj=obj, detail={"why": "wrong code" if code else "no code"})
        problem = "The code is not right." if code else "This account signs with a second factor as well."
        remedy = "Enter the code of your authenticator app, or confirm with your security key first (your account)."
        raise Denied("code_needed", problem, remedy, place="code")
    return [*proved, found.type]


def _prove_password(request, by, password, act, obj):
    account = account_key(by.username)
    place, known = place_of(request, account)
    take_try(account=account, place=place, known=known)
    if not by.check_password(password):
        deny(act, by=by, obj=obj, detail={"why": "wrong password"})
        remedy = "Enter the password you log in with."
        raise Denied("wrong_password", "The password is not right.", remedy, place="password")
    give_back(account=account, place=place, known=known)


def _key_just_used(request, by):
    """The word webauthn where this session confirmed with a security key within the last minutes."""
    if request is None or not hasattr(request, "session"):
        return ""
    since = time.time() - settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    said = get_authentication_records(request, by)
    keys = (one for one in said if one.get("type") == "webauthn" and one.get("reauthenticated"))
    return "webauthn" if any(one["at"] > since for one in keys) else ""


def check_code(*, request, user, code):
    """Whether ``code`` is one of the user's authenticator or recovery codes, good once. Raises TooManyTries."""
    account = f"code:{user.pk}"
    place, _ = place_of(request, account_key(user.username))
    take_try(account=account, place=place, known=True)
    found = _right_code(user, "".join(code.split()))
    if found:
        give_back(account=account, place=place, known=True)
    return found


@transaction.atomic
def _right_code(user, code):
    """The authenticator that the code is of, or None."""
    for row in Authenticator.objects.select_for_update().filter(user=user):
        if row.type == Authenticator.Type.TOTP and _use_totp(row, code):
            return row
        if row.type == Authenticator.Type.RECOVERY_CODES and row.wrap().validate_code(code):
            return row
    return None


def _use_totp(row, code):
    """A code is good once, in whatever process it is used: the step it was made for is kept in the row."""
    secret, last = decrypt(row.data["secret"]), row.data.get("last_step", 0)
    for step in yield_hotp_counters_from_time():
        if compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, step))) and step > last:
            row.data["last_step"] = step
            row.save(update_fields=["data"])
            return True
    return False
