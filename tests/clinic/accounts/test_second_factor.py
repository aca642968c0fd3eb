"""Authenticator apps, security keys and recovery codes, through the pages that a person uses."""

import hashlib
import json
import os
import re
import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from django.urls import reverse
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import websafe_encode

from clinic.audit.models import Action
from clinic.cases.reports import draft_report, sign
from clinic.errors import Denied
from tests.factories import PASSWORD, BundleFactory, assessed_case
from tests.portal_cases import events

pytestmark = pytest.mark.django_db
NOW = 1_790_000_000


def code_for(secret, at=None):
    return format_hotp_value(hotp_value(secret, int((at or time.time()) // 30)))


def confirm(client):
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})


def activate(client):
    """Set up an authenticator app as its page says. Returns the secret."""
    confirm(client)
    page = client.get(reverse("mfa_activate_totp")).content.decode()
    secret = re.search(r"<code>([A-Z2-7]+)</code>", page)[1]
    assert "<svg" in page
    done = client.post(reverse("mfa_activate_totp"), {"code": code_for(secret)})
    assert done.status_code == 302, done.content.decode()
    return secret


@pytest.fixture
def secret(client, enter, clinician, time_machine):
    time_machine.move_to(NOW, tick=False)
    enter()
    made = activate(client)
    client.post(reverse("portal:logout"))
    time_machine.shift(60)
    return made


def test_the_code_is_asked_for_after_the_password(client, enter, secret):
    assert enter().url == reverse("mfa_authenticate")
    assert client.get("/account/").url.startswith("/login/")
    assert "Incorrect code" in client.post(reverse("mfa_authenticate"), {"code": "000000"}).content.decode()
    assert events(Action.LOGIN_FAILED).count() == 1
    assert client.post(reverse("mfa_authenticate"), {"code": code_for(secret)}).url == reverse("portal:home")
    assert client.get("/account/").status_code == 200
    assert '"factors":["password","totp"]' in events(Action.LOGIN).latest("seq").body


def test_the_secret_is_not_readable_in_the_database(secret):
    assert secret not in json.dumps(Authenticator.objects.get(type="totp").data)


def test_a_code_is_good_once(enter, secret):
    first, second = Client(), Client()
    enter(client=first)
    enter(client=second)
    assert first.post(reverse("mfa_authenticate"), {"code": code_for(secret)}).status_code == 302
    assert "Incorrect code" in second.post(reverse("mfa_authenticate"), {"code": code_for(secret)}).content.decode()


def test_ten_wrong_codes_then_even_the_right_one_waits(client, enter, secret):
    enter()
    for _ in range(10):
        client.post(reverse("mfa_authenticate"), {"code": "000000"})
    text = client.post(reverse("mfa_authenticate"), {"code": code_for(secret)}).content.decode()
    assert "Too many failed attempts" in text


def test_a_recovery_code_is_good_once(client, enter, secret, clinician):
    code = Authenticator.objects.get(user=clinician, type="recovery_codes").wrap().get_unused_codes()[0]
    enter()
    assert client.post(reverse("mfa_authenticate"), {"code": code}).status_code == 302
    again = Client()
    enter(client=again)
    assert "Incorrect code" in again.post(reverse("mfa_authenticate"), {"code": code}).content.decode()


def test_a_token_needs_the_code_too(api, secret, clinician):
    def ask(**said):
        return api().post(reverse("api:token"), {"username": "doctor", "password": PASSWORD} | said)

    assert ask().json()["code"] == "code_needed"
    assert ask(code="000000").status_code == 401
    assert ask(code=code_for(secret)).status_code == 201


def test_factors_are_changed_only_after_confirming_and_each_change_is_recorded(client, enter, clinician):
    enter()
    assert client.get(reverse("mfa_activate_totp")).url.startswith(reverse("account_reauthenticate"))
    wrong = client.post(reverse("account_reauthenticate"), {"password": "not it"}).content.decode()
    assert "wrong" in wrong
    activate(client)
    assert [re.search(r'"factor":"(\w+)"', event.body)[1] for event in events(Action.FACTOR_CHANGE)]
    client.post(reverse("mfa_deactivate_totp"))
    assert not Authenticator.objects.exists()
    assert '"how":"removed"' in events(Action.FACTOR_CHANGE).latest("seq").body


@pytest.mark.parametrize("name", ["mfa_index", "mfa_activate_totp", "mfa_list_webauthn", "mfa_add_webauthn"])
def test_the_pages_keep_to_the_policy(client, enter, clinician, name):
    enter()
    confirm(client)
    page = client.get(reverse(name))
    assert page.status_code == 200
    assert "unsafe" not in page["Content-Security-Policy"]
    scripts = re.findall(r"<script[^>]*>", page.content.decode())
    assert all("src=" in tag or 'type="application/json"' in tag for tag in scripts), scripts
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|data:image", page.content.decode())


class SecurityKey:
    """What the browser and a key do together (WebAuthn level 2, attestation "none")."""

    def __init__(self):
        self.key, self.id, self.count = ec.generate_private_key(ec.SECP256R1()), os.urandom(16), 0

    def _said(self, kind, challenge):
        data = {"type": f"webauthn.{kind}", "challenge": challenge, "origin": "https://testserver"}
        return json.dumps(data).encode()

    def _authenticator_data(self, flags, rest=b""):
        self.count += 1
        return hashlib.sha256(b"testserver").digest() + bytes([flags]) + self.count.to_bytes(4, "big") + rest

    def _credential(self, response):
        packed = {name: websafe_encode(value) for name, value in response.items()}
        return json.dumps(
            {"id": websafe_encode(self.id), "rawId": websafe_encode(self.id), "type": "public-key"}
            | {"response": packed, "clientExtensionResults": {}, "authenticatorAttachment": "cross-platform"}
        )

    def register(self, options):
        said = self._said("create", options["publicKey"]["challenge"])
        cose = cbor.encode(dict(ES256.from_cryptography_key(self.key.public_key())))
        data = self._authenticator_data(0x45, bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose)
        attested = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        return self._credential({"clientDataJSON": said, "attestationObject": attested})

    def sign(self, options):
        said = self._said("get", options["publicKey"]["challenge"])
        data = self._authenticator_data(0x05)
        signature = self.key.sign(data + hashlib.sha256(said).digest(), ec.ECDSA(hashes.SHA256()))
        return self._credential({"clientDataJSON": said, "authenticatorData": data, "signature": signature})


def options_on(page, name):
    return json.loads(re.search(r'<script id="js_data"[^>]*>(.*?)</script>', page.content.decode())[1])[name]


def test_a_security_key_is_added_and_signs_in(client, enter, clinician):
    enter()
    confirm(client)
    key = SecurityKey()
    page = client.get(reverse("mfa_add_webauthn"), secure=True)
    credential = key.register(options_on(page, "creation_options"))
    added = client.post(reverse("mfa_add_webauthn"), {"name": "Ward key", "credential": credential}, secure=True)
    assert added.status_code == 302, added.content.decode()
    client.post(reverse("portal:logout"))
    assert enter().url == reverse("mfa_authenticate")
    page = client.get(reverse("mfa_authenticate"), secure=True)
    other = SecurityKey()
    other.id = key.id
    forged = {"credential": other.sign(options_on(page, "request_options"))}
    assert client.post(reverse("mfa_authenticate"), forged, secure=True).status_code == 200
    page = client.get(reverse("mfa_authenticate"), secure=True)
    right = {"credential": key.sign(options_on(page, "request_options"))}
    assert client.post(reverse("mfa_authenticate"), right, secure=True).status_code == 302
    assert client.get("/account/").status_code == 200
    assert '"factors":["password","webauthn"]' in events(Action.LOGIN).latest("seq").body


@pytest.mark.requirement("M-6")
def test_a_signature_asks_for_the_second_factor_too(client, site, secret, clinician):
    report = draft_report(assessment=assessed_case(site), by=clinician)
    for name in ("labs", "fusion"):
        BundleFactory(name=name)
    with pytest.raises(Denied) as refusal:
        sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    assert refusal.value.code == "code_needed"
    with pytest.raises(Denied):
        sign(report=report, by=clinician, password=PASSWORD, decision="agree", code="000000")
    assert sign(report=report, by=clinician, password=PASSWORD, decision="agree", code=code_for(secret))
    assert '"factors":["password","totp"]' in events(Action.REPORT_SIGN).get().body
    assert events(Action.DENIED).count() == 2
