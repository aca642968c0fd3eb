"""Alerts of a run: raised as soon as one finding calls for them, lowered only by the finished assessment.

Whoever calls holds the run (``clinic.cases.runs`` checks that) and is in its transaction.
"""

from django.utils import timezone

from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases import triage
from clinic.cases.models import Alert

FUSION = "fusion"


def raise_each(analysis, urgent, *, modality):
    """Keep those of ``urgent`` (the assessment's, JSON) that are not up yet. Returns the new rows."""
    new = _create(analysis, urgent, modality)
    if new:
        triage.refresh(analysis.case_id)
        _log(Action.ALERT_RAISE, new)
    return new


def settle(analysis, assessment):
    """At the end of a run the case's alerts are those of its assessment: what is new is raised, the others lowered.

    Alerts of earlier runs that never came to an assessment end here too. Returns the new rows.
    """
    holds = {said["code"] for said in assessment["urgent"]}
    ended = list(standing(analysis.case).exclude(analysis=analysis, code__in=holds))
    for alert in ended:
        alert.lowered_at = timezone.now()
        alert.save(update_fields=["lowered_at"])
    new = _create(analysis, assessment["urgent"], FUSION)
    triage.refresh(analysis.case_id)
    _log(Action.ALERT_LOWER, ended)
    _log(Action.ALERT_RAISE, new)
    return new


def _create(analysis, urgent, modality):
    there = set(Alert.objects.filter(analysis=analysis).values_list("code", flat=True))
    return [
        Alert.objects.create(
            analysis=analysis, code=said["code"], modality=modality, body=said, raised_at=timezone.now()
        )
        for said in urgent
        if said["code"] not in there
    ]


def standing(case):
    """What has not been lowered; ``case`` may be an OuterRef."""
    return Alert.objects.filter(analysis__case=case, lowered_at__isnull=True)


def _log(action, alerts):
    for alert in alerts:
        case = alert.analysis.case
        detail = {"code": alert.code, "modality": alert.modality}
        record(action, obj=alert, case=case, patient=case.patient, detail=detail, after=alert.body)
