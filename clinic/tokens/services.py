"""Tokens: made, told once, looked up by their hash, revoked. ``by`` is the one who acts."""

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from clinic.accounts.access import ACTS_OF_ROLE, require, sites_where
from clinic.accounts.models import Membership, Role, User
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.errors import Conflict, Denied, InvalidInput
from clinic.tokens.models import AccessToken, TokenKind

PREFIX = "mrw_"
MAX_DAYS = 366
SCOPES = sorted(set().union(*ACTS_OF_ROLE.values()))
SEEN_EVERY = timedelta(minutes=1)


@transaction.atomic
def issue_for_login(*, user):
    """A token for who has just logged in. Returns (row, token)."""
    row, token = _issue(user=user, kind=TokenKind.LOGIN, days=settings.LOGIN_TOKEN_DAYS, by=user)
    record(Action.TOKEN_CREATE, by=user, obj=row, detail=_said(row))
    return row, token


@transaction.atomic
def create_personal_token(*, name, scopes, site=None, days, by):
    """A token that acts as ``by``, within ``scopes`` and at ``site`` alone (None: wherever ``by`` works)."""
    _check(by, scopes, days)
    if site:
        _require_any_act(by, site)
    row, token = _issue(user=by, kind=TokenKind.PERSONAL, name=_named(name), scopes=scopes, site=site, days=days, by=by)
    record(Action.TOKEN_CREATE, by=by, obj=row, site=site, detail=_said(row))
    return row, token


@transaction.atomic
def create_service_token(*, name, scopes, site, days, by):
    """A token of a program at ``site``: its own account, an integrator's, is made with the first token of that name."""
    require(by, "user.manage", site)
    _check(by, scopes, days)
    beyond = sorted(set(scopes) - ACTS_OF_ROLE[Role.INTEGRATOR])
    if beyond:
        problem = f"A service cannot have the scopes {', '.join(beyond)}."
        raise InvalidInput("scope_of_persons", problem, "Leave them out.", place="scopes")
    user = _service_account(_named(name), site, by)
    row, token = _issue(
        user=user, kind=TokenKind.SERVICE, name=name.strip(), scopes=scopes, site=site, days=days, by=by
    )
    record(Action.TOKEN_CREATE, by=by, obj=row, site=site, detail=_said(row) | {"account": user.username})
    return row, token


@transaction.atomic
def revoke(*, token, by):
    """The token is worth nothing from now on. To do it twice is no error, and no second event."""
    if AccessToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        record(Action.TOKEN_REVOKE, by=by, obj=token, site=token.site, detail=_said(token))


def revoke_all_of(*, user, by):
    """Every live token of ``user``."""
    for token in AccessToken.objects.filter(user=user, revoked_at=None, expires_at__gt=timezone.now()):
        revoke(token=token, by=by)


def tokens_visible_to(user):
    """One's own; and the services' of the sites whose users one manages."""
    services = Q(kind=TokenKind.SERVICE, site__in=sites_where(user, "user.manage"))
    return AccessToken.objects.filter(Q(user=user.pk) | services).select_related("site", "user", "created_by")


def token_of(secret):
    """The live token that this is, its use noted (once a minute); None where it is none."""
    rows = AccessToken.objects.filter(sha256=_hash(secret)).select_related("user")
    token = rows.first()
    if token is None or not token.live or not token.user.is_active:
        return None
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - SEEN_EVERY:
        AccessToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def _hash(secret):
    """A plain hash is enough: the secret is 256 random bits, not something that a person chose."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _issue(*, user, kind, days, by, name="", scopes=(), site=None):
    secret = PREFIX + secrets.token_urlsafe(32)
    row = AccessToken.objects.create(
        user=user,
        kind=kind,
        name=name,
        prefix=secret[: len(PREFIX) + 6],
        sha256=_hash(secret),
        scopes=" ".join(sorted(scopes)),
        site=site,
        expires_at=timezone.now() + timedelta(days=days),
        created_by=by,
    )
    return row, secret


def _said(row):
    """What the log keeps of a token: enough to know it again, too little to use it."""
    return {
        "token": row.prefix,
        "kind": row.kind,
        "name": row.name,
        "scopes": row.scope_list,
        "site": str(row.site_id or ""),
        "expires": row.expires_at,
    }


def _named(name):
    if not name.strip():
        raise InvalidInput("missing", "It is empty.", "Say what the token is for.", place="name")
    return name.strip()


def _check(by, scopes, days):
    token = getattr(by, "token", None)
    if token and token.kind != TokenKind.LOGIN:
        raise Denied("token_by_token", "A token makes no tokens.", "Log in with name and password.")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        problem = f"There is no scope {', '.join(unknown)}."
        raise InvalidInput("unknown_scope", problem, f"Use some of {', '.join(SCOPES)}.", place="scopes")
    if not scopes:
        raise InvalidInput("missing", "A token needs a scope.", f"Use some of {', '.join(SCOPES)}.", place="scopes")
    if not 1 <= days <= MAX_DAYS:
        raise InvalidInput("too_long", f"A token lasts 1 to {MAX_DAYS} days.", "Choose fewer days.", place="days")


def _require_any_act(user, site):
    if not Membership.objects.filter(user=user, site=site).exists():
        raise Denied("not_allowed", "You have no role at this site.", "Choose one of your own.", place="site")


def _service_account(name, site, by):
    """The account of the service of this name at ``site``; it has no password, so nobody logs in as it."""
    username = f"service:{site.code}:{name.casefold()}"[:150]
    user = User.objects.filter(username=username).first()
    if user is None:
        user = User(username=username, last_name=name[:150])
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError as error:
            raise Conflict("user_exists", "This service is being made just now.", "Try again.", place="name") from error
        Membership.objects.create(user=user, site=site, role=Role.INTEGRATOR)
        record(Action.USER_CREATE, by=by, obj=user, site=site, after={"username": username, "role": Role.INTEGRATOR})
    return user
