"""Every refusal and failure of the API in one envelope (RFC 9457). The text of an exception never gets out."""

from django.http import HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from clinic.errors import MarrowError

MEDIA_TYPE = "application/problem+json"
API_PREFIXES = ("/api/", "/cds-services", "/dicomweb/", "/fhir")
TITLES = {
    400: "The input was not accepted",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    406: "Not available in this form",
    413: "Too large",
    415: "Not understood in this form",
    429: "Too many requests",
    500: "The service could not do this",
}
OUR_FAULT = "Something went wrong on our side. Nothing was changed. Tell your administrator the request id."


def problem(status, code, detail, *, path, errors=(), title=None):
    """The envelope as a dict."""
    return {
        "type": f"urn:marrow:problem:{code}",
        "title": title or TITLES.get(status, "The request was refused"),
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
        "errors": list(errors),
    }


def of_error(error, path):
    """The envelope of one of our own errors."""
    return problem(error.status, error.code, error.detail, path=path, errors=error.errors, title=error.title)


def handle(error, context):
    """What REST framework calls for an exception in a view. None: not foreseen, so Django logs it and answers 500."""
    path = context["request"].path
    if isinstance(error, MarrowError):
        return _answer(of_error(error, path))
    answered = exception_handler(error, context)
    if answered is None:
        return None
    return _answer(_of_framework(error, answered, path), headers=answered.headers)


def _answer(said, headers=None):
    keep = {name: headers[name] for name in ("WWW-Authenticate", "Retry-After", "Allow") if headers and name in headers}
    return Response(said, status=said["status"], headers=keep, content_type=MEDIA_TYPE)


def _of_framework(error, answered, path):
    if isinstance(error, exceptions.ValidationError):
        errors = list(_flatten(error.detail))
        return problem(400, "invalid", "Some fields were not accepted.", path=path, errors=errors)
    code = error.default_code if isinstance(error, exceptions.APIException) else "not_found"
    detail = answered.data.get("detail", "") if isinstance(answered.data, dict) else ""
    return problem(answered.status_code, code, str(detail), path=path)


def _flatten(detail, place=""):
    """REST framework's nested messages as one list of places and problems."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flatten(inner, place if name == "non_field_errors" else f"{place}.{name}".lstrip("."))
    elif isinstance(detail, list):
        for number, inner in enumerate(detail):
            nested = isinstance(inner, (dict, list))
            yield from _flatten(inner, f"{place}[{number}]" if nested else place)
    else:
        yield {"place": place, "problem": str(detail), "remedy": ""}


def _or_page(status, code, detail, page):
    """Django's own error answers: the envelope below /api/ and the standards' own addresses, the page elsewhere."""

    def answer(request, *args, **kwargs) -> HttpResponse:
        if not request.path.startswith(API_PREFIXES):
            return page(request, *args, **kwargs)
        return JsonResponse(problem(status, code, detail, path=request.path), status=status, content_type=MEDIA_TYPE)

    return answer


bad_request = _or_page(400, "bad_request", "The request could not be read.", defaults.bad_request)
permission_denied = _or_page(403, "not_allowed", "Your role does not include this.", defaults.permission_denied)
page_not_found = _or_page(404, "not_found", "There is nothing here, or not for you.", defaults.page_not_found)
server_error = _or_page(500, "server_error", OUR_FAULT, defaults.server_error)
