"""Files and pictures of a case: each request is one audited reading, answered as data that a browser cannot run."""

from django.http import FileResponse, Http404
from django.views.decorators.http import require_GET

from clinic.audit.models import Action
from clinic.cases import files
from clinic.cases.visibility import artefacts_visible_to, find, items_visible_to
from clinic.portal.guard import allowed, note

SANDBOX = "default-src 'none'; style-src 'none'; frame-ancestors 'none'; sandbox"


def _answer(path, *, media_type, name, download=False):
    if not path.is_file():
        raise Http404
    response = FileResponse(path.open("rb"), content_type=media_type, filename=name, as_attachment=download)
    response["Content-Security-Policy"] = SANDBOX
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _read(request, action, row, case, **detail):
    note(request, action, obj=row, case=case, patient=case.patient, detail=detail)


@require_GET
@allowed("case.view")
def item_file(request, pk):
    """The file as it came, only ever as a download."""
    item = find(items_visible_to, pk, by=request.user)
    _read(request, Action.ITEM_DOWNLOAD, item, item.case, sha256=item.sha256)
    path = files.path_of(item.sha256)
    return _answer(path, media_type="application/octet-stream", name=item.filename, download=True)


@require_GET
@allowed("case.view")
def item_frame(request, pk, number):
    """One frame of an image as our own reader wrote it."""
    item = find(items_visible_to, pk, by=request.user)
    _read(request, Action.ITEM_READ, item, item.case, frame=number)
    path = files.canonical_dir(item) / f"frame-{number:04d}.png"
    return _answer(path, media_type="image/png", name=f"frame-{number:04d}.png")


@require_GET
@allowed("case.view")
def artefact(request, pk):
    picture = find(artefacts_visible_to, pk, by=request.user)
    _read(request, Action.ARTEFACT_READ, picture, picture.finding.analysis.case, kind=picture.kind)
    return _answer(files.path_of(picture.sha256), media_type=picture.media_type, name=f"{picture.kind}.png")
