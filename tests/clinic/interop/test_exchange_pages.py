"""Held results and webhooks in the portal."""

import pytest
from django.urls import reverse

from clinic.audit.models import Action, AuditEvent
from clinic.interop.results.models import HeldResult, LabResult, LocalCode
from clinic.interop.webhooks.models import Delivery, Webhook
from tests.clinic.interop.conftest import delivery, held
from tests.factories import PatientFactory

pytestmark = pytest.mark.django_db
HELD = reverse("exchange:held_results")
WEBHOOKS = reverse("exchange:webhooks")


@pytest.fixture
def doctor(client, clinician):
    client.force_login(clinician)
    return client


@pytest.fixture
def boss(client, admin_user):
    client.force_login(admin_user)
    return client


@pytest.fixture
def public(monkeypatch):
    """Every name is one public address; an address is itself."""

    def found(host, *_, **__):
        return [(2, 1, 6, "", (host if host[0].isdigit() else "93.184.215.14", 443))]

    monkeypatch.setattr("clinic.interop.webhooks.targets.socket.getaddrinfo", found)


def one_of(row):
    return reverse("exchange:held_result", args=[row.pk])


def test_a_person_says_what_a_held_result_is(doctor, site):
    patient, row = PatientFactory(site=site, mrn="M1"), held(site)
    page = doctor.get(HELD).content.decode()
    assert "Leukos" in page
    assert one_of(row) in page
    assert "6690-2" in doctor.get(one_of(row)).content.decode()
    said = {"act": "take", "loinc": "6690-2", "mrn": "M1", "remember": "on"}
    assert doctor.post(one_of(row), said, follow=True).redirect_chain == [(HELD, 302)]
    assert (LabResult.objects.get().patient, LabResult.objects.get().analyte) == (patient, "wbc")
    assert LocalCode.objects.get().loinc == "6690-2"
    assert "Nothing waits" in doctor.get(HELD).content.decode()
    assert "taken as 6690-2" in doctor.get(f"{HELD}?status=taken").content.decode()
    assert "taken as 6690-2" in doctor.get(one_of(row)).content.decode()


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"act": "take", "loinc": "6690-2", "mrn": "nobody"}, "mrn"),
        ({"act": "take", "loinc": "6690-2"}, None),
        ({"act": "take", "loinc": "nonsense", "mrn": "M1"}, "loinc"),
        ({"act": "take", "loinc": "6690-2", "unit": "%", "mrn": "M1"}, None),
        ({"act": "take", "loinc": "6690-2", "number": "many", "mrn": "M1"}, "number"),
    ],
)
def test_what_does_not_fit_is_said_and_it_goes_on_waiting(doctor, site, said, where):
    PatientFactory(site=site, mrn="M1")
    row = held(site)
    answer = doctor.post(one_of(row), said)
    assert answer.status_code == 400
    assert answer.context["take"].errors[where or "__all__"]
    assert HeldResult.objects.get().status == "waiting"


def test_a_result_is_put_aside_with_a_reason(doctor, site):
    row = held(site)
    assert doctor.post(one_of(row), {"act": "dismiss", "reason": " "}).status_code == 400
    assert doctor.post(one_of(row), {"act": "dismiss", "reason": "A control"}).status_code == 302
    assert HeldResult.objects.get().decision == "A control"
    again = doctor.post(one_of(row), {"act": "dismiss", "reason": "Twice"})
    assert (again.status_code, HeldResult.objects.get().decision) == (400, "A control")


def test_one_sees_only_ones_own_and_the_reading_is_written_down(doctor, site, other_site):
    mine, foreign = held(site), held(other_site, name="Foreign")
    page = doctor.get(HELD)
    assert str(foreign.pk) not in page.content.decode()
    assert doctor.get(one_of(foreign)).status_code == 404
    assert str(mine.pk) in AuditEvent.objects.filter(action=Action.RESULT_READ).last().body


def test_a_webhook_is_added_and_its_secret_told_once(boss, site, public):
    said = {"site": site.code, "url": "https://lis.example/hook", "events": ["report.signed"]}
    page = boss.post(WEBHOOKS, said)
    assert page.context["secret"].startswith("whsec_")
    assert page.context["secret"] in page.content.decode()
    assert page.context["secret"] not in boss.get(WEBHOOKS).content.decode()
    webhook = Webhook.objects.get()
    boss.post(reverse("exchange:switch", args=[webhook.pk]), {"active": "no"})
    webhook.refresh_from_db()
    assert not webhook.active
    assert "Switch on" in boss.get(WEBHOOKS).content.decode()


@pytest.mark.parametrize("change", [{"url": "https://10.0.0.1/"}, {"url": "ftp://x"}, {"events": []}, {"site": "none"}])
def test_a_webhook_that_may_not_be_is_refused(boss, site, public, change):
    said = {"site": site.code, "url": "https://lis.example/hook", "events": ["report.signed"]} | change
    assert boss.post(WEBHOOKS, said).status_code == 400
    assert not Webhook.objects.exists()


def test_a_dead_letter_is_sent_again(boss, site):
    letter = delivery(site)
    assert "1 dead letter" in boss.get(WEBHOOKS).content.decode()
    again = reverse("exchange:replay", args=[letter.pk])
    boss.post(again)
    assert Delivery.objects.get().status == "waiting"
    assert "report.signed" in boss.get(f"{WEBHOOKS}?status=waiting").content.decode()
    assert "Only a dead one" in boss.post(again, follow=True).content.decode()


def test_the_bar_leads_there_whoever_may(client, clinician, admin_user, auditor):
    for user, seen in ((clinician, {HELD}), (admin_user, {WEBHOOKS}), (auditor, set())):
        client.force_login(user)
        page = client.get(reverse("portal:help")).content.decode()
        assert {url for url in (HELD, WEBHOOKS) if f'href="{url}"' in page} == seen
