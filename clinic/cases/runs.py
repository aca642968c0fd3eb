"""The life of an Analysis as its worker drives it: claim, renew, save, complete, fail, cancel; and the sweeper.

Whoever claims a run gets an attempt number. Every later write is a filtered update on (running, that attempt): a worker
that was given up on, and wakes again, changes nothing and is told so by LeaseLost.
"""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.canonical import digest
from clinic.cases import alerts, triage
from clinic.cases.dispatch import RUN_ANALYSIS, RUN_SHADOWS, VALIDATE_ITEM, send
from clinic.cases.models import (
    LIVE,
    Analysis,
    AnalysisStatus,
    Artefact,
    Assessment,
    Finding,
    ItemStatus,
    StudyItem,
)
from clinic.cases.moves import move
from clinic.interop.webhooks.outbox import publish
from clinic.notices.models import Kind
from clinic.notices.services import announce
from clinic.registry.models import BundleStatus, ModelBundle

logger = logging.getLogger(__name__)

RESEND_SECONDS = 15
RESEND_AT_ONCE = 20


class LeaseLost(Exception):
    """No fault: another attempt has the run now, or it was cancelled."""


def _lease_end():
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


def _held(analysis):
    return Analysis.objects.filter(pk=analysis.pk, attempt=analysis.attempt, status=AnalysisStatus.RUNNING)


def _log(action, analysis, *, by=None, **said):
    record(action, by=by, obj=analysis, case=analysis.case, patient=analysis.case.patient, **said)


@transaction.atomic
def claim(analysis_id):
    """Take a queued run. Returns it with its new attempt number, or None where there is nothing to take."""
    taken = move(
        Analysis.objects.filter(pk=analysis_id),
        expect=[AnalysisStatus.QUEUED],
        to=AnalysisStatus.RUNNING,
        attempt=F("attempt") + 1,
        lease_until=_lease_end(),
        started_at=timezone.now(),
        stage="starting",
        done=0,
        total=0,
    )
    if not taken:
        return None
    analysis = Analysis.objects.select_related("case__patient__site").get(pk=analysis_id)
    _log(Action.ANALYSIS_START, analysis, detail={"attempt": analysis.attempt, "bundles": analysis.bundles})
    return analysis


def renew(analysis, **progress):
    """Prolong the lease, and say how far the run is (stage, done, total). Raises LeaseLost."""
    if not _held(analysis).update(lease_until=_lease_end(), **progress):
        raise LeaseLost


@transaction.atomic
def save_finding(analysis, finding, artefacts=()):
    """Keep what one modality said: the checkpoint of the run. ``artefacts`` are (kind, name, sha256, media type)."""
    if not _held(analysis).update(lease_until=_lease_end()):
        raise LeaseLost
    row = Finding.objects.create(
        analysis=analysis,
        modality=finding["modality"],
        bundle=finding["bundle"],
        bundle_sha256=finding["bundle_sha256"],
        body=finding,
    )
    names = ("kind", "name", "sha256", "media_type")
    Artefact.objects.bulk_create(Artefact(finding=row, **dict(zip(names, a, strict=True))) for a in artefacts)
    _log(Action.FINDING_SAVE, analysis, detail={"modality": row.modality, "bundle": row.bundle}, after=finding)
    return row


@transaction.atomic
def raise_alerts(analysis, urgent, *, modality):
    """Say at once what the findings so far call for, without waiting for the others. Returns the new alerts."""
    if not _held(analysis).update(lease_until=_lease_end()):
        raise LeaseLost
    raised = alerts.raise_each(analysis, urgent, modality=modality)
    if raised:
        announce(case=analysis.case, kind=Kind.URGENT, asked_by=analysis.requested_by)
    return raised


@transaction.atomic
def complete(analysis, assessment):
    """End a run with what the fusion said: the assessment and its audit event, together or not at all."""
    end = {"finished_at": timezone.now(), "lease_until": None, "stage": "done"}
    if not move(_held(analysis), expect=[AnalysisStatus.RUNNING], to=AnalysisStatus.SUCCEEDED, **end):
        raise LeaseLost
    answer = assessment["answer"]
    row = Assessment.objects.create(
        analysis=analysis,
        status=assessment["status"],
        answer=answer["node"] if answer else "",
        probability=answer["probability"] if answer else None,
        urgent=bool(assessment["urgent"]),
        discordant=bool(assessment["discordance"]),
        body=assessment,
        digest=digest(assessment),
    )
    alerts.settle(analysis, assessment)
    announce(case=analysis.case, kind=Kind.URGENT if row.urgent else Kind.READY, asked_by=analysis.requested_by)
    publish("analysis.completed", case=analysis.case, analysis=analysis.pk)
    _log(
        Action.ANALYSIS_COMPLETE,
        analysis,
        detail={"status": row.status, "answer": row.answer, "attempt": analysis.attempt},
        after=assessment,
    )
    if ModelBundle.objects.filter(status=BundleStatus.SHADOW).exists():
        send(RUN_SHADOWS, str(analysis.pk))
    return row


def fail(analysis, *, code, message):
    """End a run that this attempt cannot finish. A lost lease is no failure: somebody else has it."""
    _end(_held(analysis), AnalysisStatus.FAILED, Action.ANALYSIS_FAIL, failure_code=code, failure_message=message)


def cancel(analysis, *, by):
    """Stop a live run; its worker notices at its next heartbeat. Returns whether there was anything to stop."""
    live = Analysis.objects.filter(pk=analysis.pk, status__in=LIVE)
    return _end(live, AnalysisStatus.CANCELLED, Action.ANALYSIS_CANCEL, by=by)


@transaction.atomic
def _end(rows, status, action, *, by=None, **fields):
    analysis = rows.select_related("case__patient__site").first()
    end = {"finished_at": timezone.now(), "lease_until": None, **fields}
    if analysis is None or not move(rows, expect=LIVE, to=status, **end):
        return False
    triage.refresh(analysis.case_id)
    if status == AnalysisStatus.FAILED:
        announce(case=analysis.case, kind=Kind.FAILED, asked_by=analysis.requested_by)
        publish("analysis.failed", case=analysis.case, analysis=analysis.pk)
    _log(action, analysis, by=by, detail={"attempt": analysis.attempt} | {k: v for k, v in fields.items() if v})
    return True


def sweep():
    """Find work that nobody does: a lease that ended, a message that was lost. Safe to run anywhere, often."""
    now = timezone.now()
    for analysis in Analysis.objects.filter(status=AnalysisStatus.RUNNING, lease_until__lt=now):
        _give_up_on(analysis, now)
    stale = now - timedelta(seconds=RESEND_SECONDS)
    queued = Analysis.objects.filter(status=AnalysisStatus.QUEUED, requested_at__lt=stale).order_by("requested_at")
    for analysis in queued.filter(Q(dispatched_at__isnull=True) | Q(dispatched_at__lt=stale))[:RESEND_AT_ONCE]:
        Analysis.objects.filter(pk=analysis.pk).update(dispatched_at=now)
        send(RUN_ANALYSIS, str(analysis.pk))
    unchecked = StudyItem.objects.filter(status=ItemStatus.RECEIVED, received_at__lt=stale).order_by("received_at")
    for item in unchecked[:RESEND_AT_ONCE]:
        send(VALIDATE_ITEM, str(item.pk))


@transaction.atomic
def _give_up_on(analysis, now):
    rows = Analysis.objects.filter(
        pk=analysis.pk, attempt=analysis.attempt, status=AnalysisStatus.RUNNING, lease_until__lt=now
    )
    if analysis.attempt >= settings.MAX_ATTEMPTS:
        message = f"The worker was lost {analysis.attempt} times in this analysis. Start it again, or tell the admin."
        _end(rows, AnalysisStatus.FAILED, Action.ANALYSIS_FAIL, failure_code="worker_lost", failure_message=message)
        return
    again = {"lease_until": None, "dispatched_at": now, "stage": "waiting for a worker"}
    if move(rows, expect=[AnalysisStatus.RUNNING], to=AnalysisStatus.QUEUED, **again):
        logger.warning("analysis %s: attempt %s was lost, queued again", analysis.pk, analysis.attempt)
        _log(Action.ANALYSIS_REQUEUE, analysis, detail={"lost_attempt": analysis.attempt})
        send(RUN_ANALYSIS, str(analysis.pk))
