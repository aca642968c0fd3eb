"""Bulk import: a table is taken whole or not at all; then each of its rows gets its own verdict, in a worker."""

import hashlib
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from clinic.accounts.access import require, sites_where
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases import files
from clinic.cases.dispatch import RUN_IMPORT, send
from clinic.cases.moves import move
from clinic.errors import Conflict, InvalidInput
from clinic.imports import tables
from clinic.imports.models import Import, ImportKind, ImportRow, ImportStatus, RowStatus
from clinic.imports.rows import COLUMNS, IDENTIFIES, Rejected, take

GIVEN_UP_AFTER = timedelta(seconds=60)
AT_ONCE = 10


def imports_visible_to(user):
    return Import.objects.filter(site__in=sites_where(user, "case.view")).select_related("site", "by")


def rows_visible_to(user):
    return ImportRow.objects.filter(of__in=imports_visible_to(user)).select_related("of", "item")


@transaction.atomic
def request_import(*, site, kind, data, filename, by):
    """Take a table (its bytes) and have its rows worked on. Raises InvalidInput where it is no table of this kind."""
    for act in ("case.create", "item.upload"):
        require(by, act, site)
    rows = tables.read(data)
    _check_columns(kind, tables.columns(rows))
    sha256 = hashlib.sha256(data).hexdigest()
    said = {"site": site, "kind": kind, "sha256": sha256, "total": len(rows), "by": by}
    try:
        with transaction.atomic():
            job = Import.objects.create(filename=files.display_name(filename), **said)
    except IntegrityError as error:
        known = Import.objects.get(site=site, kind=kind, sha256=sha256)
        problem = f"This table was imported before, as {known.pk}."
        raise Conflict("imported_before", problem, "See what became of its rows there.", place="file") from error
    ImportRow.objects.bulk_create(
        (
            ImportRow(of=job, number=n, content=content, problem=problem, status=_status_of(problem))
            for n, content, problem in rows
        ),
        batch_size=1000,
    )
    record(Action.IMPORT_REQUEST, by=by, obj=job, site=site, detail={"kind": kind, "sha256": sha256, "rows": len(rows)})
    send(RUN_IMPORT, str(job.pk))
    return job


def _status_of(problem):
    return RowStatus.REJECTED if problem else RowStatus.PENDING


def _check_columns(kind, names):
    if missing := [name for name in IDENTIFIES[kind] if not set(name.split("|")) & set(names)]:
        wanted = missing[0].replace("|", " or ")
        raise InvalidInput("column_missing", f"The table has no column {wanted}.", "Add it.", place="line 1")
    if kind == ImportKind.CASES and (unknown := sorted(set(names) - set(COLUMNS) - {"line"})):
        known = ", ".join(COLUMNS)
        problem = f"There is no use for the column {unknown[0][:60]}."
        raise InvalidInput("unknown_column", problem, f"Use {known}.", place="line 1")


def run(import_id):
    """Give every row that has none its verdict. Safe to run twice, also at once: a row is done in one transaction."""
    job = Import.objects.select_related("site", "by").get(pk=import_id)
    now = timezone.now()
    free = Q(status=ImportStatus.QUEUED) | Q(status=ImportStatus.RUNNING, touched_at__lt=now - GIVEN_UP_AFTER)
    ours = Import.objects.filter(free, pk=job.pk)
    if not move(ours, expect=[ImportStatus.QUEUED, ImportStatus.RUNNING], to=ImportStatus.RUNNING, touched_at=now):
        return
    for pk in list(job.rows.filter(status=RowStatus.PENDING).values_list("pk", flat=True)):
        _judge(job, pk)
        Import.objects.filter(pk=job.pk).update(touched_at=timezone.now())
    _finish(job)


@transaction.atomic
def _finish(job):
    if move(job, expect=[ImportStatus.RUNNING], to=ImportStatus.DONE, finished_at=timezone.now()):
        record(Action.IMPORT_COMPLETE, by=job.by, obj=job, site=job.site, detail=counts(job))


def _judge(job, pk):
    try:
        with transaction.atomic():
            row = job.rows.select_for_update().filter(pk=pk, status=RowStatus.PENDING).first()
            if row:
                _keep(row, **take(job, row.content, row.number))
    except Rejected as rejected:
        ImportRow.objects.filter(pk=pk, status=RowStatus.PENDING).update(
            status=RowStatus.REJECTED, problem=rejected.said
        )


def _keep(row, **said):
    for name, value in said.items():
        setattr(row, name, value)
    row.save(update_fields=list(said))


def counts(job):
    """How many rows have which verdict."""
    said = dict.fromkeys(RowStatus.values, 0)
    for status in job.rows.order_by().values_list("status", flat=True):
        said[status] += 1
    return said


def sweep():
    """Send again what nobody works on."""
    stale = timezone.now() - GIVEN_UP_AFTER
    waiting = Import.objects.exclude(status=ImportStatus.DONE).filter(touched_at__lt=stale)
    for pk in waiting.values_list("pk", flat=True)[:AT_ONCE]:
        send(RUN_IMPORT, str(pk))
