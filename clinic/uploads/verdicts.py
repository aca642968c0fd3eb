"""What became of each file: in words that stay the same on the page, in its poll and for a screen reader."""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from clinic.cases.models import ItemKind, ItemStatus
from clinic.uploads.models import UploadStatus

WAITED_FOR = timedelta(hours=2)
MOST = 1000
STATES = {
    UploadStatus.RECEIVING: "Being sent",
    UploadStatus.CHECKING: "Being recognised",
    UploadStatus.DUPLICATE: "Already here",
    UploadStatus.REFUSED: "Refused",
    UploadStatus.CANCELLED: "Cancelled",
}
OF_ITEM = {
    ItemStatus.RECEIVED: ("checking", "Being checked"),
    ItemStatus.VALID: ("accepted", "Accepted"),
    ItemStatus.REJECTED: ("refused", "Refused"),
}


def verdict(upload):
    """One upload as JSON: its state, how much of it is here, and where it was refused why and what to do."""
    state, words = upload.status, STATES.get(upload.status, "")
    rejection = upload.rejection
    if upload.status == UploadStatus.TAKEN:
        state, words = OF_ITEM[upload.item.status]
        rejection = upload.item.rejection
    elif upload.status == UploadStatus.DUPLICATE:
        words = f"Already here, as {upload.item.filename}"
    return {
        "id": str(upload.pk),
        "name": upload.filename,
        "size": upload.size,
        "received": upload.received,
        "state": state,
        "words": words,
        "kind": upload.kind,
        "kind_name": ItemKind(upload.kind).label if upload.kind else "",
        "rejection": {key: rejection.get(key, "") for key in ("place", "problem", "remedy")} if rejection else None,
        "may_retry": state == "refused" and upload.received == upload.size,
        "may_cancel": state in (UploadStatus.RECEIVING, UploadStatus.CHECKING) and upload.item_id is None,
    }


def verdicts_of(case, ids):
    """Those of the uploads with these ids that are of this case, oldest first."""
    known = [pk for said in ids[:MOST] if (pk := _uuid(said))]
    return [verdict(upload) for upload in case.uploads.filter(pk__in=known).select_related("item")]


def _uuid(said):
    try:
        return UUID(said)
    except ValueError:
        return None


def states_of(case):
    """Upload id → state, of the uploads that somebody may still be waiting for."""
    recent = case.uploads.filter(touched_at__gte=timezone.now() - WAITED_FOR).select_related("item")
    return {str(upload.pk): verdict(upload)["state"] for upload in recent[:MOST]}


def open_uploads(case):
    """Those that are no item yet, and will not be without a person or a worker: half sent, or refused."""
    waiting = [UploadStatus.RECEIVING, UploadStatus.CHECKING, UploadStatus.REFUSED]
    return [verdict(upload) for upload in case.uploads.filter(status__in=waiting).select_related("item")[:MOST]]
