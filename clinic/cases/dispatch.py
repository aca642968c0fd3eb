"""The one place where the web side asks for work: a task's name and an id, sent once the row is committed."""

from contextlib import contextmanager
from contextvars import ContextVar

from django.conf import settings
from django.db import transaction

from clinic.celery import app

VALIDATE_ITEM = "workers.validate_item"
RUN_ANALYSIS = "workers.run_analysis"
RUN_IMPORT = "workers.run_import"
RECOGNISE_UPLOAD = "workers.recognise_upload"
RUN_SHADOWS = "workers.run_shadows"
RECALIBRATE_SITE = "workers.recalibrate_site"

_inline = ContextVar("run tasks in this process", default=False)


@contextmanager
def inline():
    """Within this block tasks run here, as soon as their row is committed, instead of in a worker."""
    token = _inline.set(True)
    try:
        yield
    finally:
        _inline.reset(token)


def send(task_name, *args):
    """Send a task when the current transaction commits. A lost message is sent again by the sweeper."""
    here = _inline.get() or settings.TASKS_INLINE
    transaction.on_commit(lambda: _run_here(task_name, args) if here else app.send_task(task_name, args=args))


def _run_here(task_name, args):
    app.loader.import_task_module("workers.tasks")
    app.tasks[task_name].apply(args=args, throw=True)
