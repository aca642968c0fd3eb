"""The way of a file from a browser into a case: announced with its first bytes, continued, asked about, given up.

Names travel in headers, never in addresses, which end up in logs.
"""

from functools import wraps
from urllib.parse import unquote

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from clinic.accounts.access import require
from clinic.api.problems import MEDIA_TYPE, of_error
from clinic.audit.models import Action
from clinic.cases.visibility import cases_visible_to, find
from clinic.errors import Conflict, InvalidInput, MarrowError, TooLarge
from clinic.portal.guard import allowed, note
from clinic.uploads import services
from clinic.uploads.verdicts import states_of, verdict, verdicts_of
from clinic.uploads.visibility import uploads_visible_to

BLOCK = 256 * 1024


def problems_as_json(view):
    """Whoever calls these is a program: what it may not or cannot do comes as RFC 9457 (the API's envelope)."""

    @wraps(view)
    def answer(request, *args, **kwargs):
        try:
            return view(request, *args, **kwargs)
        except MarrowError as error:
            return JsonResponse(of_error(error, request.path), status=error.status, content_type=MEDIA_TYPE)

    return answer


@require_http_methods(["GET", "POST"])
@problems_as_json
@allowed("item.upload")
def uploads(request, pk):
    """GET: what became of the uploads ``?id=`` of this case. POST: announce a file, with its first bytes."""
    case = find(cases_visible_to, pk, by=request.user)
    if request.method == "GET":
        require(request.user, "item.upload", case.patient.site, obj=case)
        said = verdicts_of(case, request.GET.getlist("id"))
        note(request, Action.UPLOAD_READ, obj=case, detail={"uploads": [one["id"] for one in said]})
        return JsonResponse({"uploads": said})
    upload = services.start(case=case, **_announced(request.headers), by=request.user)
    if upload.status == "receiving" and upload.received == 0:
        upload = services.append(upload=upload, offset=0, chunks=_chunks(request), by=request.user)
    return JsonResponse(verdict(upload), status=201)


@require_GET
@problems_as_json
@allowed("item.upload")
def pulse(request, pk):
    """The state of each recent upload by its id. It names no file and no patient: what a poll may show without being a
    reading.
    """
    case = find(cases_visible_to, pk, by=request.user)
    return JsonResponse({"states": states_of(case)})


def _announced(headers):
    return {
        "filename": unquote(headers.get("Upload-Name", "")) or "unnamed",
        "size": _number(headers, "Upload-Length"),
        "sha256": headers.get("Upload-Sha256", ""),
        "kind": headers.get("Upload-Kind", ""),
        "options": {"sample": sample} if (sample := unquote(headers.get("Upload-Sample", "")).strip()) else {},
    }


@require_http_methods(["GET", "PATCH", "DELETE"])
@problems_as_json
@allowed("item.upload")
def upload(request, pk):
    """GET: how much is here. PATCH: more, from Upload-Offset on. DELETE: give it up."""
    row = find(uploads_visible_to, pk, by=request.user)
    if request.method == "DELETE":
        services.cancel(upload=row, by=request.user)
        return HttpResponse(status=204)
    if request.method == "PATCH":
        offset = _number(request.headers, "Upload-Offset")
        try:
            row = services.append(upload=row, offset=offset, chunks=_chunks(request), by=request.user)
        except Conflict as conflict:
            said = of_error(conflict, request.path) | {"received": row.received}
            return JsonResponse(said, status=conflict.status, content_type=MEDIA_TYPE)
    else:
        require(request.user, "item.upload", row.case.patient.site, obj=row)
        note(request, Action.UPLOAD_READ, obj=row)
    return JsonResponse(verdict(row))


@require_POST
@problems_as_json
@allowed("item.upload")
def retry(request, pk):
    row = find(uploads_visible_to, pk, by=request.user)
    services.retry(
        upload=row, kind=request.POST.get("kind", ""), sample=request.POST.get("sample", ""), by=request.user
    )
    row.refresh_from_db()
    return JsonResponse(verdict(row))


def _number(headers, name):
    said = headers.get(name, "")
    if not said.isascii() or not said.isdigit() or len(said) > 15:
        problem = f"The header {name} must be a number of bytes."
        raise InvalidInput("bad_header", problem, "Send a whole number.", place=name)
    return int(said)


def _chunks(request):
    """The body in blocks; never more of it than a chunk may have."""
    most = settings.UPLOAD_CHUNK_BYTES
    if int(request.headers.get("Content-Length") or 0) > most:
        problem = f"A chunk may have {most // 1024} KiB."
        raise TooLarge("chunk_too_large", problem, "Send smaller chunks.", place="Content-Length")
    while block := request.read(BLOCK):
        yield block
