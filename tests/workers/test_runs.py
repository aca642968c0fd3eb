"""The life of a run: claimed once, held by a lease, taken over when its worker is lost, ended exactly once."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from clinic.audit.models import Action, AuditEvent
from clinic.cases import runs, services
from clinic.cases.alerts import standing
from clinic.cases.models import Analysis, AnalysisStatus, Assessment, Case, Triage
from clinic.patients.services import register_patient

pytestmark = pytest.mark.django_db

FINDING = {"modality": "labs", "bundle": "labs@1.0.0", "bundle_sha256": "0" * 64, "probabilities": {"ALL": 1.0}}
ABSTENTION = {"status": "abstained", "answer": None, "urgent": [], "discordance": [], "reasons": [{"code": "x"}]}


@pytest.fixture
def sent(monkeypatch):
    """What was dispatched, instead of doing it."""
    messages = []
    monkeypatch.setattr(runs, "send", lambda *message: messages.append(message))
    return messages


@pytest.fixture
def analysis(site, clinician):
    patient = register_patient(site=site, mrn="R-1", name="Run", by=clinician)
    case = services.open_case(patient=patient, by=clinician)
    return Analysis.objects.create(case=case, bundles={}, requested_by=clinician)


def expire(analysis):
    Analysis.objects.filter(pk=analysis.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def status_of(analysis):
    return Analysis.objects.get(pk=analysis.pk).status


def test_a_run_is_claimed_once(analysis):
    first = runs.claim(analysis.pk)
    assert first.attempt == 1
    assert runs.claim(analysis.pk) is None


def test_a_case_has_one_live_run(analysis):
    with pytest.raises(IntegrityError), transaction.atomic():
        Analysis.objects.create(case=analysis.case, bundles={}, requested_by=analysis.requested_by)


@pytest.mark.requirement("M-5")
def test_a_run_ends_once_with_its_result_and_its_event(analysis):
    run = runs.claim(analysis.pk)
    runs.save_finding(run, FINDING)
    runs.complete(run, ABSTENTION)
    with pytest.raises(runs.LeaseLost):
        runs.complete(run, ABSTENTION)
    assert Assessment.objects.filter(analysis=analysis).count() == 1
    acts = AuditEvent.objects.filter(object_type="analysis", object_id=str(analysis.pk)).order_by("seq")
    assert [a.action for a in acts] == [Action.ANALYSIS_START, Action.FINDING_SAVE, Action.ANALYSIS_COMPLETE]


APL = {"code": "apl_not_excluded", "message": "Acute promyelocytic leukaemia is not excluded.", "probability": 0.4}
URGENT = ABSTENTION | {"urgent": [APL]}


def alert_acts(analysis):
    acts = AuditEvent.objects.filter(object_type="alert", case_id=str(analysis.case.pk)).order_by("seq")
    return list(acts.values_list("action", flat=True))


def test_an_alert_is_raised_once_while_the_run_goes_on_and_stands_where_the_assessment_says_so(analysis):
    run = runs.claim(analysis.pk)
    (alert,) = runs.raise_alerts(run, [APL], modality="labs")
    assert status_of(analysis) == AnalysisStatus.RUNNING
    assert Case.objects.get(pk=analysis.case.pk).triage == Triage.URGENT
    assert runs.raise_alerts(run, [APL], modality="expression") == []
    runs.complete(run, URGENT)
    assert list(standing(analysis.case)) == [alert]
    assert (alert.modality, alert.body) == ("labs", APL)
    assert alert_acts(analysis) == [Action.ALERT_RAISE]


def test_an_alert_that_the_assessment_does_not_share_is_lowered_and_both_are_written_down(analysis):
    run = runs.claim(analysis.pk)
    runs.raise_alerts(run, [APL], modality="labs")
    runs.complete(run, ABSTENTION)
    assert not standing(analysis.case).exists()
    assert Case.objects.get(pk=analysis.case.pk).triage == Triage.WAITING
    assert alert_acts(analysis) == [Action.ALERT_RAISE, Action.ALERT_LOWER]


def test_an_alert_outlives_a_run_that_failed_until_another_comes_to_its_end(analysis):
    run = runs.claim(analysis.pk)
    runs.raise_alerts(run, [APL], modality="labs")
    runs.fail(run, code="time_limit", message="Too long.")
    assert standing(analysis.case).count() == 1
    again = Analysis.objects.create(case=analysis.case, bundles={}, requested_by=analysis.requested_by)
    runs.complete(runs.claim(again.pk), ABSTENTION)
    assert not standing(analysis.case).exists()


def test_what_only_all_together_call_for_is_raised_at_the_end(analysis):
    runs.complete(runs.claim(analysis.pk), URGENT)
    assert [alert.modality for alert in standing(analysis.case)] == ["fusion"]


def test_a_worker_that_lost_its_run_raises_nothing(analysis):
    lost = runs.claim(analysis.pk)
    expire(analysis)
    runs.sweep()
    with pytest.raises(runs.LeaseLost):
        runs.raise_alerts(lost, [APL], modality="labs")
    assert not standing(analysis.case).exists()


def test_a_lost_run_is_queued_again_and_the_lost_worker_can_no_longer_write(analysis, sent):
    lost = runs.claim(analysis.pk)
    expire(analysis)
    runs.sweep()
    assert status_of(analysis) == AnalysisStatus.QUEUED
    assert sent == [("workers.run_analysis", str(analysis.pk))]
    second = runs.claim(analysis.pk)
    assert second.attempt == 2
    for write in (
        lambda: runs.renew(lost),
        lambda: runs.save_finding(lost, FINDING),
        lambda: runs.complete(lost, ABSTENTION),
    ):
        with pytest.raises(runs.LeaseLost):
            write()
    runs.fail(lost, code="x", message="from the grave")
    assert status_of(analysis) == AnalysisStatus.RUNNING
    runs.complete(second, ABSTENTION)
    assert status_of(analysis) == AnalysisStatus.SUCCEEDED


@pytest.mark.requirement("M-5")
def test_a_finding_of_a_lost_attempt_stays_and_is_not_doubled(analysis, sent):
    runs.save_finding(runs.claim(analysis.pk), FINDING)
    expire(analysis)
    runs.sweep()
    second = runs.claim(analysis.pk)
    assert second.findings.count() == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        runs.save_finding(second, FINDING)


def test_after_the_last_attempt_the_run_fails_with_a_reason(analysis, sent, settings):
    for _ in range(settings.MAX_ATTEMPTS):
        runs.claim(analysis.pk)
        expire(analysis)
        runs.sweep()
    ended = Analysis.objects.get(pk=analysis.pk)
    assert (ended.status, ended.failure_code) == (AnalysisStatus.FAILED, "worker_lost")
    assert ended.failure_message


def test_a_renewed_lease_is_left_alone(analysis, sent):
    run = runs.claim(analysis.pk)
    expire(analysis)
    runs.renew(run, stage="smear_field: cells", done=3, total=10)
    runs.sweep()
    assert status_of(analysis) == AnalysisStatus.RUNNING
    assert sent == []


def test_a_lost_message_is_sent_again_but_not_at_every_sweep(analysis, sent):
    Analysis.objects.filter(pk=analysis.pk).update(requested_at=timezone.now() - timedelta(minutes=1))
    runs.sweep()
    runs.sweep()
    assert sent == [("workers.run_analysis", str(analysis.pk))]


def test_a_fresh_message_is_given_its_time(analysis, sent):
    runs.sweep()
    assert sent == []


def test_cancelling_stops_the_worker_at_its_next_word(analysis, clinician):
    run = runs.claim(analysis.pk)
    assert runs.cancel(analysis, by=clinician)
    with pytest.raises(runs.LeaseLost):
        runs.renew(run)
    assert not runs.cancel(analysis, by=clinician)
    assert status_of(analysis) == AnalysisStatus.CANCELLED
