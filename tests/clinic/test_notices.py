"""Notices: who is told of a case, once; the bell and its page; mail without a patient in it."""

import re
from smtplib import SMTPServerDisconnected

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.urls import reverse

from clinic.accounts.models import Membership, User
from clinic.audit.models import Action
from clinic.cases import runs
from clinic.cases.models import AnalysisStatus
from clinic.cases.reports import draft_report, sign
from clinic.notices.models import Kind, Notice
from clinic.notices.services import send_due, set_preference
from tests.factories import PASSWORD, AnalysisFactory, BundleFactory, CaseFactory, ItemFactory, NoticeFactory, member
from tests.portal_cases import events, finding, fused_case

pytestmark = pytest.mark.django_db

READY = [finding("labs", "ALL", 0.99), finding("expression", "B-ALL", 0.99)]


@pytest.fixture
def case(site):
    for name in ("labs", "fusion"):
        BundleFactory(name=name)
    case = CaseFactory(patient__site=site, patient__name="Synthia Test")
    ItemFactory(case=case)
    return case


@pytest.fixture
def end(case, technician, site):
    """``end(urgent=…)`` runs an analysis of the case to its end, as asked for by the technician."""
    calm, alarm = (fused_case(site, said).body for said in (READY, [finding("labs", "APL")]))
    Notice.objects.all().delete()

    def run(*, urgent=False, failed=False):
        queued = AnalysisFactory(
            case=case, status=AnalysisStatus.QUEUED, finished_at=None, requested_by=technician, bundles={}
        )
        claimed = runs.claim(queued.pk)
        if failed:
            return runs.fail(claimed, code="internal_error", message="Broken.")
        return runs.complete(claimed, alarm if urgent else calm)

    return run


def told():
    rows = Notice.objects.annotate(unread=Q(read_at__isnull=True))
    return sorted(rows.values_list("recipient__username", "kind", "unread"))


def test_signers_and_who_asked_are_told_once(end, clinician, auditor, admin_user, outsider):
    end()
    assert told() == [("doctor", "ready", True), ("tech", "ready", True)]
    Notice.objects.update(read_at="2026-01-01T00:00Z")
    end()
    assert told() == [("doctor", "ready", False), ("tech", "ready", False)]


def test_news_takes_the_place_of_what_was_told(end, clinician):
    end(failed=True)
    Notice.objects.update(read_at="2026-01-01T00:00Z")
    end(urgent=True)
    assert told() == [("doctor", "urgent", True), ("tech", "urgent", True)]


def test_one_notice_for_each_person_and_case_is_a_constraint(case, clinician):
    NoticeFactory(case=case, recipient=clinician)
    with pytest.raises(IntegrityError), transaction.atomic():
        NoticeFactory(case=case, recipient=clinician)


def test_an_alert_raised_early_is_still_what_is_told_at_the_end(case, technician, clinician, site):
    body = fused_case(site, [finding("labs", "APL")]).body
    queued = AnalysisFactory(
        case=case, status=AnalysisStatus.QUEUED, finished_at=None, requested_by=technician, bundles={}
    )
    claimed = runs.claim(queued.pk)
    runs.raise_alerts(claimed, body["urgent"], modality="labs")
    Notice.objects.update(read_at="2026-01-01T00:00Z")
    runs.complete(claimed, body)
    assert told() == [("doctor", "urgent", False), ("tech", "urgent", False)]


def test_whoever_wants_little_hears_of_the_urgent_all_the_same(end, site, clinician):
    set_preference(scope="mine", by_mail=False, by=clinician)
    end()
    assert told() == [("tech", "ready", True)]
    end(urgent=True)
    assert told() == [("doctor", "urgent", True), ("tech", "urgent", True)]


def test_who_left_is_not_told(end, technician, clinician):
    Membership.objects.filter(user=technician).delete()
    User.objects.filter(pk=clinician.pk).update(is_active=False)
    end(urgent=True)
    assert told() == []


def test_a_signature_settles_the_case(end, clinician):
    report = draft_report(assessment=end(), by=clinician)
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    assert not Notice.objects.filter(read_at__isnull=True).exists()


# By e-mail


@pytest.fixture
def addresses(settings, clinician, technician):
    settings.NOTICES_BY_MAIL = True
    for user in (clinician, technician):
        user.email = f"{user.username}@lab.example"
        user.save()


def test_each_is_mailed_once_and_no_patient_is_in_it(addresses, end, case, outsider):
    end(urgent=True)
    send_due()
    send_due()
    assert sorted(message.to[0] for message in mail.outbox) == ["doctor@lab.example", "tech@lab.example"]
    for message in mail.outbox:
        assert message.subject == "[Marrow] URGENT: a result needs you now"
        assert message.extra_headers["Importance"] == "high"
        raw = message.message().as_string()
        for secret in ("Synthia", case.patient.mrn, "1990", "APL", "leuk", str(case.pk)):
            assert secret not in raw
        assert f"/notices/{Notice.objects.get(recipient__email=message.to[0]).pk}/" in message.body


def test_a_server_that_is_away_gets_the_mail_later(addresses, end, monkeypatch):
    end()

    def away(_self):
        raise SMTPServerDisconnected("gone")

    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", away)
        send_due()
    assert Notice.objects.filter(mail_due=True).count() == 2
    send_due()
    assert len(mail.outbox) == 2
    assert not Notice.objects.filter(mail_due=True).exists()


def test_nobody_is_mailed_against_their_wish_or_without_a_server(addresses, settings, end, clinician):
    set_preference(scope="site", by_mail=False, by=clinician)
    end()
    send_due()
    assert [message.to for message in mail.outbox] == [["tech@lab.example"]]
    settings.NOTICES_BY_MAIL = False
    end(urgent=True)
    send_due()
    assert len(mail.outbox) == 1


# The pages


def test_the_page_shows_what_waits_urgent_first_and_is_recorded(client, site, clinician):
    for name, kind in (("Calm One", "ready"), ("Alarm One", "urgent"), ("Broken One", "failed")):
        NoticeFactory(case=CaseFactory(patient__site=site, patient__name=name), recipient=clinician, kind=kind)
    gone = NoticeFactory(recipient=clinician)
    client.force_login(clinician)
    text = client.get(reverse("notices:notices")).content.decode()
    assert text.index("Alarm One") < text.index("Calm One")
    assert gone.case.patient.name not in text
    assert events(Action.NOTICE_READ).count() == 1
    bell = client.get(reverse("notices:pulse")).content.decode()
    assert "1 urgent" in bell
    assert re.sub("<[^>]*>", "", bell).split()[-2:] == ["2", "more"]
    assert "One" not in bell


def test_opening_one_marks_it_and_goes_to_the_case(client, site, clinician, technician):
    notice = NoticeFactory(case=CaseFactory(patient__site=site), recipient=clinician)
    client.force_login(technician)
    assert client.get(reverse("notices:open", args=[notice.pk])).status_code == 404
    client.force_login(clinician)
    response = client.get(reverse("notices:open", args=[notice.pk]))
    assert response.url == reverse("portal:case", args=[notice.case_id])
    assert told() == [("doctor", "ready", False)]


def test_all_read_and_wishes_kept(client, site, clinician):
    NoticeFactory(case=CaseFactory(patient__site=site), recipient=clinician, kind=Kind.URGENT)
    client.force_login(clinician)
    client.post(reverse("notices:read_all"))
    assert told() == [("doctor", "urgent", False)]
    client.post(reverse("notices:preference"), {"scope": "mine", "by_mail": "on"})
    assert (clinician.notice_preference.scope, clinician.notice_preference.by_mail) == ("mine", True)
    text = client.post(reverse("notices:preference"), {"scope": "nothing"}, follow=True).content.decode()
    assert "Choose what you want to be told of." in text


def test_an_auditor_has_no_bell(client, auditor, site):
    member(site, "clinician")
    client.force_login(auditor)
    assert 'id="bell"' not in client.get(reverse("portal:models")).content.decode()
