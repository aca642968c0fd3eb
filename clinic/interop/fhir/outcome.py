"""Every refusal under /fhir as an OperationOutcome. The text of an exception never gets out."""

from rest_framework.response import Response
from rest_framework.views import exception_handler

from clinic.errors import Conflict, Denied, InvalidInput, LoginFailed, MarrowError, NotFound, TooLarge
from clinic.interop.fhir.structure import MARROW, NotFhir

CODES = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    409: "conflict",
    412: "multiple-matches",
    413: "too-long",
    415: "not-supported",
    422: "business-rule",
    429: "throttled",
    500: "exception",
}
KEPT = ("WWW-Authenticate", "Retry-After", "Allow")


class NotUnderstood(InvalidInput):
    """A search or an interaction that this server does not have."""

    status = 400


class SeveralMatch(MarrowError):
    status = 412
    title = "Several match"


def issue(code, text, *, severity="error", word="", place=""):
    details = {"text": text}
    if word:
        details["coding"] = [{"system": f"{MARROW}:problem", "code": word}]
    return {"severity": severity, "code": code, "details": details} | ({"expression": [place]} if place else {})


def outcome(*issues):
    return {"resourceType": "OperationOutcome", "issue": list(issues)}


def status_of(error):
    """An input that is well-formed FHIR and breaks a rule of ours is 422, not 400."""
    plain = isinstance(error, InvalidInput) and not isinstance(error, (NotFhir, NotUnderstood, TooLarge))
    return 422 if plain else error.status


def of_error(error):
    if isinstance(error, NotFhir):
        return outcome(*(issue("structure", text, place=place, word="structure") for place, text in error.issues))
    status = status_of(error)
    code = "not-supported" if isinstance(error, NotUnderstood) else CODES.get(status, "processing")
    return outcome(issue(code, error.detail, word=error.code, place=error.place))


def handle(error, context):
    """As ``clinic.api.problems.handle``: None where nobody foresaw the error, so that it is logged as ours."""
    if isinstance(error, MarrowError):
        return Response(of_error(error), status=status_of(error))
    answered = exception_handler(error, context)
    if answered is None:
        return None
    detail = answered.data.get("detail") if isinstance(answered.data, dict) else None
    said = outcome(issue(CODES.get(answered.status_code, "processing"), str(detail or "This was not accepted.")))
    keep = {name: answered.headers[name] for name in KEPT if name in answered.headers}
    return Response(said, status=answered.status_code, headers=keep)


__all__ = ["Conflict", "Denied", "LoginFailed", "NotFound", "handle", "issue", "of_error", "outcome", "status_of"]
