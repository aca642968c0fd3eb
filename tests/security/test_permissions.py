"""Who may do what: one table of user × act × answer, tried with a session and with a token."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from knox.models import get_token_model

from clinic.api.urls import urlpatterns
from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import AnalysisStatus
from clinic.cases.reports import draft_report, sign
from tests.factories import (
    PASSWORD,
    AnalysisFactory,
    ArtefactFactory,
    BundleFactory,
    CaseFactory,
    ItemFactory,
    assessed_case,
)

pytestmark = pytest.mark.django_db

USERS = ("nobody", "technician", "clinician", "integrator", "auditor", "admin_user", "outsider")
READERS = (200, 200, 200)  # technician, clinician, integrator
MAKERS = (201, 201, 201)

# name, method → the answers to nobody; technician, clinician, integrator; auditor, admin; one of another site
TABLE = {
    ("me", "get"): (401, *READERS, 200, 200, 200),
    ("sites", "get"): (401, *READERS, 200, 200, 200),
    ("patients", "get"): (401, *READERS, 403, 403, 200),
    ("patients", "post"): (401, *MAKERS, 404, 404, 404),
    ("patient", "get"): (401, *READERS, 404, 404, 404),
    ("cases", "get"): (401, *READERS, 403, 403, 200),
    ("cases", "post"): (401, *MAKERS, 404, 404, 404),
    ("case", "get"): (401, *READERS, 404, 404, 404),
    ("items", "get"): (401, *READERS, 403, 403, 404),
    ("items", "post"): (401, *MAKERS, 404, 404, 404),
    ("item", "get"): (401, *READERS, 404, 404, 404),
    ("item_content", "get"): (401, *READERS, 404, 404, 404),
    ("analyses", "get"): (401, *READERS, 403, 403, 404),
    ("analyses", "post"): (401, *MAKERS, 404, 404, 404),
    ("analysis", "get"): (401, *READERS, 404, 404, 404),
    ("cancel", "post"): (401, *READERS, 404, 404, 404),
    ("findings", "get"): (401, *READERS, 404, 404, 404),
    ("assessment", "get"): (401, *READERS, 404, 404, 404),
    ("artefact", "get"): (401, *READERS, 404, 404, 404),
    ("reports", "get"): (401, *READERS, 403, 403, 404),
    ("reports", "post"): (401, *MAKERS, 404, 404, 404),
    ("report", "get"): (401, *READERS, 404, 404, 404),
    ("sign", "post"): (401, 403, 201, 403, 404, 404, 404),
    ("amend", "post"): (401, 403, 201, 403, 404, 404, 404),
    ("events", "get"): (401, 403, 403, 403, 200, 200, 403),
    ("chain_state", "get"): (401, 403, 403, 403, 200, 200, 403),
    ("bundles", "get"): (401, *READERS, 200, 200, 200),
    ("tree", "get"): (401, *READERS, 200, 200, 200),
    ("schema", "get"): (200, *READERS, 200, 200, 200),
    ("docs", "get"): (200, *READERS, 200, 200, 200),
}
ELSEWHERE = {"token"}  # tests/clinic/test_api_accounts.py
ROWS = [
    (name, method, user, answer)
    for (name, method), row in TABLE.items()
    for user, answer in zip(USERS, row, strict=True)
]


@pytest.fixture
def world(site, clinician):
    """The objects of one site that the table is about, by the name of their URL."""
    for name in ("labs", "fusion"):
        BundleFactory(name=name)
    assessment = assessed_case(site)
    analysis = assessment.analysis
    draft = draft_report(assessment=assessment, by=clinician)
    signed = draft_report(assessment=assessed_case(site), by=clinician)
    sign(report=signed, by=clinician, password=PASSWORD, decision="agree")
    ready = CaseFactory(patient__site=site)
    item = ItemFactory(case=ready)
    live = AnalysisFactory(case=analysis.case, status=AnalysisStatus.QUEUED, finished_at=None)
    unreported = assessed_case(site).analysis.case
    return {
        "patient": analysis.case.patient,
        "case": analysis.case,
        "items": ready,
        "item": item,
        "item_content": item,
        "analyses": ready,
        "analysis": analysis,
        "cancel": live,
        "findings": analysis,
        "assessment": analysis,
        "artefact": ArtefactFactory(finding=analysis.findings.get()),
        "reports": unreported,
        "report": draft,
        "sign": draft,
        "amend": signed,
    }


def body_for(name, world, site):
    return {
        "patients": {"site": str(site.pk), "mrn": "new-1", "name": "New Person"},
        "cases": {"patient": str(world["patient"].pk), "title": "Second opinion"},
        "sign": {"password": PASSWORD, "decision": "agree"},
        "amend": {"reason": "The karyotype has arrived."},
    }.get(name, {})


def ask(client, name, method, world, site):
    url = reverse(f"api:{name}", args=[world[name].pk] if name in world else [])
    if (name, method) == ("items", "post"):
        said = {"file": SimpleUploadedFile("note.txt", b"Fever for two weeks."), "kind": "history"}
        return client.post(url, said, format="multipart")
    return getattr(client, method)(url, body_for(name, world, site) if method == "post" else None)


@pytest.mark.parametrize("how", ["session", "token"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row)))
def test_the_table(request, api, world, site, how, row):
    name, method, user, answer = row
    who = None if user == "nobody" else request.getfixturevalue(user)
    client = api(who if how == "session" else None)
    if who and how == "token":
        _, token = get_token_model().objects.create(user=who)
        client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    before = AuditEvent.objects.filter(action=Action.DENIED).count()
    response = ask(client, name, method, world, site)
    content = response.getvalue()
    assert response.status_code == answer
    denied = AuditEvent.objects.filter(action=Action.DENIED).order_by("seq")[before:]
    assert len(denied) == (1 if answer in {403, 404} else 0)
    for event in denied:
        assert event.actor_id == str(who.pk)
        assert event.outcome == "denied"
    if answer >= 400:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(content)["status"] == answer


def test_the_table_names_every_endpoint():
    assert {pattern.name for pattern in urlpatterns} == {name for name, _ in TABLE} | ELSEWHERE


@pytest.mark.parametrize("name", ["patients", "cases"])
def test_a_list_holds_nothing_of_another_site(api, world, outsider, name):
    assert api(outsider).get(reverse(f"api:{name}")).json()["results"] == []


def test_events_of_another_site_are_not_shown(api, world, other_site, auditor, clinician):
    from tests.factories import member

    foreign_auditor = member(other_site, "auditor")
    api(clinician).get(reverse("api:case", args=[world["case"].pk]))
    here = api(auditor).get(reverse("api:events"), {"action": "case.read"}).json()["results"]
    there = api(foreign_auditor).get(reverse("api:events"), {"action": "case.read"}).json()["results"]
    assert [event["actor_id"] for event in here] == [str(clinician.pk)]
    assert there == []


def test_a_person_without_a_role_sees_nothing(api, world, site):
    from tests.factories import UserFactory

    nobody_here = UserFactory()
    assert api(nobody_here).get(reverse("api:cases")).status_code == 403
    assert api(nobody_here).get(reverse("api:case", args=[world["case"].pk])).status_code == 404


def test_a_superuser_without_a_role_sees_nothing(api, world):
    from tests.factories import UserFactory

    root = UserFactory(is_superuser=True, is_staff=True)
    assert api(root).get(reverse("api:case", args=[world["case"].pk])).status_code == 404


def test_who_is_no_longer_active_is_nobody(api, world, clinician):
    client = api(clinician)
    clinician.is_active = False
    clinician.save()
    assert client.get(reverse("api:case", args=[world["case"].pk])).status_code == 401


def test_a_session_needs_the_csrf_token(api, clinician, world):
    client = api(clinician, enforce_csrf_checks=True)
    response = client.post(reverse("api:analyses", args=[world["analyses"].pk]))
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "permission_denied"


def test_a_denial_names_what_was_asked_for_and_survives_the_rollback(api, world, outsider):
    api(outsider).get(reverse("api:case", args=[world["case"].pk]))
    event = AuditEvent.objects.get(action=Action.DENIED)
    assert (event.object_type, event.object_id) == ("case", str(world["case"].pk))
    assert event.site_id == str(world["case"].patient.site_id)
    assert json.loads(event.body)["detail"] == {"act": "read"}
