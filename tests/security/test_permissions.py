"""Who may do what: one table of endpoint × user × answer (``rows/``), tried with a session and with a token.

That the table is whole is read off the URL resolver: a new endpoint without a row fails here.
"""

import json
from pathlib import Path

import pytest
from django.core.cache import cache
from django.db import transaction
from django.urls import reverse

from clinic.audit.models import Action, AuditEvent, Outcome
from tests.factories import UserFactory, member
from tests.security.matrix import LOGIN, METHODS, USERS, World, denials, elsewhere, routes, rows, token_for

pytestmark = pytest.mark.django_db
ROWS = list(rows())
JSON_ROUTES = ("api:", "fhir:base", "fhir:type", "fhir_base", "interop:", "cds:")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def world(site, other_site):
    return World(site, other_site)


class Undo(Exception):
    """Leaves a block whose rows are to vanish."""


def send(client, row, url, body):
    """One request, undone afterwards. Returns (status, content, media type, the denials it left)."""
    cache.clear()
    before = denials().count()
    api = row.route.startswith(JSON_ROUTES)
    files = any(hasattr(value, "read") for value in (body or {}).values())
    how = {"format": "json" if api and not files else "multipart"} if row.method != "GET" else {}
    for value in (body or {}).values():
        if hasattr(value, "seek"):
            value.seek(0)
    response = getattr(client, row.method.lower())(url, body, **how)
    content = response.getvalue()
    return response, content, list(denials()[before:])


def try_as(api, row, user, how, url, body):
    client = api(user if how == "session" else None)
    if user and how == "token":
        client.credentials(HTTP_AUTHORIZATION=f"Token {token_for(user)}")
    said = None
    try:
        with transaction.atomic():
            said = send(client, row, url, body)
            raise Undo
    except Undo:
        return said


@pytest.mark.requirement("M-8")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_table(api, world, row):
    url, body = row.url(world), row.body(world) if row.body else None
    people = {name: make(world) for name, make in USERS.items()}
    got = {}
    for how, name in wanted(row):
        response, content, denied = try_as(api, row, people[name], how, url, body)
        got[how, name] = response.status_code
        someone = people[name] if how == "session" or row.tokens else None
        check_refusal(row, response, content, denied, someone)
    assert got == wanted(row)


def wanted(row):
    sessions = {("session", name): status for name, status in row.answers.items()}
    if row.tokens:
        return sessions | {("token", name): status for name, status in row.answers.items()}
    return sessions | {("token", name): row.answers["nobody"] for name in ("clinician", "admin")}


def check_refusal(row, response, content, denied, user):
    """A refusal is written down once, under the name of who was refused, and tells nothing.

    A 404 to who named nothing says that one's own is not there: nothing was refused.
    """
    status = response.status_code
    refused = status == 403 or (status == 404 and (row.objects or row.body))
    assert len(denied) == (1 if user and refused else 0), status
    assert all(event.actor_id == str(user.pk) and event.outcome == Outcome.DENIED for event in denied)
    if status >= 400 and "application/json" not in response.headers["Content-Type"]:
        problem = response.headers["Content-Type"] == "application/problem+json"
        assert not problem or json.loads(content)["status"] == status
    if status in {401, 403, 404}:
        assert b"Synthia Test" not in content
    if status == LOGIN and user is None:
        assert response.url.startswith("/")


@pytest.mark.requirement("M-8")
def test_the_table_names_every_endpoint():
    known = {row.route for row in ROWS} | set(elsewhere())
    assert set(routes()) - known == set(), "add a row for each of these to a file in tests/security/rows"
    assert known - set(routes()) == set(), "rows whose endpoint is gone"


def test_what_is_tested_elsewhere_is():
    for route, file in elsewhere().items():
        assert route.rsplit(":", 1)[-1] in (ROOT / file).read_text(), f"{file} does not speak of {route}"


@pytest.mark.parametrize("route", sorted({row.route for row in ROWS}))
def test_an_endpoint_takes_no_method_but_those_of_the_table(api, world, route):
    own = [row for row in ROWS if row.route == route]
    url = own[0].url(world)
    welcome = next((name for name, status in own[0].answers.items() if status < 400 and name != "nobody"), "clinician")
    client = api(USERS[welcome](world))
    others = set(METHODS) - {row.method for row in own}
    assert {client.generic(method, url).status_code for method in others} <= {405}


@pytest.mark.parametrize("name", ["patients", "cases"])
def test_a_list_holds_nothing_of_another_site(api, world, outsider, name):
    assert world.case
    assert api(outsider).get(reverse(f"api:{name}")).json()["results"] == []


def test_events_of_another_site_are_not_shown(api, world, other_site, auditor):
    foreign_auditor = member(other_site, "auditor")
    api(world.clinician).get(reverse("api:case", args=[world.case.pk]))
    here = api(auditor).get(reverse("api:events"), {"action": "case.read"}).json()["results"]
    there = api(foreign_auditor).get(reverse("api:events"), {"action": "case.read"}).json()["results"]
    assert [event["actor_id"] for event in here] == [str(world.clinician.pk)]
    assert there == []


def test_who_is_no_longer_active_is_nobody(api, world):
    client = api(world.clinician)
    world.clinician.is_active = False
    world.clinician.save()
    assert client.get(reverse("api:case", args=[world.case.pk])).status_code == 401


def test_a_session_needs_the_csrf_token(api, world):
    client = api(world.clinician, enforce_csrf_checks=True)
    response = client.post(reverse("api:analyses", args=[world.ready_case.pk]))
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "permission_denied"


def test_a_denial_names_what_was_asked_for_and_survives_the_rollback(api, world, outsider):
    api(outsider).get(reverse("api:case", args=[world.case.pk]))
    event = AuditEvent.objects.get(action=Action.DENIED)
    assert (event.object_type, event.object_id) == ("case", str(world.case.pk))
    assert event.site_id == str(world.case.patient.site_id)
    assert json.loads(event.body)["detail"] == {"act": "read"}


def test_a_stranger_to_every_site_may_read_no_list(api, world):
    assert api(UserFactory()).get(reverse("api:cases")).status_code == 403
