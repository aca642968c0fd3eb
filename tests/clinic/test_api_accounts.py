import json

import pytest
from django.urls import reverse

from clinic.audit.models import Action, AuditEvent
from clinic.tokens.models import AccessToken
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db
URL = "/api/v1/auth/token"


def log_in(client, **said):
    return client.post(URL, {"username": "doctor", "password": PASSWORD} | said)


def with_token(client, token):
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def test_a_token_opens_the_api_until_it_is_given_back(api, clinician):
    answer = log_in(api())
    assert answer.status_code == 201
    client = with_token(api(), answer.json()["token"])
    me = client.get(reverse("api:me")).json()
    assert (me["username"], me["memberships"][0]["role"]) == ("doctor", "clinician")
    assert client.delete(URL).status_code == 204
    assert client.get(reverse("api:me")).status_code == 401
    actions = list(AuditEvent.objects.order_by("seq").values_list("action", "actor_id"))
    assert actions == [(Action.TOKEN_CREATE, str(clinician.pk)), (Action.TOKEN_REVOKE, str(clinician.pk))]


def test_the_database_does_not_keep_the_token(api, clinician):
    token = log_in(api()).json()["token"]
    row = AccessToken.objects.get()
    assert token not in [str(value) for value in vars(row).values()]
    assert all(token not in event.body for event in AuditEvent.objects.all())


@pytest.mark.parametrize("said", [{"password": "wrong"}, {"username": "nobody"}])
def test_a_wrong_name_or_password_gets_the_same_answer_and_is_recorded(api, clinician, said):
    answer = log_in(api(), **said)
    assert (answer.status_code, answer.json()["code"]) == (401, "login_failed")
    event = AuditEvent.objects.get()
    assert (event.action, event.outcome, event.actor_id) == (Action.LOGIN_FAILED, "failure", "")
    assert json.loads(event.body)["detail"]["username"] == said.get("username", "doctor")
    assert "wrong" not in event.body


def test_who_is_no_longer_active_gets_no_token(api, clinician):
    clinician.is_active = False
    clinician.save()
    assert log_in(api()).status_code == 401


def test_a_token_of_who_is_no_longer_active_is_worth_nothing(api, clinician):
    token = log_in(api()).json()["token"]
    clinician.is_active = False
    clinician.save()
    assert with_token(api(), token).get(reverse("api:me")).status_code == 401


def test_guessing_one_password_ends_after_ten_tries(api, clinician):
    answers = [log_in(api(), username="Doctor", password=str(n)).status_code for n in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert log_in(api()).json()["code"] == "too_many_tries"


def test_a_forged_token_is_nobody(api, clinician):
    answer = with_token(api(), "0" * 64).get(reverse("api:me"))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Token"


def test_a_session_is_no_token_to_give_back(api, clinician):
    assert api(clinician).delete(URL).status_code == 401


@pytest.mark.parametrize("body", [{}, {"username": "doctor"}, {"username": ["a"], "password": {}}, []])
def test_an_incomplete_login_is_a_problem_with_places(api, body):
    answer = api().post(URL, body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"
    assert answer.json()["errors"]
