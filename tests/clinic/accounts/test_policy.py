"""Roles that must have a second factor: nothing but setting one up is open until there is one."""

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse

from clinic.accounts.policy import SecondFactorWanted
from tests.clinic.accounts.test_second_factor import activate
from tests.factories import PASSWORD
from tests.security.matrix import token_for

pytestmark = pytest.mark.django_db
SET_UP = reverse("mfa_index")


@pytest.fixture(autouse=True)
def _wanted(settings):
    settings.SECOND_FACTOR_ROLES = ["admin", "clinician"]


@pytest.mark.parametrize(
    "page", ["portal:worklist", "portal:account", "portal:help", "tokens:tokens", "notices:notices"]
)
def test_whoever_signs_is_led_to_set_one_up(client, clinician, page):
    client.force_login(clinician)
    answer = client.get(reverse(page))
    assert (answer.status_code, answer.url) == (302, SET_UP)
    assert "Your role needs a second factor" in client.get(SET_UP).content.decode()


def test_once_there_is_one_everything_is_open(client, enter, clinician):
    enter()
    activate(client)
    assert client.get(reverse("portal:worklist")).status_code == 200


def test_who_has_one_is_not_asked(client, clinician):
    TOTP.activate(clinician, generate_totp_secret())
    client.force_login(clinician)
    assert client.get(reverse("portal:worklist")).status_code == 200


def test_other_roles_and_installations_without_the_policy_are_not_asked(client, technician, clinician, settings):
    client.force_login(technician)
    assert client.get(reverse("portal:worklist")).status_code == 200
    settings.SECOND_FACTOR_ROLES = []
    client.force_login(clinician)
    assert client.get(reverse("portal:worklist")).status_code == 200


def test_the_api_refuses_the_session_and_takes_the_token(client, api, clinician):
    client.force_login(clinician)
    for address in ("/api/v1/cases", "/fhir/Patient", "/dicomweb/studies"):
        answer = client.get(address)
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_needed")
    assert client.post("/api/v1/tokens", {}, content_type="application/json").status_code == 403
    bearer = {"Authorization": f"Token {token_for(clinician)}"}
    assert api().get("/api/v1/cases", headers=bearer).status_code == 200


def test_a_login_for_a_token_needs_it_too(api, clinician, technician):
    said = {"username": clinician.username, "password": PASSWORD}
    answer = api().post("/api/v1/auth/token", said)
    assert (answer.status_code, answer.json()["code"]) == (401, "second_factor_needed")
    assert api().post("/api/v1/auth/token", said | {"username": technician.username}).status_code == 201


def test_a_part_of_a_page_moves_the_whole(client, clinician):
    client.force_login(clinician)
    answer = client.get(reverse("notices:pulse"), headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == SET_UP


def test_one_can_still_leave(client, clinician):
    client.force_login(clinician)
    assert client.post(reverse("portal:logout")).url == reverse("portal:login")


def test_a_role_that_does_not_exist_stops_the_start(settings):
    settings.SECOND_FACTOR_ROLES = ["clinican"]
    with pytest.raises(ImproperlyConfigured, match="clinican"):
        SecondFactorWanted(lambda _: None)
