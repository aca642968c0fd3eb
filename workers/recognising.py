"""The task that tells what an uploaded file is, and takes it into its case."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from clinic.audit.context import acting
from clinic.cases import dispatch, files
from clinic.uploads import services
from clinic.uploads.models import Upload, UploadStatus
from ml.findings import InputRejected
from workers.sandbox import ReaderFailed, read_in_child


@shared_task(name=dispatch.RECOGNISE_UPLOAD, soft_time_limit=180, time_limit=200)
def recognise_upload(upload_id: str) -> None:
    """Look into a whole upload in a capped child; it becomes an item of the kind found, or is refused with a reason."""
    upload = Upload.objects.select_related("case__patient__site", "by").get(pk=upload_id)
    if upload.status != UploadStatus.CHECKING:
        return
    with acting(f"recognise_upload {upload_id}"):
        _recognise(upload)


def _recognise(upload: Upload) -> None:
    try:
        kind = _kind_of(upload)
    except InputRejected as rejection:
        services.refuse(upload=upload, rejection=rejection.as_dict())
    except ReaderFailed:
        services.refuse(upload=upload, rejection=services.OUR_FAULT | {"place": upload.filename})
        raise
    else:
        services.take(upload=upload, kind=kind)


def _kind_of(upload: Upload) -> str:
    with files.plain(upload.sha256, upload.filename) as source, files.workplace() as folder:
        said = read_in_child(
            "workers.recognise:recognise",
            source,
            folder,
            {"name": upload.filename},
            memory_bytes=settings.READER_MEMORY_BYTES,
            seconds=settings.READER_SECONDS,
        )
    return str(said["kind"])
