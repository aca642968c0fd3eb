"""An administrator and the people of the site."""

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.urls import reverse

from clinic.accounts import people
from clinic.accounts.models import Membership, User
from clinic.audit.models import Action
from clinic.errors import Conflict, Denied
from tests.factories import PASSWORD
from tests.portal_cases import events

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss(client, admin_user):
    client.force_login(admin_user)
    return admin_user


def change(client, person, **said):
    return client.post(reverse("portal:change_person", args=[person.pk]), said)


def test_the_list_shows_the_people_of_the_site_alone(client, boss, clinician, outsider):
    text = client.get(reverse("portal:people")).content.decode()
    assert "doctor" in text
    assert "outsider" not in text
    assert client.get(reverse("portal:person", args=[outsider.pk])).status_code == 404


def test_a_new_person_comes_with_a_role(client, boss, site):
    form = {"site": str(site.pk), "role": "technician", "username": "newcomer", "password": "a-long-first-passphrase"}
    weak = client.post(reverse("portal:new_person"), form | {"password": "password"})
    assert weak.status_code == 400
    assert not User.objects.filter(username="newcomer").exists()
    client.post(reverse("portal:new_person"), form)
    made = User.objects.get(username="newcomer")
    assert made.memberships.get().role == "technician"
    again = client.post(reverse("portal:new_person"), form)
    assert "already a user of that name" in again.content.decode()


def test_a_closed_account_is_out_and_can_be_opened(client, boss, clinician, enter):
    theirs = Client()
    enter(client=theirs)
    change(client, clinician, act="close")
    assert theirs.get("/account/").status_code == 302
    assert "do not" not in enter(client=theirs).content.decode()
    change(client, clinician, act="open")
    assert enter(client=theirs).status_code == 302
    assert events(Action.USER_CHANGE).count() == 2


def test_role_password_factors_and_sessions(client, boss, clinician, site, enter):
    Authenticator.objects.create(user=clinician, type="recovery_codes", data={})
    change(client, clinician, act="factors")
    assert not Authenticator.objects.exists()
    change(client, clinician, act="password", password="another-long-passphrase")
    assert enter(client=Client(), password=PASSWORD).status_code == 200
    theirs = Client()
    assert enter(client=theirs, password="another-long-passphrase").status_code == 302
    change(client, clinician, act="sessions")
    assert theirs.get("/account/").status_code == 302
    change(client, clinician, act="role", site=str(site.pk), role="technician")
    assert Membership.objects.get(user=clinician).role == "technician"
    change(client, clinician, act="role", site=str(site.pk), role="")
    assert not Membership.objects.filter(user=clinician).exists()
    assert (
        "There is no such act"
        in client.post(reverse("portal:change_person", args=[boss.pk]), {"act": "fly"}, follow=True).content.decode()
    )


def test_one_sites_administrator_does_not_take_over_who_also_works_elsewhere(boss, clinician, other_site):
    Membership.objects.create(user=clinician, site=other_site, role="clinician")
    for act in (
        lambda: people.set_password(user=clinician, password="another-long-passphrase", by=boss),
        lambda: people.reset_factors(user=clinician, by=boss),
        lambda: people.set_active(user=clinician, active=False, by=boss),
    ):
        with pytest.raises(Denied):
            act()


def test_nobody_closes_their_own_account(boss):
    with pytest.raises(Conflict):
        people.set_active(user=boss, active=False, by=boss)
