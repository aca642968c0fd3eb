"""CDS Hooks 2.0: whose calls are taken, what cards say, and what is kept of what was done with them."""

import base64
import hashlib
import hmac
import socket
import time
import uuid

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clinic.audit.models import Action, AuditEvent
from clinic.interop.cds_hooks.models import CardFeedback, ServedCard, UsedToken
from ml.diagnosis_tree import load_tree
from tests.clinic.interop.cds import JWK, KEY, VIEW, call, client_settings, token
from tests.factories import ASSESSED, PatientFactory, assessed_case

pytestmark = pytest.mark.django_db
ORDER = "/cds-services/marrow-order-sign"
URGENT = ASSESSED | {"urgent": [{"node": "apl", "message": "APL is not excluded."}]}


@pytest.fixture(autouse=True)
def _trusted(settings, integrator):
    settings.CDS_CLIENTS = client_settings(integrator.username)


@pytest.fixture
def ask(api):
    def asked(url, body, *, bearer=None, **headers):
        bearer = token(url) if bearer is None else bearer
        headers = {"Authorization": f"Bearer {bearer}", **headers}
        return api().post(url, body, headers=headers)

    return asked


@pytest.fixture
def no_calls_out(monkeypatch):
    """Nothing leaves: a connection or a name looked up is a failure of the test."""

    def refuse(*args, **said):
        raise AssertionError(f"a call out: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def cards(response):
    assert response.status_code == 200, response.content
    return response.json()["cards"]


def test_discovery_needs_no_token_and_names_the_services(api):
    said = api().get("/cds-services").json()["services"]
    assert {(one["id"], one["hook"]) for one in said} == {
        ("marrow-patient-view", "patient-view"),
        ("marrow-order-sign", "order-sign"),
    }
    assert all(one["description"] and one["title"] and "patient" in one["prefetch"] for one in said)


def test_a_card_tells_the_stored_assessment(ask, site):
    assessment = assessed_case(site)
    case = assessment.analysis.case
    (card,) = cards(ask(VIEW, call(case.patient_id)))
    assert load_tree().nodes["aml"].name in card["summary"]
    assert len(card["summary"]) <= 140
    assert card["indicator"] == "info"
    assert card["source"]["label"].startswith("Marrow")
    assert card["links"][0] == {
        "label": "Open the case in Marrow",
        "url": f"http://testserver/cases/{case.pk}/",
        "type": "absolute",
    }
    assert all(reason["code"] and reason["display"] for reason in card["overrideReasons"])
    event = AuditEvent.objects.get(action=Action.CARD_SERVE)
    assert (event.patient_id, event.case_id) == (str(case.patient_id), str(case.pk))


def test_the_patient_is_found_by_the_record_number_of_the_prefetched_resource(ask, site):
    patient = assessed_case(site).analysis.case.patient
    prefetch = {"patient": {"resourceType": "Patient", "identifier": [{"value": patient.mrn}]}}
    assert len(cards(ask(VIEW, call("ehr-77", prefetch=prefetch)))) == 1
    assert cards(ask(VIEW, call("ehr-77"))) == []


def test_nothing_is_said_of_whom_nothing_is_known_or_who_is_elsewhere(ask, site, other_site):
    assert cards(ask(VIEW, call(PatientFactory(site=site).pk))) == []
    assert cards(ask(VIEW, call(assessed_case(other_site).analysis.case.patient_id))) == []
    assert cards(ask(VIEW, call(uuid.uuid4()))) == []
    assert not ServedCard.objects.exists()


def test_an_abstention_and_an_urgent_case_say_so(ask, site):
    (card,) = cards(ask(VIEW, call(assessed_case(site, abstained=True).analysis.case.patient_id)))
    assert "abstained" in card["summary"]
    assert "unlike" in card["detail"]
    urgent = assessed_case(site, body=URGENT, urgent=True).analysis.case.patient_id
    (card,) = cards(ask(ORDER, call(urgent, "order-sign")))
    assert card["indicator"] == "critical"
    assert "APL is not excluded." in card["detail"]
    calm = assessed_case(site).analysis.case.patient_id
    assert cards(ask(ORDER, call(calm, "order-sign"))) == []


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = ec.generate_private_key(ec.SECP384R1())


def _none():
    return jwt.encode({"iss": "https://ehr.example"}, None, algorithm="none")


def _public_key_as_secret():
    """The old trick: HS256 with the public key for a secret. By hand, because PyJWT refuses to sign so."""
    secret = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = token(VIEW).split(".")[1]
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"k1"}').decode().rstrip("=")
    mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def _forged_issuer():
    return jwt.api_jws.encode(b'{"iss": ["https://ehr.example"]}', KEY, algorithm="ES384")


ATTACKS = {
    "nothing": lambda: "",
    "noise": lambda: "a.b.c",
    "too long": lambda: "x" * 9000,
    "none": _none,
    "HS256": _public_key_as_secret,
    "another algorithm": lambda: token(VIEW, key=RSA, algorithm="RS256"),
    "another key": lambda: token(VIEW, key=OTHER),
    "an unknown key id": lambda: token(VIEW, headers={"kid": "k2"}),
    "a hostile jku": lambda: token(VIEW, key=OTHER, headers={"jku": "https://evil.example/jwks", "kid": "k9"}),
    "a hostile x5u": lambda: token(VIEW, key=OTHER, headers={"x5u": "https://evil.example/cert"}),
    "a key in the header": lambda: token(VIEW, key=OTHER, headers={"jwk": JWK}),
    "an unknown issuer": lambda: token(VIEW, iss="https://evil.example"),
    "an issuer that is a list": _forged_issuer,
    "another audience": lambda: token(ORDER),
    "expired": lambda: token(VIEW, exp=int(time.time()) - 60, iat=int(time.time()) - 300),
    "not yet": lambda: token(VIEW, iat=int(time.time()) + 300, exp=int(time.time()) + 600),
    "lasting for ever": lambda: token(VIEW, exp=int(time.time()) + 10**6),
    "without an end": lambda: token(VIEW, exp=None),
    "without an id": lambda: token(VIEW, jti=None),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_token_that_is_not_right_is_refused_without_a_call_out(ask, site, no_calls_out, attack):
    patient = assessed_case(site).analysis.case.patient_id
    answer = ask(VIEW, call(patient), bearer=ATTACKS[attack]())
    assert (answer.status_code, answer.json()["code"]) == (401, "token_refused")
    assert not ServedCard.objects.exists()
    assert not UsedToken.objects.exists()
    assert AuditEvent.objects.filter(action=Action.LOGIN_FAILED).count() == 1


def test_a_token_is_taken_once(ask, site):
    bearer = token(VIEW)
    assert ask(VIEW, call(uuid.uuid4()), bearer=bearer).status_code == 200
    assert ask(VIEW, call(uuid.uuid4()), bearer=bearer).status_code == 401


def test_a_token_of_feedback_is_taken_once(ask, site):
    (card,) = cards(ask(VIEW, call(assessed_case(site).analysis.case.patient_id)))
    one = {"card": card["uuid"], "outcome": "accepted", "outcomeTimestamp": "2026-03-02T10:00:00Z"}
    bearer = token(f"{VIEW}/feedback")
    assert ask(f"{VIEW}/feedback", {"feedback": [one]}, bearer=bearer).status_code == 200
    later = one | {"outcome": "overridden"}
    assert ask(f"{VIEW}/feedback", {"feedback": [later]}, bearer=bearer).status_code == 401
    assert CardFeedback.objects.get().outcome == "accepted"
    assert AuditEvent.objects.filter(action=Action.LOGIN_FAILED).count() == 1


@pytest.mark.parametrize("url", [VIEW, f"{VIEW}/feedback"])
def test_a_token_is_spent_with_the_answer_or_not_at_all(ask, site, url):
    bearer = token(url)
    assert ask(url, {"hook": "none"}, bearer=bearer).status_code == 400
    assert not UsedToken.objects.exists()
    (card,) = cards(ask(VIEW, call(assessed_case(site).analysis.case.patient_id)))
    one = {"card": card["uuid"], "outcome": "accepted", "outcomeTimestamp": "2026-03-02T10:00:00Z"}
    assert ask(url, call(uuid.uuid4()) | {"feedback": [one]}, bearer=bearer).status_code == 200
    assert UsedToken.objects.count() == 2


def test_an_answer_that_cannot_be_recorded_spends_no_token(ask, site, monkeypatch):
    patient, bearer = assessed_case(site).analysis.case.patient_id, token(VIEW)
    with monkeypatch.context() as broken:
        broken.setattr("clinic.interop.cds_hooks.services.record", lambda *_, **__: 1 / 0)
        assert ask(VIEW, call(patient), bearer=bearer).status_code == 500
    assert not UsedToken.objects.exists()
    assert len(cards(ask(VIEW, call(patient), bearer=bearer))) == 1


def test_a_client_whose_user_is_gone_is_refused(ask, integrator):
    integrator.is_active = False
    integrator.save()
    assert ask(VIEW, call(uuid.uuid4())).status_code == 401


@pytest.mark.parametrize(
    "body", [[], {}, {"hook": "patient-view"}, call("x", "order-sign"), call("x") | {"context": {"patientId": 3}}]
)
def test_a_call_that_is_none_is_refused(ask, body):
    answer = ask(VIEW, body)
    assert answer.status_code == 400
    assert answer.json()["errors"] or answer.json()["detail"]


def test_an_unknown_service_is_not_found(ask):
    assert ask("/cds-services/nonsense", call("x")).status_code == 404


def test_an_override_is_kept_with_its_reason(ask, site):
    (card,) = cards(ask(VIEW, call(assessed_case(site).analysis.case.patient_id)))
    url = f"{VIEW}/feedback"
    reason = {"reason": {"code": "disagree", "system": "urn:marrow:override-reasons"}, "userComment": "Reactive."}
    one = {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-03-02T10:00:00Z"}
    for _ in range(2):
        assert ask(url, {"feedback": [one | {"overrideReason": reason}]}).status_code == 200
    kept = CardFeedback.objects.get()
    assert (kept.outcome, kept.reason_code, kept.comment) == ("overridden", "disagree", "Reactive.")
    assert str(kept.card_id) == card["uuid"]
    assert AuditEvent.objects.filter(action=Action.CARD_FEEDBACK).count() == 1


@pytest.mark.parametrize(
    "change", [{"card": "none"}, {"card": str(uuid.uuid4())}, {"outcome": "ignored"}, {"outcomeTimestamp": "now"}]
)
def test_feedback_on_nothing_is_refused_whole(ask, site, change):
    (card,) = cards(ask(VIEW, call(assessed_case(site).analysis.case.patient_id)))
    good = {"card": card["uuid"], "outcome": "accepted", "outcomeTimestamp": "2026-03-02T10:00:00Z"}
    assert ask(f"{VIEW}/feedback", {"feedback": [good, good | change]}).status_code == 400
    assert not CardFeedback.objects.exists()
