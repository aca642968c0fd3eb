"""The tasks. Each gets an id, is safe to run twice, and ends its row with a result or a reason."""

from __future__ import annotations

import logging
from pathlib import Path

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import transaction

from clinic.accounts.models import Site, User
from clinic.audit.context import acting
from clinic.cases import dispatch, files, runs, services
from clinic.cases.models import Analysis, ItemStatus, StudyItem
from clinic.safeguards.halts import Halted, live_halts
from ml.bundle import BundleError
from ml.findings import InputRejected
from workers import archives
from workers.analysis import analyse
from workers.importing import run_import
from workers.modalities import MODALITIES
from workers.recalibration import recalibrate_site
from workers.recognising import recognise_upload
from workers.sandbox import ReaderFailed, read_in_child
from workers.shadow import run_shadows

__all__ = ["recognise_upload", "run_analysis", "run_import", "validate_item"]

logger = logging.getLogger(__name__)

OUR_FAULT = {
    "code": "reader_failed",
    "problem": "Marrow's reader failed on this file. The fault is Marrow's, not the file's; it has been logged.",
    "remedy": "Try the same data in another supported format, and tell the admin.",
}


@shared_task(name=dispatch.VALIDATE_ITEM, soft_time_limit=180, time_limit=200)
def validate_item(item_id: str) -> None:
    """Read a received file in a capped child process; the item becomes VALID or REJECTED with a reason."""
    item = StudyItem.objects.select_related("case__patient__site").get(pk=item_id)
    if item.status != ItemStatus.RECEIVED:
        return
    with acting(f"validate_item {item_id}"):
        _validate(item)


def _validate(item: StudyItem) -> None:
    try:
        summary = _read(item)
    except InputRejected as rejection:
        services.reject_item(item=item, rejection=rejection.as_dict())
    except ReaderFailed:
        services.reject_item(item=item, rejection=OUR_FAULT | {"place": item.filename})
        raise
    else:
        services.accept_item(item=item, summary=summary)


def _read(item: StudyItem) -> dict[str, object]:
    with files.workplace() as made:
        summary = read_again(item, made)
        files.keep_canonical(item, made)
    return summary


def read_again(item: StudyItem, made: Path) -> dict[str, object]:
    """Read an item's bytes into the folder ``made``, in a capped child; returns the summary.

    The reader sees the file under the name it came with, so that what it says names that file.
    """
    caps = {"memory_bytes": settings.READER_MEMORY_BYTES, "seconds": settings.READER_SECONDS}
    with files.plain(item.sha256, item.filename) as source:
        if archives.is_archive(source):
            read_in_child("workers.archives:judge", source, made, {}, **caps)
        return read_in_child(MODALITIES[item.kind].reader, source, made, _options(item), **caps)


def _options(item: StudyItem) -> dict[str, object]:
    """What the item was sent with, and the record's sex: sex genes are checked against it, usual ranges hang on it."""
    known = {"sex": item.case.patient.sex} if item.kind in ("expression", "labs") else {}
    return {**item.options, **known}


@shared_task(name=dispatch.RUN_ANALYSIS, soft_time_limit=900, time_limit=930)
def run_analysis(analysis_id: str) -> None:
    """Run one queued analysis to its end. A second message for the same run finds nothing to claim."""
    with acting(f"run_analysis {analysis_id}"):
        analysis = runs.claim(analysis_id)
        if analysis is not None:
            _run(analysis)


@shared_task(name=dispatch.RUN_SHADOWS, soft_time_limit=900, time_limit=930)
def run_shadows_of(analysis_id: str) -> None:
    """Let the bundles in shadow read an ended analysis along."""
    if live_halts().exists():
        return
    with acting(f"run_shadows {analysis_id}"):
        run_shadows(Analysis.objects.select_related("case__patient__site").get(pk=analysis_id))


@shared_task(name=dispatch.RECALIBRATE_SITE, soft_time_limit=600, time_limit=630)
def recalibrate_one_site(site_id: str, user_id: str) -> None:
    with acting(f"recalibrate_site {site_id}"):
        recalibrate_site(Site.objects.get(pk=site_id), User.objects.get(pk=user_id))


def _run(analysis: Analysis) -> None:
    try:
        analyse(analysis)
    except runs.LeaseLost:
        logger.info("analysis %s: attempt %s no longer holds the run", analysis.pk, analysis.attempt)
    except SoftTimeLimitExceeded:
        runs.fail(analysis, code="time_limit", message="The analysis took longer than 15 minutes. Try fewer images.")
    except Halted as halted:
        runs.fail(analysis, code=halted.code, message=halted.detail)
    except BundleError as error:
        logger.exception("analysis %s", analysis.pk)
        runs.fail(analysis, code="bundle_unusable", message=f"A model bundle could not be used: {error}")
    except Exception:
        if not transaction.get_connection().in_atomic_block:
            message = "Marrow failed on this analysis; the fault has been logged. Start it again, or tell the admin."
            runs.fail(analysis, code="internal_error", message=message)
        raise
