"""What a worker process does beside its tasks: the sweeper in the main process, warm models in each pool process."""

from __future__ import annotations

import logging
import os
import time
from threading import Event, Thread
from typing import Any

from celery.signals import worker_init, worker_process_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import connection

from workers import sandbox

logger = logging.getLogger(__name__)
_stop = Event()
DRIFT_SECONDS = 3600
ANCHOR_EVERY = 60  # seconds; whether a head is due, and whether an anchor waits to be brought outside


@worker_init.connect
def import_models(**_: Any) -> None:
    """Import what the models need before the pool forks: once, for all its processes."""
    import torch  # noqa: PLC0415 (with one thread: a pool of threads does not survive a fork)

    from workers.modalities import import_all  # noqa: PLC0415

    torch.set_num_threads(1)
    import_all()


@worker_process_init.connect
def warm_up(**_: Any) -> None:
    os.nice(5)  # the web stays quick while models run
    sandbox.allow_children()
    sandbox.begin()
    import torch  # noqa: PLC0415

    from ml.engine import keep_in  # noqa: PLC0415
    from workers.modalities import warm_up as load  # noqa: PLC0415

    torch.set_num_threads(settings.WORKER_THREADS)
    keep_in(settings.HOME / "exports", settings.WORKER_THREADS)
    load()
    sandbox.wait()
    connection.close()


@worker_ready.connect
def start_sweeper(**_: Any) -> None:
    Thread(target=_sweep_for_ever, daemon=True, name="sweeper").start()


@worker_ready.connect
def start_webhooks(**_: Any) -> None:
    """Beside the sweeper, not in it: a slow receiver must not keep a lost analysis waiting."""
    Thread(target=_deliver_for_ever, daemon=True, name="webhooks").start()


def _deliver_for_ever() -> None:
    from clinic.interop.webhooks.delivery import deliver_due  # noqa: PLC0415

    while not _stop.is_set():
        tried = 0
        try:
            tried = deliver_due()
        except Exception:
            logger.exception("webhooks could not be delivered; the next try is due in %s s", settings.SWEEP_SECONDS)
        finally:
            connection.close()
        if not tried:
            _stop.wait(settings.SWEEP_SECONDS)


@worker_shutting_down.connect
def stop_sweeper(**_: Any) -> None:
    _stop.set()


def _sweep_for_ever() -> None:
    from clinic.api.idempotency import forget_old_answers  # noqa: PLC0415
    from clinic.audit.context import acting  # noqa: PLC0415
    from clinic.cases.runs import sweep  # noqa: PLC0415
    from clinic.imports.services import sweep as sweep_imports  # noqa: PLC0415
    from clinic.monitoring.drift import measure_this_week  # noqa: PLC0415
    from clinic.notices.services import send_due  # noqa: PLC0415
    from clinic.uploads.services import sweep as sweep_uploads  # noqa: PLC0415

    anchored, measured = 0.0, time.monotonic()
    while not _stop.is_set():
        try:
            with acting("sweep"):
                sweep()
                sweep_uploads()
                sweep_imports()
                forget_old_answers()
                if time.monotonic() - anchored >= ANCHOR_EVERY:
                    _watch_the_log()
                    anchored = time.monotonic()
                send_due()
                if time.monotonic() - measured >= DRIFT_SECONDS:
                    measure_this_week()
                    measured = time.monotonic()
        except Exception:
            logger.exception("the sweep failed; the next one is due in %s s", settings.SWEEP_SECONDS)
        finally:
            connection.close()
        _stop.wait(settings.SWEEP_SECONDS)


def _watch_the_log() -> None:
    """Sign its head when that is due, and check what came since the last time; bring anchors outside."""
    from clinic.audit.anchors import anchor_when_due  # noqa: PLC0415
    from clinic.audit.delivery import deliver  # noqa: PLC0415
    from clinic.audit.verification import verify_on  # noqa: PLC0415

    if anchor_when_due():
        result = verify_on()
        if not result.ok:
            logger.critical("the audit chain is broken at seq %s: %s", result.first_bad, result.why)
    deliver()
