"""A file on its way in: begun, sent in chunks, hashed as a whole, told apart by its content, taken into the case.

Whoever sends a chunk says where it begins. One that does not begin where the last ended is refused and told where to go
on, so that a torn line, a second tab or a retry cannot mix up a file.
"""

import re
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases import files
from clinic.cases.dispatch import RECOGNISE_UPLOAD, send
from clinic.cases.models import ItemKind, ItemStatus
from clinic.cases.moves import move
from clinic.cases.services import receive_item
from clinic.errors import Conflict, InvalidInput, MarrowError
from clinic.uploads import staging
from clinic.uploads.models import Upload, UploadStatus

RESEND_SECONDS = 30
AT_ONCE = 50
SHA256 = re.compile(r"[0-9a-f]{64}")
OUR_FAULT = {
    "code": "recogniser_failed",
    "problem": "Marrow failed to recognise this file. The fault is Marrow's, not the file's; it has been logged.",
    "remedy": "Say below what the file is, and try again.",
}
DAMAGED = {
    "code": "damaged_on_the_way",
    "problem": "What arrived is not what was sent: the SHA-256 of the two differ.",
    "remedy": "Send the file again.",
}


@transaction.atomic
def start(*, case, filename, size, sha256="", kind="", options=None, by):
    """Announce one file. Where its sender began it before, the earlier upload goes on; where its content is in the case
    already, nothing needs to be sent. Raises InvalidInput (empty, too large, a digest that is none, unknown kind).
    """
    require(by, "item.upload", case.patient.site, obj=case)
    name = files.display_name(filename)
    _check(size, sha256, kind, name)
    if sha256 and (begun := _begun(case, size, sha256, by)):
        return begun
    there = case.items.filter(sha256=sha256).exclude(status=ItemStatus.REJECTED).first() if sha256 else None
    upload = Upload.objects.create(
        case=case,
        by=by,
        filename=name,
        size=size,
        sha256=sha256,
        kind=kind,
        options=options or {},
        status=UploadStatus.DUPLICATE if there else UploadStatus.RECEIVING,
        item=there,
    )
    said = {"size": size, "sha256": sha256, "kind": kind}
    record(Action.UPLOAD_DUPLICATE if there else Action.UPLOAD_START, by=by, obj=upload, detail=said)
    return upload


def _check(size, sha256, kind, name):
    files.check_size(size, name)
    if size < 1:
        raise InvalidInput("empty", "The file is empty.", "Export it again and send the new one.", place=name)
    if sha256 and not SHA256.fullmatch(sha256):
        raise InvalidInput("bad_digest", "This is no SHA-256 in hex.", "Leave it out, or send 64 digits.", place=name)
    if kind and kind not in ItemKind.values:
        known = ", ".join(ItemKind.values)
        raise InvalidInput("unknown_kind", f"There is no kind of item called {kind!r}.", f"Use {known}.", place=name)


def _begun(case, size, sha256, by):
    mine = case.uploads.filter(by=by, size=size, sha256=sha256, status=UploadStatus.RECEIVING)
    return mine.order_by("-received").first()


def append(*, upload, offset, chunks, by):
    """Add bytes from ``offset`` on; with the last of them the file is whole, and judged. Raises Conflict where the
    upload has ended or goes on elsewhere, InvalidInput where there is more than was announced.
    """
    require(by, "item.upload", upload.case.patient.site, obj=upload)
    if upload.status != UploadStatus.RECEIVING:
        raise Conflict("upload_ended", "This upload has ended.", "Send the file again.", place=upload.filename)
    if offset != upload.received:
        raise _elsewhere(upload)
    with staging.received(upload, offset, chunks) as (more, put), transaction.atomic():
        held = Upload.objects.filter(pk=upload.pk, status=UploadStatus.RECEIVING, received=offset)
        if not held.update(received=offset + more, touched_at=timezone.now()):
            upload.refresh_from_db()
            raise _elsewhere(upload)
        put()
    upload.received = offset + more
    if upload.received == upload.size:
        _finish(upload, by)
    return upload


def _elsewhere(upload):
    problem = f"{upload.received} bytes of this file are here."
    return Conflict("wrong_offset", problem, "Go on from there.", place=upload.filename)


def _finish(upload, by):
    stated = upload.sha256
    sha256, _ = files.store(staging.read(upload), place=upload.filename)
    if stated and sha256 != stated:
        refuse(upload=upload, rejection=DAMAGED | {"place": upload.filename}, by=by)
    else:
        with transaction.atomic():
            whole = move(upload, expect=[UploadStatus.RECEIVING], to=UploadStatus.CHECKING, sha256=sha256)
            if whole:
                record(Action.UPLOAD_COMPLETE, by=by, obj=upload, detail={"sha256": sha256, "stated": stated})
                _go_on(upload)
    staging.remove(upload)
    upload.refresh_from_db()


def _go_on(upload):
    """Into the case where somebody has said what it is; to a worker, which looks into it, where nobody has."""
    if upload.kind:
        transaction.on_commit(lambda: take(upload=upload, kind=upload.kind))
    else:
        send(RECOGNISE_UPLOAD, str(upload.pk))


def take(*, upload, kind):
    """Make a whole file an item of its case, in its sender's name, or write down why it is none."""
    try:
        item = receive_item(
            case=upload.case,
            file=files.blocks(upload.sha256),
            filename=upload.filename,
            kind=kind,
            options=upload.options,
            by=upload.by,
        )
    except Conflict as there:
        same = upload.case.items.filter(kind=kind, sha256=upload.sha256).exclude(status=ItemStatus.REJECTED).first()
        if same is None:
            raise
        _end(upload, UploadStatus.DUPLICATE, Action.UPLOAD_DUPLICATE, {"code": there.code}, item=same, kind=kind)
    except MarrowError as error:
        said = {"code": error.code, "place": error.place or upload.filename}
        refuse(upload=upload, rejection=said | {"problem": error.problem, "remedy": error.remedy})
    else:
        move(upload, expect=[UploadStatus.CHECKING], to=UploadStatus.TAKEN, item=item, kind=kind)


def refuse(*, upload, rejection, by=None):
    """The file was not taken; ``rejection`` has code, place, problem and remedy."""
    _end(upload, UploadStatus.REFUSED, Action.UPLOAD_REFUSE, {"code": rejection["code"]}, by=by, rejection=rejection)


def cancel(*, upload, by):
    """Give up an upload that is not yet an item. Raises Conflict where it has ended."""
    require(by, "item.upload", upload.case.patient.site, obj=upload)
    if not _end(upload, UploadStatus.CANCELLED, Action.UPLOAD_CANCEL, {}, by=by, rejection=None):
        raise Conflict("upload_ended", "This upload has ended already.", "There is nothing to cancel.")
    staging.remove(upload)


@transaction.atomic
def _end(upload, status, action, said, *, by=None, **fields):
    moved = move(upload, expect=[UploadStatus.RECEIVING, UploadStatus.CHECKING], to=status, **fields)
    if moved:
        record(action, by=by or upload.by, obj=upload, detail=said)
    return moved


@transaction.atomic
def retry(*, upload, kind="", sample="", by):
    """Have a refused file judged once more, as ``kind`` where the person says so. Its bytes are here already."""
    require(by, "item.upload", upload.case.patient.site, obj=upload)
    _check(upload.size, "", kind, upload.filename)
    options = {"sample": sample.strip()} if sample.strip() else {}
    again = {"item": None, "rejection": None, "kind": kind, "options": options}
    if not _may_retry(upload) or not move(
        upload, expect=[UploadStatus.REFUSED, UploadStatus.TAKEN], to=UploadStatus.CHECKING, **again
    ):
        problem = "Only a whole file that was refused can be judged again."
        raise Conflict("not_refused", problem, "Send the file again.", place=upload.filename)
    record(Action.UPLOAD_RETRY, by=by, obj=upload, detail={"kind": kind, **options})
    _go_on(upload)


def _may_retry(upload):
    whole = upload.received == upload.size and files.exists(upload.sha256)
    rejected = upload.item is not None and upload.item.status == ItemStatus.REJECTED
    return whole and (upload.status == UploadStatus.REFUSED or rejected)


def sweep():
    """Give up what nobody went on with for long; have looked into what was to be and was not. Safe to run often."""
    now = timezone.now()
    left = Upload.objects.filter(
        status=UploadStatus.RECEIVING, touched_at__lt=now - timedelta(seconds=settings.UPLOAD_WAIT_SECONDS)
    )
    for upload in left.select_related("case__patient", "by")[:AT_ONCE]:
        _end(upload, UploadStatus.CANCELLED, Action.UPLOAD_CANCEL, {"why": "nobody went on"})
        staging.remove(upload)
    stale = Upload.objects.filter(status=UploadStatus.CHECKING, touched_at__lt=now - timedelta(seconds=RESEND_SECONDS))
    for upload in stale.select_related("case__patient__site", "by")[:AT_ONCE]:
        Upload.objects.filter(pk=upload.pk).update(touched_at=now)
        _go_on(upload)
