"""Signing in with the hospital's directory (OpenID Connect): a directory of our own stands in for it.

Covers openid_connect_login and openid_connect_callback.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client
from django.urls import reverse

from clinic.audit.models import Action
from tests.factories import UserFactory
from tests.portal_cases import events

pytestmark = pytest.mark.django_db


class Directory:
    """Answers as an OpenID provider would; ``claims`` is whom it vouches for."""

    def __init__(self):
        self.claims, self.asked = {}, []
        directory = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                size = int(self.headers.get("Content-Length") or 0)
                said = directory.answer(self.path, self.rfile.read(size).decode())
                self.send_response(200 if said is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(said).encode())

            do_POST = do_GET  # noqa: N815 (the library's name)

            def log_message(self, *said):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, body):
        self.asked.append((path, parse_qs(body)))
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/keys",
            }
        if path == "/token":
            claims = self.claims | {"iss": self.url, "aud": "marrow", "exp": 4_000_000_000, "iat": 1}
            return {"access_token": "a", "token_type": "Bearer", "id_token": jwt.encode(claims, "x" * 32)}
        return self.claims if path == "/userinfo" else None


@pytest.fixture
def directory(settings):
    made = Directory()
    app = {
        "provider_id": "directory",
        "name": "Saint Elsewhere",
        "client_id": "marrow",
        "secret": "s",
        "settings": {"server_url": made.url},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
    yield made
    made.server.shutdown()
    made.server.server_close()


def come_in(client, directory, **claims):
    directory.claims = {"sub": "42", "preferred_username": "doctor", "name": "D"} | claims
    gone = client.get(reverse("openid_connect_login", args=["directory"]))
    asked = parse_qs(urlsplit(gone.url).query)
    assert gone.url.startswith(f"{directory.url}/authorize")
    assert asked["code_challenge_method"] == ["S256"]
    back = {"code": "c", "state": asked["state"][0]}
    return client.get(reverse("openid_connect_callback", args=["directory"]), back)


def is_in(client):
    return "_auth_user_id" in client.session


def test_the_login_page_offers_it_where_the_settings_name_one(client, directory):
    assert "With Saint Elsewhere" in client.get(reverse("portal:login")).content.decode()


def test_there_is_none_where_the_settings_name_none(client):
    assert "openid" not in client.get(reverse("portal:login")).content.decode()
    assert client.get(reverse("openid_connect_login", args=["directory"])).status_code == 404


def test_who_comes_by_the_directory_is_not_asked_for_a_second_factor_of_ours(client, directory, clinician, settings):
    settings.SECOND_FACTOR_ROLES = ["clinician"]
    come_in(client, directory)
    assert client.get("/account/").status_code == 200


def test_a_known_person_comes_in_and_is_bound_to_the_directorys_id(client, directory, clinician):
    assert come_in(client, directory).url == reverse("portal:home")
    assert client.get("/account/").status_code == 200
    assert '"socialaccount"' in events(Action.LOGIN).get().body
    assert "code_verifier" in next(body for path, body in directory.asked if path == "/token")
    again = Client()
    come_in(again, directory, preferred_username="renamed")
    assert is_in(again)


def test_who_has_no_account_here_gets_none(client, directory):
    come_in(client, directory, preferred_username="stranger")
    assert not is_in(client)
    assert not SocialAccount.objects.exists()
    assert events(Action.LOGIN_FAILED).count() == 1


def test_another_person_of_the_same_name_is_not_let_in(client, directory, clinician):
    come_in(client, directory)
    other = Client()
    come_in(other, directory, sub="43")
    assert not is_in(other)


def test_a_closed_account_stays_closed(client, directory, clinician):
    come_in(client, directory)
    clinician.is_active = False
    clinician.save()
    other = Client()
    come_in(other, directory)
    assert not is_in(other)


def test_an_answer_to_a_question_never_asked_is_refused(client, directory, clinician):
    client.get(reverse("openid_connect_callback", args=["directory"]), {"code": "c", "state": "made up"})
    assert not is_in(client)


def test_a_name_alone_is_never_enough(client, directory):
    UserFactory(username="")
    come_in(client, directory, preferred_username="")
    assert not is_in(client)
