"""Whose calls are taken: the JWT of a CDS client, judged by what the settings know of its issuer and by nothing else.

Keys come from the settings alone. Whatever address a token names (``jku``, ``x5u``) is not looked at: nothing is ever
called from here because a stranger says so.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt
from django.conf import settings
from django.db import IntegrityError, transaction

from clinic.accounts.models import User
from clinic.errors import LoginFailed
from clinic.interop.cds_hooks.models import UsedToken

ALGORITHMS = ("ES256", "ES384", "RS256", "RS384")
MOST_BYTES = 8000
LEEWAY_SECONDS = 30
LONGEST_SECONDS = 600
LONGEST_JTI = 200
REQUIRED = ["iss", "aud", "exp", "iat", "jti"]


@dataclass(frozen=True)
class Caller:
    """A trusted client, the user of ours as whom it reads, and the token by which it said so."""

    issuer: str
    user: User
    jti: str
    expires: datetime


def caller_of(header, *, audience):
    """Who calls, by the Authorization header. Raises LoginFailed with one sentence for every reason.

    The token is not spent by this: whoever answers calls ``spend`` in the transaction of the answer.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not 0 < len(token) <= MOST_BYTES:
        raise _refused("no_token")
    try:
        claimed = jwt.decode(token, options={"verify_signature": False})
        client = settings.CDS_CLIENTS.get(str(claimed.get("iss")))
        if client is None:
            raise _refused("unknown_issuer")
        claims = jwt.decode(
            token,
            _key(client, jwt.get_unverified_header(token)),
            algorithms=[name for name in client.get("algorithms", ALGORITHMS) if name in ALGORITHMS],
            issuer=str(claimed["iss"]),
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED},
        )
        expires = datetime.fromtimestamp(claims["exp"], UTC)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as fault:
        raise _refused("bad_token") from fault
    jti = claims["jti"]
    if claims["exp"] - claims["iat"] > LONGEST_SECONDS or not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI:
        raise _refused("bad_token")
    user = User.objects.filter(username=client["user"], is_active=True).first()
    if user is None:
        raise _refused("no_user")
    return Caller(claims["iss"], user, jti, expires)


def spend(caller):
    """Take the token, once; within the transaction of what it is taken for, so that neither is without the other."""
    now = datetime.now(UTC)
    try:
        with transaction.atomic():
            UsedToken.objects.create(issuer=caller.issuer, jti=caller.jti, expires_at=caller.expires)
    except IntegrityError:
        raise _refused("replayed") from None
    if now.second == 0:  # about once a minute is often enough
        UsedToken.objects.filter(expires_at__lt=now - timedelta(seconds=2 * LEEWAY_SECONDS)).delete()


def _key(client, header):
    """The client's own key of that id; where it has only one, that one."""
    keys = [jwt.PyJWK.from_dict(key) for key in client["keys"]]
    named = [key for key in keys if key.key_id == header.get("kid")]
    chosen = named or (keys if len(keys) == 1 and "kid" not in header else [])
    if not chosen:
        raise _refused("unknown_key")
    return chosen[0]


def _refused(why):
    error = LoginFailed("token_refused", "This token is not taken.", "See the integrator guide on CDS Hooks.")
    error.why = why
    return error
