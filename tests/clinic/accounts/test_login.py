"""Signing in: what is recorded, how often it may be tried, and that a failure tells nothing."""

import time

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from clinic.accounts import lockout
from clinic.accounts.models import LoginTries
from clinic.audit.models import Action, AuditEvent
from tests.factories import PASSWORD, UserFactory
from tests.portal_cases import events

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("M-11")]
REFUSED = "Name or password is wrong."
TOO_MANY = "Too many failed attempts."


def is_in(client):
    return "_auth_user_id" in client.session


def test_login_and_logout_are_recorded(client, enter, clinician):
    assert enter().url == reverse("portal:home")
    client.post(reverse("portal:logout"))
    assert not is_in(client)
    acts = AuditEvent.objects.order_by("seq").values_list("action", "actor_id")
    assert list(acts) == [("login", str(clinician.pk)), ("logout", str(clinician.pk))]
    assert '"factors":["password"]' in AuditEvent.objects.get(action="login").body
    assert reverse("account_login") == reverse("portal:login")
    assert reverse("account_logout") == reverse("portal:logout")


def test_the_login_leads_on_within_the_house_alone(client, enter, clinician):
    assert enter(next="/worklist/?q=x").url == "/worklist/?q=x"
    client.post(reverse("portal:logout"))
    assert enter(next="https://evil.example/").url == reverse("portal:home")


def test_the_session_is_a_new_one_after_the_login(client, enter, clinician):
    client.get(reverse("portal:login"))
    session = client.session
    session["planted"] = 1
    session.save()
    before = session.session_key
    enter()
    assert client.session.session_key != before


@pytest.mark.parametrize("said", [{"password": "wrong"}, {"username": "nobody"}, {"username": "closed"}])
def test_a_failure_tells_nothing(enter, clinician, said):
    UserFactory(username="closed", is_active=False)
    text = enter(**said).content.decode()
    assert REFUSED in text
    assert events(Action.LOGIN_FAILED).count() == 1
    assert "wrong" not in events(Action.LOGIN_FAILED).get().body


def test_a_failure_takes_the_same_work_whoever_was_meant(enter, clinician, monkeypatch):
    """The hash is what takes time: it is made once for everybody. So are the questions to the database."""
    UserFactory(username="closed", is_active=False)
    directory = UserFactory(username="directory")
    directory.set_unusable_password()
    directory.save()
    made = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda *said: made.append(1) or encode(*said))
    work = {}
    enter(client=Client(), username="somebody", password="wrong")
    for name in ("doctor", "nobody", "closed", "directory"):
        made.clear()
        with CaptureQueriesContext(connection) as asked:
            enter(client=Client(), username=name, password="wrong")
        work[name] = (len(made), len(asked))
    assert len(set(work.values())) == 1, work
    assert work["doctor"][0] == 1


def test_ten_tries_from_one_place_then_even_the_right_password_waits(client, enter, clinician, time_machine):
    time_machine.move_to(1_790_000_000, tick=False)
    for n in range(10):
        assert REFUSED in enter(password=f"wrong {n}").content.decode()
    assert TOO_MANY in enter().content.decode()
    assert not is_in(client)
    assert events(Action.LOGIN_FAILED).count() == 10
    assert '"locked":true' in events(Action.LOGIN_FAILED).latest("seq").body
    time_machine.shift(14 * 60)
    assert TOO_MANY in enter().content.decode()
    time_machine.shift(90)
    assert enter().status_code == 302


def test_an_unknown_name_is_locked_in_the_same_way(enter, clinician):
    for _ in range(10):
        assert REFUSED in enter(username="nobody").content.decode()
    assert TOO_MANY in enter(username="nobody").content.decode()


def test_the_limit_holds_over_any_quarter_of_an_hour(enter, clinician, time_machine):
    """Nine tries at the end of one quarter do not buy ten more at the beginning of the next."""
    time_machine.move_to(1_790_000_000, tick=False)
    tried = 0
    for _ in range(60):
        tried += REFUSED in enter(password="wrong").content.decode()
        time_machine.shift(60)
    assert tried == 4 * 10


def test_a_stranger_cannot_lock_out_the_victim(enter, clinician):
    """10,000 tries from 100 addresses: within the limit, and the victim comes in from anywhere else."""
    request = type("Request", (), {"COOKIES": {}, "headers": {}})
    account, checked = lockout.account_key("doctor"), 0
    for n in range(10_000):
        request.META = {"REMOTE_ADDR": f"198.51.100.{n % 100}"}
        place, known = lockout.place_of(request, account)
        try:
            lockout.take_try(account=account, place=place, known=known)
        except lockout.TooManyTries:
            continue
        checked += 1
    assert max(len(row.at) for row in LoginTries.objects.exclude(place="").exclude(account="")) <= 10
    assert checked == lockout.UNDER_ATTACK
    assert TOO_MANY in enter(client=Client(), address="198.51.100.7").content.decode()
    assert enter(client=Client(), address="203.0.113.9").status_code == 302


def test_the_victims_own_browser_is_a_place_of_its_own_behind_one_address(enter, clinician):
    mine = Client()
    enter(client=mine)
    mine.post(reverse("portal:logout"))
    for _ in range(11):
        refused = enter(client=Client(), password="guess").content.decode()
    assert TOO_MANY in refused
    assert enter(client=mine).status_code == 302
    forged = Client()
    forged.cookies[lockout.DEVICE_COOKIE] = mine.cookies[lockout.DEVICE_COOKIE].value[:-2] + "xx"
    assert TOO_MANY in enter(client=forged).content.decode()


def test_one_address_may_not_try_everybody(enter, clinician):
    refused = [TOO_MANY in enter(client=Client(), username=f"user{n}").content.decode() for n in range(102)]
    assert refused == [False] * lockout.PER_ADDRESS + [True] * 2
    assert enter(client=Client(), address="203.0.113.9").status_code == 302


def test_the_api_and_the_portal_count_together(api, enter, clinician):
    for _ in range(10):
        api().post(reverse("api:token"), {"username": "doctor", "password": "wrong"}, REMOTE_ADDR="192.0.2.1")
    assert TOO_MANY in enter().content.decode()


def test_no_name_is_kept_with_the_tries(enter, clinician):
    enter(username="my-secret-password")
    rows = list(LoginTries.objects.values_list("account", "place"))
    assert rows
    assert "my-secret-password" not in str(rows)


def test_old_tries_are_forgotten(enter, clinician):
    enter(password="wrong")
    LoginTries.objects.update(changed_at=time.strftime("%Y-01-01T00:00:00Z"))
    lockout.forget_old()
    assert not LoginTries.objects.exists()


def test_the_form_is_guarded_against_foreign_pages(clinician):
    client = Client(enforce_csrf_checks=True)
    assert client.post(reverse("portal:login"), {"username": "doctor", "password": PASSWORD}).status_code == 403
