"""The one exit of files: found among what the user may see, written down, then handed out as data nobody runs.

Content decides what a file is, not its name and not what a row says of it; only pictures are shown in place.
"""

import io
import json
import logging
from functools import partial

from django.db import transaction
from django.http import FileResponse
from PIL import Image

from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases import files
from clinic.cases.sealing import Damaged
from clinic.cases.visibility import artefacts_visible_to, find, items_visible_to
from clinic.errors import MarrowError, NotFound

logger = logging.getLogger(__name__)

SANDBOX = "default-src 'none'; style-src 'none'; frame-ancestors 'none'; sandbox"
PICTURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
PLAIN = "application/octet-stream"


@transaction.atomic
def item_content(pk, *, by):
    """The file exactly as it was received, only ever as a download."""
    item = find(items_visible_to, pk, by=by)
    record(Action.ITEM_DOWNLOAD, by=by, obj=item, detail={"sha256": item.sha256})
    return handed_out(lambda: files.opened(item.sha256), item.filename, shown=False)


@transaction.atomic
def item_frame(pk, number, *, by):
    """One frame of an image as our own reader wrote it."""
    item = find(items_visible_to, pk, by=by)
    record(Action.ITEM_READ, by=by, obj=item, detail={"frame": number})
    name = f"frame-{number:04d}.png"
    return handed_out(lambda: files.opened_canonical(item, name), name)


@transaction.atomic
def item_frame_as(pk, number, *, by, media_type, quality, viewport=None):
    """The same frame as JPEG or PNG. ``viewport``: (width, height) that it is made to fit into, never enlarged."""
    item = find(items_visible_to, pk, by=by)
    record(Action.ITEM_READ, by=by, obj=item, detail={"frame": number})
    kind, name = media_type.removeprefix("image/"), f"frame-{number:04d}"
    return handed_out(
        lambda: _again(files.opened_canonical(item, f"{name}.png"), kind, quality, viewport), f"{name}.{kind}"
    )


def _again(stream, kind, quality, viewport):
    out = io.BytesIO()
    with stream, Image.open(stream, formats=("PNG",)) as picture:
        if viewport:
            picture.thumbnail(viewport)
        picture.save(out, kind, quality=quality)
    out.seek(0)
    return out


@transaction.atomic
def originals(items, *, by, details):
    """For each item a function that gives its file as it was received, in blocks; each is written down before."""
    for item, detail in zip(items, details, strict=True):
        if not files.exists(item.sha256):
            raise NotFound
        record(Action.ITEM_DOWNLOAD, by=by, obj=item, detail={"sha256": item.sha256} | detail)
    return [partial(files.blocks, item.sha256) for item in items]


@transaction.atomic
def original(item, *, by, detail):
    """The file as it was received, as a stream, for an answer that holds parts of it."""
    record(Action.ITEM_DOWNLOAD, by=by, obj=item, detail={"sha256": item.sha256} | detail)
    return _opened(lambda: files.opened(item.sha256))


@transaction.atomic
def artefact_content(pk, *, by):
    """A picture that belongs to a finding."""
    artefact = find(artefacts_visible_to, pk, by=by)
    case = artefact.finding.analysis.case
    record(Action.ARTEFACT_READ, by=by, obj=artefact, case=case, detail={"kind": artefact.kind})
    return handed_out(lambda: files.opened(artefact.sha256), f"{artefact.kind}.png")


def panels_in(item):
    """[(panel, analyte → value)] of an accepted laboratory file, as our reader wrote it; none where that is gone.

    For a page that has written down its own reading; nothing of the file itself is handed out.
    """
    try:
        with files.opened_canonical(item, "labs.json") as stream:
            said = json.load(stream)
    except (OSError, ValueError, Damaged):
        return []
    return list(zip(said["ids"], said["values"], strict=True))


def whole(sha256):
    """All of a stored file, for a page or report that wrote its reading down. FileNotFoundError, Damaged."""
    return b"".join(files.blocks(sha256))


def handed_out(opening, name, *, shown=True):
    """An answer with the bytes of ``opening()``: somebody else's, never run, never guessed at, never framed or kept.

    Call it within the transaction of the event: where the file is gone, nobody has read it. Raises NotFound.
    """
    stream = _opened(opening)
    media_type = media_type_of(stream)
    in_place = shown and media_type != PLAIN
    response = FileResponse(
        stream,
        as_attachment=not in_place,
        filename=files.display_name(name),
        content_type=media_type if shown else PLAIN,
    )
    return protected(response)


def protected(response):
    """Nothing of it is run, guessed at, framed or kept."""
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _opened(opening):
    try:
        return opening()
    except FileNotFoundError:
        raise NotFound from None
    except Damaged as damage:
        logger.exception("a stored file does not open")
        problem = "The stored file is not what was stored, or its key is missing."
        raise MarrowError("file_damaged", problem, "Tell your administrator. Nothing of it was shown.") from damage


def media_type_of(stream):
    """What the first bytes say; anything but a picture is bytes."""
    head = stream.read(16)
    stream.seek(0)
    return next((kind for magic, kind in PICTURES if head.startswith(magic)), PLAIN)
