"""Tokens for programs: what they open, what they do not, and what the log says of them."""

import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from clinic.accounts.models import Membership
from clinic.audit.models import Action, AuditEvent
from clinic.tokens.models import AccessToken
from clinic.tokens.services import create_personal_token, issue_for_login, revoke_all_of
from tests.factories import CaseFactory, PatientFactory

pytestmark = pytest.mark.django_db


def url(name, *args):
    return reverse(f"api:{name}", args=[getattr(arg, "pk", arg) for arg in args])


@pytest.fixture
def bearing(api):
    """A client that sends this token and nothing else."""

    def client(token, word="Token"):
        made = api()
        made.credentials(HTTP_AUTHORIZATION=f"{word} {token}")
        return made

    return client


def make(client, **said):
    return client.post(url("tokens"), {"name": "Nightly script", "scopes": ["case.view"], "days": 30} | said)


def test_a_personal_token_is_told_once_and_opens_what_its_scopes_name(api, bearing, clinician, site):
    case = CaseFactory(patient__site=site)
    made = make(api(clinician)).json()
    client = bearing(made["token"])
    assert client.get(url("case", case)).status_code == 200
    assert bearing(made["token"], "Bearer").get(url("case", case)).status_code == 200
    refused = client.post(url("cases"), {"patient": str(case.patient_id)})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    again = api(clinician).get(url("one_token", made["id"])).json()
    assert "token" not in again
    assert again["scopes"] == ["case.view"]
    assert again["last_used_at"] is not None
    assert made["token"].startswith(again["prefix"])


def test_only_the_hash_is_kept_and_the_log_never_sees_the_token(api, clinician):
    token = make(api(clinician)).json()["token"]
    row = AccessToken.objects.get()
    assert token not in map(str, vars(row).values())
    assert token not in "".join(AuditEvent.objects.values_list("body", flat=True))


def test_every_act_says_through_which_token_it_was_done(api, bearing, clinician, site):
    made = make(api(clinician)).json()
    bearing(made["token"]).get(url("case", CaseFactory(patient__site=site)))
    event = AuditEvent.objects.get(action=Action.CASE_READ)
    assert json.loads(event.body)["actor"]["token"] == made["prefix"]
    assert AuditEvent.objects.get(action=Action.TOKEN_CREATE).object_id == made["id"]


def test_a_token_of_one_site_sees_nothing_of_the_other(api, bearing, clinician, site, other_site):
    Membership.objects.create(user=clinician, site=other_site, role="clinician")
    here, there = CaseFactory(patient__site=site), CaseFactory(patient__site=other_site)
    client = bearing(make(api(clinician), site=str(site.pk)).json()["token"])
    assert client.get(url("case", here)).status_code == 200
    assert client.get(url("case", there)).status_code == 404
    assert [one["code"] for one in client.get(url("sites")).json()] == ["home"]
    assert [one["id"] for one in client.get(url("cases")).json()["results"]] == [str(here.pk)]


def test_a_role_that_is_taken_away_is_taken_from_its_tokens(api, bearing, clinician, site):
    client = bearing(make(api(clinician)).json()["token"])
    Membership.objects.filter(user=clinician).delete()
    assert client.get(url("case", CaseFactory(patient__site=site))).status_code == 404


@pytest.mark.parametrize("end", ["expired", "revoked", "owner gone", "all revoked"])
def test_a_token_that_has_ended_is_nobody_s(api, bearing, clinician, end):
    row, token = create_personal_token(name="x", scopes=["case.view"], days=1, by=clinician)
    client = bearing(token)
    assert client.get(url("me")).status_code == 200
    if end == "expired":
        AccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif end == "revoked":
        assert api(clinician).delete(url("one_token", row)).status_code == 204
        assert api(clinician).delete(url("one_token", row)).status_code == 204
        assert AuditEvent.objects.filter(action=Action.TOKEN_REVOKE).count() == 1
    elif end == "all revoked":
        revoke_all_of(user=clinician, by=clinician)
    else:
        clinician.is_active = False
        clinician.save()
    assert client.get(url("me")).status_code == 401


def test_use_is_noted_at_most_once_a_minute(bearing, clinician, django_assert_num_queries):
    client = bearing(issue_for_login(user=clinician)[1])
    client.get(url("tree"))
    with django_assert_num_queries(1):
        client.get(url("tree"))


def test_a_service_has_an_account_of_its_own_without_a_password(api, bearing, admin_user, site):
    said = {"kind": "service", "name": "LIS", "site": str(site.pk), "scopes": ["case.create", "case.view"]}
    made, second = make(api(admin_user), **said).json(), make(api(admin_user), **said).json()
    assert made["owner"] == second["owner"] == "service:home:lis"
    client = bearing(made["token"])
    assert client.get(url("me")).json()["memberships"][0]["role"] == "integrator"
    patient = client.post(url("patients"), {"site": str(site.pk), "mrn": "77", "name": "Test"})
    assert patient.status_code == 201
    assert not AccessToken.objects.get(pk=made["id"]).user.has_usable_password()
    assert make(api(admin_user), **said, days=0).status_code == 400


@pytest.mark.parametrize(
    ("who", "said", "status", "place"),
    [
        ("clinician", {"scopes": []}, 400, "scopes"),
        ("clinician", {"scopes": ["all"]}, 400, "scopes.0"),
        ("clinician", {"days": 9999}, 400, "days"),
        ("clinician", {"name": " "}, 400, "name"),
        ("clinician", {"kind": "service"}, 400, "site"),
        ("clinician", {"kind": "login"}, 400, "kind"),
        ("admin_user", {"kind": "service", "scopes": ["report.sign"], "site": "home"}, 400, "scopes"),
        ("clinician", {"kind": "service", "site": "home"}, 404, None),
        ("outsider", {"site": "home"}, 404, None),
    ],
)
def test_what_cannot_be_made_says_why(request, api, site, who, said, status, place):
    said = said | ({"site": str(site.pk)} if "site" in said else {})
    answer = make(api(request.getfixturevalue(who)), **said)
    assert answer.status_code == status
    if place:
        assert answer.json()["errors"][0]["place"] == place
    assert not AccessToken.objects.exists()


def test_a_token_makes_no_tokens(bearing, clinician):
    _, token = create_personal_token(name="x", scopes=["case.view"], days=1, by=clinician)
    answer = make(bearing(token))
    assert (answer.status_code, answer.json()["code"]) == (403, "token_by_token")
    _, login = issue_for_login(user=clinician)
    assert make(bearing(login)).status_code == 201


def test_tokens_of_others_are_not_shown(api, clinician, technician, admin_user, site):
    make(api(clinician))
    make(api(admin_user), kind="service", name="LIS", site=str(site.pk))
    seen = {user: len(api(user).get(url("tokens")).json()["results"]) for user in (clinician, technician, admin_user)}
    assert seen == {clinician: 1, technician: 0, admin_user: 1}


def test_the_database_itself_wants_scopes_and_a_site(clinician):
    row = {"user": clinician, "created_by": clinician, "prefix": "mrw_x", "expires_at": timezone.now()}
    for number, said in enumerate(
        [{"kind": "personal", "name": "x"}, {"kind": "service", "name": "x", "scopes": "case.view"}, {"kind": "x"}]
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            AccessToken.objects.create(**row, **said, sha256=str(number))


def test_a_patient_of_a_site_that_the_token_is_not_for_is_not_found_by_search(api, bearing, clinician, other_site):
    Membership.objects.create(user=clinician, site=other_site, role="clinician")
    PatientFactory(site=other_site, name="Grace Hopper")
    client = bearing(make(api(clinician), site=str(clinician.memberships.first().site_id)).json()["token"])
    assert client.get(url("patients"), {"q": "grace"}).json()["results"] == []
