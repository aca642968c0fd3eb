"""Webhooks: told once it is true, signed, at least once, and never into the house."""

import json
import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.utils import timezone

from clinic.audit.models import Action, AuditEvent
from clinic.cases import runs
from clinic.cases.models import AnalysisStatus
from clinic.cases.reports import draft_report, sign
from clinic.errors import InvalidInput
from clinic.interop.webhooks.delivery import PAUSES, deliver_due, secret_of, signature
from clinic.interop.webhooks.models import Delivery, OutboxEvent, Webhook
from clinic.interop.webhooks.services import create_webhook
from clinic.interop.webhooks.targets import is_public, resolve
from tests.clinic.interop.conftest import delivery
from tests.factories import ASSESSED, PASSWORD, AnalysisFactory, CaseFactory, assessed_case

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver():
    """A receiver on this machine: ``status`` is what it answers, ``got`` what it was told."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.got.append((dict(self.headers), body, self.path))
            self.send_response(server.status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.status = [], 204
    server.url = f"http://localhost:{server.server_port}/hook?from=marrow"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def welcome(settings, receiver):
    settings.WEBHOOK_ALLOWED_TARGETS = {f"localhost:{receiver.server_port}"}
    return receiver


@pytest.fixture
def hook(welcome, site, admin_user):
    return create_webhook(site=site, url=welcome.url, events=["analysis.completed", "report.signed"], by=admin_user)[0]


def make_due():
    Delivery.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_signed_report_is_told_signed(hook, welcome, site, clinician):
    report = draft_report(assessment=assessed_case(site), by=clinician)
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    assert deliver_due() == 1
    ((headers, body, path),) = welcome.got
    event = OutboxEvent.objects.get()
    said = json.loads(body)
    assert (said["id"], said["type"], path) == (str(event.pk), "report.signed", "/hook?from=marrow")
    assert said["data"] == {
        "case": str(report.case_id),
        "patient": str(report.case.patient_id),
        "report": str(report.pk),
    }
    assert headers["Host"] == f"localhost:{welcome.server_port}"
    assert headers["Marrow-Event-Id"] == str(event.pk)
    assert headers["Marrow-Signature"] == f"v1={signature(secret_of(hook), headers['Marrow-Timestamp'], body)}"
    assert Delivery.objects.get().status == "delivered"
    assert deliver_due() == 0


def test_an_end_of_an_analysis_is_told_in_its_own_transaction(hook, site, as_task):
    case = CaseFactory(patient__site=site)
    running = {"status": AnalysisStatus.RUNNING, "finished_at": None, "lease_until": timezone.now(), "attempt": 1}
    analysis = AnalysisFactory(case=case, **running)
    runs.complete(analysis, ASSESSED)
    assert OutboxEvent.objects.get().body["analysis"] == str(analysis.pk)
    with pytest.raises(runs.LeaseLost):
        runs.complete(analysis, ASSESSED)
    assert OutboxEvent.objects.count() == 1


def test_a_failure_is_told_only_to_who_asked_for_it(hook, site, as_task):
    running = {"status": AnalysisStatus.RUNNING, "finished_at": None, "lease_until": timezone.now(), "attempt": 1}
    analysis = AnalysisFactory(case=CaseFactory(patient__site=site), **running)
    runs.fail(analysis, code="internal_error", message="It broke.")
    assert not OutboxEvent.objects.exists()


def test_it_is_tried_again_under_the_same_id_with_growing_pauses_then_dead_and_replayed(
    hook, welcome, site, clinician, admin_user, api
):
    welcome.status = 500
    report = draft_report(assessment=assessed_case(site), by=clinician)
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    for pause in PAUSES:
        before = timezone.now()
        assert deliver_due() == 1
        waiting = Delivery.objects.get()
        assert waiting.status == "waiting"
        assert pause - 1 < (waiting.due_at - before).total_seconds() < pause + 30
        assert deliver_due() == 0
        make_due()
    deliver_due()
    dead = Delivery.objects.get()
    assert (dead.status, dead.last_answer, dead.attempts) == ("dead", "HTTP 500", len(PAUSES) + 1)
    (letter,) = api(admin_user).get("/api/v1/webhook-deliveries").json()["results"]
    assert (letter["id"], letter["type"]) == (str(dead.pk), "report.signed")
    welcome.status = 200
    url = f"/api/v1/webhook-deliveries/{dead.pk}/replay"
    assert api(admin_user).post(url).json()["status"] == "waiting"
    assert deliver_due() == 1
    assert Delivery.objects.get().status == "delivered"
    assert api(admin_user).post(url).status_code == 409
    assert len({headers["Marrow-Event-Id"] for headers, _, _ in welcome.got}) == 1
    assert AuditEvent.objects.filter(action=Action.WEBHOOK_REPLAY).count() == 1


def test_a_redirect_is_not_followed(welcome, site):
    welcome.status = 302
    delivery(site, status="waiting", url=welcome.url)
    deliver_due()
    assert Delivery.objects.get().last_answer == "HTTP 302"
    assert len(welcome.got) == 1


def test_what_was_public_and_no_longer_is_is_not_called(receiver, site):
    """The address is judged at every delivery, not only when the webhook was made."""
    delivery(site, status="waiting", url=receiver.url)
    deliver_due()
    assert Delivery.objects.get().last_answer.startswith("refused:")
    assert receiver.got == []


def test_a_switched_off_webhook_is_told_nothing(hook, welcome, site, admin_user, api):
    assert api(admin_user).patch(f"/api/v1/webhooks/{hook.pk}", {"active": False}).json()["active"] is False
    delivery(site, status="waiting", url=welcome.url)
    Webhook.objects.update(active=False)
    assert deliver_due() == 0


INSIDE = [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_an_address_of_the_internet_is(address):
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://127.0.0.1/", "private_target"),
        ("https://localhost/", "private_target"),
        ("https://[::1]/", "private_target"),
        ("https://2130706433/", "private_target"),  # 127.0.0.1 as one number
        ("https://0x7f.1/", "private_target"),
        ("http://93.184.216.34/", "not_https"),
        ("https://user:secret@example.org/", "bad_url"),
        ("ftp://example.org/", "bad_url"),
        ("https:///nowhere", "bad_url"),
        ("https://example.org:99999/", "bad_url"),
        ("javascript:alert(1)", "bad_url"),
        ("https://no-such-host.invalid/", "unknown_host"),
    ],
)
def test_a_target_that_may_not_be_called_is_refused(url, code):
    with pytest.raises(InvalidInput) as refused:
        resolve(url)
    assert refused.value.code == code


def test_every_address_of_a_name_is_judged(monkeypatch):
    found = [(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("10.0.0.7", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(InvalidInput):
        resolve("https://two-faced.example/")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found[:1])
    target = resolve("https://honest.example/hook")
    assert ([*target.urls], target.authority) == (["https://93.184.216.34:443/hook"], "honest.example")


def test_a_webhook_is_made_with_a_secret_told_once(welcome, site, admin_user, api):
    said = {"site": str(site.pk), "url": welcome.url, "events": ["report.signed"]}
    made = api(admin_user).post("/api/v1/webhooks", said)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    (listed,) = api(admin_user).get("/api/v1/webhooks").json()["results"]
    assert "secret" not in listed
    assert AuditEvent.objects.filter(action=Action.WEBHOOK_CREATE).count() == 1
    assert api(admin_user).post("/api/v1/webhooks", said | {"events": ["nonsense"]}).status_code == 400
    assert api(admin_user).post("/api/v1/webhooks", said | {"url": "https://10.0.0.1/"}).json()["code"] == (
        "private_target"
    )
