"""The task that works through the rows of a bulk import."""

from __future__ import annotations

from celery import shared_task

from clinic.audit.context import acting
from clinic.cases import dispatch
from clinic.imports import services


@shared_task(name=dispatch.RUN_IMPORT, soft_time_limit=1800, time_limit=1830)
def run_import(import_id: str) -> None:
    """Give every row its verdict. Where the worker is lost, the next one goes on with the rows that have none."""
    with acting(f"run_import {import_id}"):
        services.run(import_id)
