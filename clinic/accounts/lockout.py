"""How often a password or code may be tried: never so that a stranger can lock somebody out (docs/decisions/024).

Tries are counted per account and place: at most ten in any quarter of an hour. A browser in which the account has
signed in before is a place of its own, whoever else sits behind its address. When strangers have tried an account a
hundred times, each further strange address gets one try: enough for its owner, not for guessing.
"""

import hashlib
import time
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import get_random_string

from clinic.accounts.models import LoginTries
from clinic.audit.context import address_of
from clinic.errors import MarrowError

WINDOW = 15 * 60
PER_PAIR = 10
PER_ADDRESS = 100
UNDER_ATTACK = 100
DEVICE_COOKIE = "marrow_device"
DEVICE_DAYS = 90
SALT = "marrow.device"


class TooManyTries(MarrowError):
    status = 429
    title = "Too many tries"

    def __init__(self):
        super().__init__("too_many_tries", "Too many failed attempts.", "Wait a quarter of an hour.")


def account_key(name):
    return hashlib.sha256(name.strip().casefold().encode()).hexdigest()


def place_of(request, account):
    """(place, whether the account has signed in there before). No request: the operator at the machine itself."""
    if request is None:
        return "console", False
    try:
        said = signing.loads(request.COOKIES.get(DEVICE_COOKIE, ""), salt=SALT, max_age=DEVICE_DAYS * 86400)
    except signing.BadSignature:
        said = {}
    if nonce := said.get(account):
        return f"device:{nonce}", True
    return address_of(request)[:64] or "unknown", False


def remember_device(request, response, username):
    """From now on this browser is a place of its own for the account; those it knew before stay known."""
    try:
        said = signing.loads(request.COOKIES.get(DEVICE_COOKIE, ""), salt=SALT, max_age=DEVICE_DAYS * 86400)
    except signing.BadSignature:
        said = {}
    key = account_key(username)
    kept = dict(list(said.items())[-7:]) | {key: said.get(key) or get_random_string(22)}
    response.set_cookie(
        DEVICE_COOKIE,
        signing.dumps(kept, salt=SALT, compress=True),
        max_age=DEVICE_DAYS * 86400,
        httponly=True,
        secure=bool(settings.SESSION_COOKIE_SECURE),
        samesite="Strict",
    )


def take_try(*, account, place, known):
    """Count one try before its password is looked at; whether it was the last one. Raises TooManyTries."""
    _tries_left({(row.account, row.place): row for row in _those(account, place)}, account, place, known)
    return _count(account, place, known)  # asked first without a lock: who is refused costs one question


@transaction.atomic
def _count(account, place, known):
    now, rows = time.time(), _locked(account, place)
    left = _tries_left(rows, account, place, known)
    for key in _counted(account, place, known):
        rows[key].at = [*_recent(rows[key].at), now]
        rows[key].save()
    return left == 1


def _tries_left(rows, account, place, known):
    pair, of_account, of_address = (len(_recent(rows[key].at)) if key in rows else 0 for key in _keys(account, place))
    left = (PER_PAIR if known or of_account < UNDER_ATTACK else 1) - pair
    if left <= 0 or (not known and of_address >= PER_ADDRESS):
        raise TooManyTries
    return left


def _recent(at):
    return [then for then in at if time.time() - then < WINDOW]


@transaction.atomic
def give_back(*, account, place, known):
    """The try was right: it does not count."""
    rows = _locked(account, place)
    for key in _counted(account, place, known):
        rows[key].at = rows[key].at[:-1]
        rows[key].save()


def forget_old():
    LoginTries.objects.filter(changed_at__lt=timezone.now() - timedelta(seconds=WINDOW)).delete()


def _keys(account, place):
    return [(account, place), (account, ""), ("", place)]


def _counted(account, place, known):
    return _keys(account, place)[: 1 if known else 3]


def _those(account, place):
    return LoginTries.objects.filter(account__in=[account, ""], place__in=[place, ""])


def _locked(account, place):
    """The three counts, locked in one order until the transaction ends (on SQLite the whole database is)."""
    LoginTries.objects.bulk_create(
        [LoginTries(account=key[0], place=key[1]) for key in _keys(account, place)], ignore_conflicts=True
    )
    rows = _those(account, place).select_for_update().order_by("pk")
    return {(row.account, row.place): row for row in rows}
