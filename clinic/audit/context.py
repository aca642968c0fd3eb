"""On whose behalf something happens: of a request, of a task with its cause, or of the system itself."""

import re
import uuid
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from django.conf import settings

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


@dataclass
class Context:
    """``denials`` are written after the answer is made: the rollback of a refused act must not take them along."""

    request_id: str = ""
    address: str = ""
    cause: str = ""
    request: object = None
    denials: list = field(default_factory=list)

    @property
    def user(self):
        """Asked late: a token is only looked at inside the view."""
        return getattr(self.request, "user", None)


_current = ContextVar("context", default=None)


def current():
    return _current.get() or Context(cause="system")


def defer_denial(write):
    """Keep ``write`` for after the answer; where there is no request to answer, do it now."""
    context = _current.get()
    if context and context.request is not None:
        context.denials.append(write)
    else:
        write()


@contextmanager
def acting(cause):
    """Within this block nobody is logged in and things happen because of ``cause`` (a task and its id, a command)."""
    token = _current.set(Context(request_id=uuid.uuid4().hex, cause=cause))
    try:
        yield
    finally:
        _current.reset(token)


def request_context(get_response):
    """Name every request, tell the caller the name, and write down what was denied."""

    def middleware(request):
        said = request.headers.get("X-Request-ID", "")
        request_id = said if REQUEST_ID.fullmatch(said) else uuid.uuid4().hex
        context = Context(request_id=request_id, address=address_of(request), request=request)
        token = _current.set(context)
        try:
            response = get_response(request)
            for write in context.denials:
                write()
        finally:
            _current.reset(token)
        response.headers["X-Request-ID"] = request_id
        return response

    return middleware


def address_of(request):
    """The caller's address; behind a proxy that the settings trust, what that proxy saw."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    if forwarded and settings.SECURE_PROXY_SSL_HEADER:
        return forwarded.rsplit(",", 1)[-1].strip()[:64]
    return request.META.get("REMOTE_ADDR", "")
