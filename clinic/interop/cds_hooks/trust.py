"""Whose calls are taken: the JWT of a CDS client, judged by what the settings know of its issuer and by nothing else.

Keys come from the settings alone. Whatever address a token names (``jku``, ``x5u``) is not looked at: nothing is ever
called from here because a stranger says so.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

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
REQUIRED = ["iss", "aud", "exp", "iat", "jti"]


@dataclass(frozen=True)
class Caller:
    """A trusted client, and the user of ours as whom it reads."""

    issuer: str
    user: User


def caller_of(header, *, audience):
    """Who calls, by the Authorization header. Raises LoginFailed with one sentence for every reason."""
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
    if claims["exp"] - claims["iat"] > LONGEST_SECONDS or not isinstance(claims["jti"], str):
        raise _refused("bad_token")
    user = User.objects.filter(username=client["user"], is_active=True).first()
    if user is None:
        raise _refused("no_user")
    _use_once(claims["iss"], claims["jti"], expires)
    return Caller(claims["iss"], user)


def _key(client, header):
    """The client's own key of that id; where it has only one, that one."""
    keys = [jwt.PyJWK.from_dict(key) for key in client["keys"]]
    named = [key for key in keys if key.key_id == header.get("kid")]
    chosen = named or (keys if len(keys) == 1 and "kid" not in header else [])
    if not chosen:
        raise _refused("unknown_key")
    return chosen[0]


def _use_once(issuer, jti, expires):
    now = datetime.now(UTC)
    try:
        with transaction.atomic():
            UsedToken.objects.create(issuer=issuer, jti=jti[:200], expires_at=expires)
    except IntegrityError:
        raise _refused("replayed") from None
    if now.second == 0:  # about once a minute is often enough
        UsedToken.objects.filter(expires_at__lt=now.replace(minute=0, second=0, microsecond=0)).delete()


def _refused(why):
    error = LoginFailed("token_refused", "This token is not taken.", "See the integrator guide on CDS Hooks.")
    error.why = why
    return error
