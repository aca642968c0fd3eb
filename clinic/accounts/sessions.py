"""Sessions: over after a quarter of an hour without an act and after eight hours in any case; listed, and ended."""

import time

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import logout
from django.db import transaction
from django.utils import timezone

from clinic.accounts.access import may_manage
from clinic.audit.models import Action
from clinic.audit.services import deny, record
from clinic.errors import Denied
from clinic.tokens.services import revoke_all_of

BEGUN, SEEN = "begun_at", "seen_at"
BACKGROUND = "/pulse/"  # the end of an address that a page polls by itself: no act of a person
WRITE_EVERY = 20


def session_limits(get_response):
    """End a session that is over; note that the others are in use."""

    def middleware(request):
        if request.user.is_authenticated:
            _end_or_keep(request)
        return get_response(request)

    return middleware


def _end_or_keep(request):
    now, session = int(time.time()), request.session
    begun, seen = session.get(BEGUN, now), session.get(SEEN, now)
    if now - begun >= settings.SESSION_COOKIE_AGE or now - seen >= settings.SESSION_IDLE_SECONDS:
        why = "age" if now - begun >= settings.SESSION_COOKIE_AGE else "idle"
        with transaction.atomic():
            record(Action.LOGOUT, by=request.user, obj=request.user, detail={"why": why})
        UserSession.objects.filter(session_key=session.session_key).delete()
        logout(request)
        return
    if BEGUN not in session:
        session[BEGUN] = session[SEEN] = now
    elif now - seen >= WRITE_EVERY and not request.path.endswith(BACKGROUND):
        session[SEEN] = now
        UserSession.objects.filter(session_key=session.session_key).update(last_seen_at=timezone.now())


def own_sessions(user):
    return UserSession.objects.filter(user=user)


def sessions_of(user):
    """The user's live sessions, newest act first."""
    return sorted(UserSession.objects.purge_and_list(user), key=lambda session: session.last_seen_at, reverse=True)


@transaction.atomic
def end_session(*, session, by):
    """Anybody ends their own; an administrator those of the people of the site."""
    _check_may_end(session.user, by)
    record(Action.SESSION_END, by=by, obj=session.user, detail={"sessions": 1, "address": session.ip})
    session.end()


@transaction.atomic
def end_all(*, user, by, keep=None):
    """Every session of ``user`` but the one with the key ``keep``, and every token, is worth nothing from now on."""
    _check_may_end(user, by)
    live = list(UserSession.objects.filter(user=user).exclude(session_key=keep or ""))
    for session in live:
        session.end()
    revoke_all_of(user=user, by=by)
    record(Action.SESSION_END, by=by, obj=user, detail={"sessions": len(live)})


def _check_may_end(user, by):
    if by is not None and by != user and not may_manage(by, user):
        deny("session.end", by=by, obj=user)
        raise Denied("not_allowed", "Only an administrator of the person's site may do this.")
