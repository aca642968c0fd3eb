"""``Idempotency-Key``: a POST sent twice is done once, and answered twice.

Same key and content: the first answer again, with ``Idempotent-Replayed: true``. Other content: 422. The first still
under way: 409. A key belongs to its user and route, for a day. Only success is kept: after a refusal or a failure, in
which nothing was done, the same key may be tried again.
"""

import hashlib
import re
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from clinic.accounts.models import Membership
from clinic.api.models import KeptAnswer
from clinic.api.problems import MEDIA_TYPE, of_error
from clinic.audit.context import current
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.canonical import digest
from clinic.errors import Conflict, InvalidInput, MarrowError, OtherContent, TooLarge
from clinic.tokens.authentication import TokenAuthentication

PREFIXES = ("/api/", "/fhir/", "/fhir")
KEY = re.compile(r"[\x21-\x7e]{1,255}")
KEPT_FOR = timedelta(days=1)
GIVEN_UP_AFTER = timedelta(minutes=2)
KEPT_HEADERS = ("Content-Type", "Location", "ETag")
REPLAYED = "Idempotent-Replayed"


class LostClaim(Exception):
    """Somebody took this request for dead and did it: what was done here is rolled back."""


def idempotency(get_response):
    """Middleware; it stands in front of the view, so that every POST of the API has it."""

    def middleware(request):
        return get_response(request)

    def process_view(request, view, args, kwargs):
        key = request.headers.get("Idempotency-Key")
        if key is None or request.method != "POST" or not request.path.startswith(PREFIXES):
            return None
        user = _sender(request)
        if user is None or _oversized(request):
            return None  # the view itself says so
        try:
            return _answer(request, key, user, lambda: view(request, *args, **kwargs), _is_secret(view))
        except MarrowError as error:
            said = of_error(error, request.path)
            headers = {"Retry-After": "1"} if error.code == "in_flight" else {}
            return JsonResponse(said, status=error.status, content_type=MEDIA_TYPE, headers=headers)

    middleware.process_view = process_view
    return middleware


def forget_old_answers():
    KeptAnswer.objects.filter(started_at__lt=timezone.now() - KEPT_FOR).delete()


def _answer(request, key, user, act, secret):
    if not KEY.fullmatch(key):
        problem = "A key is 1 to 255 visible ASCII characters."
        raise InvalidInput("invalid_key", problem, "Use a UUID.", place="Idempotency-Key")
    if secret:
        problem = "What this answers is told once and never kept, so it cannot be told again."
        raise InvalidInput("no_key_here", problem, "Leave the key out.", place="Idempotency-Key")
    row, mine = _claim(user=user, route=request.path, key=key, fingerprint=_fingerprint(request), rights=_rights(user))
    return _act(act, row) if mine else _replay(row, user)


def _claim(*, user, route, key, fingerprint, rights):
    """The row of this key, and whether it is ours to act on. Raises OtherContent or Conflict."""
    now = timezone.now()
    place = {"user_id": user.pk, "route": route, "key": key}
    said = {"fingerprint": fingerprint, "rights": rights, "request_id": current().request_id, "started_at": now}
    KeptAnswer.objects.filter(**place, started_at__lt=now - KEPT_FOR).delete()
    row, made = KeptAnswer.objects.get_or_create(**place, defaults=said)
    if made:
        return row, True
    if row.fingerprint != fingerprint:
        problem = "This key was sent before, with other content."
        raise OtherContent("other_content", problem, "Use a new key for a new request.", place="Idempotency-Key")
    if row.status is not None and row.rights != rights:
        problem = "What you may do has changed since this key was first sent."
        raise Conflict("rights_changed", problem, "Look up what was made, or use a new key.", place="Idempotency-Key")
    if row.status is not None:
        return row, False
    lost = KeptAnswer.objects.filter(pk=row.pk, status=None, started_at__lt=now - GIVEN_UP_AFTER)
    if lost.update(**said):
        row.started_at = now
        return row, True
    raise Conflict("in_flight", "The first request with this key is still at work.", "Ask again in a moment.")


def _act(act, row):
    ours = KeptAnswer.objects.filter(pk=row.pk, status=None, started_at=row.started_at)
    try:
        with transaction.atomic():
            response = act()
            if hasattr(response, "render"):
                response.render()
            kept = 200 <= response.status_code < 300 and not response.streaming
            if kept and not ours.update(**_kept(response)):
                raise LostClaim
    except Exception:
        ours.delete()
        raise
    if not kept:
        ours.delete()
    return response


def _kept(response):
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return {"status": response.status_code, "headers": headers, "body": response.content}


@transaction.atomic
def _replay(row, user):
    """The first answer again; the log names the request in which it was made, and so whom it concerns."""
    record(Action.ANSWER_REPLAY, by=user, detail={"route": row.route, "first_request": row.request_id})
    return HttpResponse(bytes(row.body), status=row.status, headers=row.headers | {REPLAYED: "true"})


def _sender(request):
    try:
        found = TokenAuthentication().authenticate(request)
    except AuthenticationFailed:
        return None
    if found:
        return found[0]
    return request.user if request.user.is_authenticated else None


def _rights(user):
    token = getattr(user, "token", None)
    roles = Membership.objects.filter(user=user.pk).order_by("site_id").values_list("site_id", "role")
    narrowed = [token.scopes, str(token.site_id)] if token and (token.scopes or token.site_id) else []
    return digest([[[str(site), role] for site, role in roles], narrowed])


def _fingerprint(request):
    """SHA-256 over what was sent; of a form over its fields and files, because its boundary is another each time."""
    said = hashlib.sha256(f"{request.content_type}\n{request.META.get('QUERY_STRING', '')}\n".encode())
    try:
        if request.content_type == "multipart/form-data":
            for part in _parts(request):
                said.update(part)
        else:
            said.update(request.body)
    except RequestDataTooBig:
        raise TooLarge("too_large", "The request is too large for a key.", "Send it without, or in parts.") from None
    return said.hexdigest()


def _parts(request):
    yield digest(sorted((name, values) for name, values in request.POST.lists())).encode()
    for name, files in sorted(request.FILES.lists()):
        for file in files:
            content = hashlib.sha256()
            for chunk in file.chunks():
                content.update(chunk)
            file.seek(0)
            yield digest([name, file.name, content.hexdigest()]).encode()


def _oversized(request):
    sent = request.headers.get("Content-Length", "")
    return sent.isdigit() and int(sent) > settings.UPLOAD_MAX_BYTES


def _is_secret(view):
    return getattr(getattr(view, "cls", None) or getattr(view, "view_class", None), "answer_is_secret", False)
