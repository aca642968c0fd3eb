"""How long a session lasts, who ends it, and that a closed account is out at once."""

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client
from django.urls import reverse

from clinic.accounts import sessions
from clinic.audit.models import Action
from clinic.errors import Denied
from clinic.tokens.services import issue_for_login
from tests.factories import PASSWORD
from tests.portal_cases import events

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("M-11")]
PAGE = "/account/"


def signed_in(client):
    return client.get(PAGE).status_code == 200


def test_a_session_ends_after_a_quarter_of_an_hour_without_an_act(client, enter, clinician, time_machine):
    time_machine.move_to(1_790_000_000, tick=False)
    enter()
    assert signed_in(client)
    for _ in range(5):
        time_machine.shift(14 * 60)
        assert signed_in(client)
    time_machine.shift(15 * 60 + 1)
    assert client.get(PAGE).url.startswith("/login/")
    assert events(Action.LOGOUT).get().actor_id == str(clinician.pk)
    assert '"why":"idle"' in events(Action.LOGOUT).get().body
    assert not UserSession.objects.exists()


def test_a_page_that_polls_by_itself_is_no_act(client, enter, clinician, time_machine):
    time_machine.move_to(1_790_000_000, tick=False)
    enter()
    client.get(reverse("portal:worklist"))
    for _ in range(20):
        time_machine.shift(60)
        client.get(reverse("portal:worklist_pulse"))
    assert not signed_in(client)


def test_a_session_ends_after_eight_hours_in_any_case(client, enter, clinician, time_machine):
    time_machine.move_to(1_790_000_000, tick=False)
    enter()
    for _ in range(48):
        assert signed_in(client)
        time_machine.shift(10 * 60)
    assert not signed_in(client)
    assert '"why":"age"' in events(Action.LOGOUT).get().body


def test_one_sees_ones_sessions_and_ends_them(enter, clinician):
    here, there = Client(), Client(headers={"user-agent": "Ward PC <3>"})
    enter(client=here)
    enter(client=there, address="203.0.113.9")
    text = here.get(PAGE).content.decode()
    assert "This session" in text
    assert "203.0.113.9" in text
    assert "Ward PC &lt;3&gt;" in text
    other = UserSession.objects.get(ip="203.0.113.9")
    here.post(reverse("portal:end_session", args=[other.pk]))
    assert not signed_in(there)
    assert signed_in(here)
    assert events(Action.SESSION_END).count() == 1


def test_nobody_ends_a_session_of_somebody_else(enter, clinician, outsider, client):
    enter(client=Client())
    client.force_login(outsider)
    session = UserSession.objects.get(user=clinician)
    assert client.post(reverse("portal:end_session", args=[session.pk])).status_code == 404
    with pytest.raises(Denied):
        sessions.end_session(session=session, by=outsider)
    assert UserSession.objects.filter(pk=session.pk).exists()


def test_to_end_all_others_ends_tokens_too(enter, clinician, api):
    here, there = Client(), Client()
    enter(client=here)
    enter(client=there)
    _, token = issue_for_login(user=clinician)
    here.post(reverse("portal:end_others"))
    assert signed_in(here)
    assert not signed_in(there)
    assert api().get("/api/v1/me", headers={"authorization": f"Token {token}"}).status_code == 401


def test_an_administrator_of_the_site_ends_them_all(enter, clinician, admin_user):
    there = Client()
    enter(client=there)
    sessions.end_all(user=clinician, by=admin_user)
    assert not signed_in(there)


def test_who_is_closed_is_out_with_the_next_request(client, enter, clinician, api):
    enter()
    _, token = issue_for_login(user=clinician)
    clinician.is_active = False
    clinician.save()
    assert not signed_in(client)
    assert api().get("/api/v1/me", headers={"authorization": f"Token {token}"}).status_code == 401


def test_another_password_ends_every_other_session(enter, clinician):
    here, there = Client(), Client()
    enter(client=here)
    enter(client=there)
    change = reverse("account_change_password")
    wrong = here.post(change, {"old": "not it", "new": "another-long-passphrase"})
    assert "The present password is not right." in wrong.content.decode()
    weak = here.post(change, {"old": PASSWORD, "new": "password1234"})
    assert weak.status_code == 400
    assert here.post(change, {"old": PASSWORD, "new": "another-long-passphrase"}).status_code == 302
    assert signed_in(here)
    assert not signed_in(there)
    assert events(Action.PASSWORD_CHANGE).count() == 1
