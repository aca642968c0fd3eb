"""The review of the log: found by who, whom, what and when; a case's life; who saw a patient; taken out as a file."""

import csv
import io
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from clinic.audit import immutable
from clinic.audit.anchors import anchor_head
from clinic.audit.models import Action, AuditEvent
from clinic.audit.services import record
from clinic.audit.verification import verify_on
from clinic.audit.words import WORDS, words_of
from clinic.portal.views.audit import PAGE
from tests.factories import CaseFactory, UserFactory, member

pytestmark = pytest.mark.django_db


def test_every_act_has_its_words():
    assert [act for act in Action if act not in WORDS] == []
    assert words_of("gone.act") == "gone.act"


@pytest.fixture
def case(site, clinician):
    return CaseFactory(patient__site=site, patient__mrn="QF-1")


@pytest.fixture
def review(client, auditor):
    """``review(name, *args, **query)``: a page of the review, as the auditor sees it."""
    client.force_login(auditor)

    def get(name, *args, **query):
        return client.get(reverse(f"portal:{name}", args=args), query)

    return get


@pytest.fixture
def seen(case, clinician, technician):
    """What two people did: one found the patient in lists and read the case, one only found the patient."""
    record(Action.CASE_READ, by=clinician, obj=case)
    record(Action.CASE_SEARCH, by=clinician, detail={"query": "", "hits": [str(case.pk)]})
    record(Action.PATIENT_SEARCH, by=technician, detail={"query": "QF", "hits": [str(case.patient_id)]})
    record(Action.CASE_SEARCH, by=technician, detail={"query": "", "hits": [str(CaseFactory().pk)]})
    return case


def shown(response):
    return [row.seq for row, _ in response.context["rows"]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"actor": "tech"}, [4, 3]),
        ({"patient": "qf-1"}, [3, 2, 1]),
        ({"patient": "nobody"}, []),
        ({"action": "case.read"}, [1]),
        ({"outcome": "denied"}, []),
        ({"since": "2001-01-01T00:00", "until": "2002-01-01T00:00"}, []),
        ({"actor": "tech", "action": "case.search"}, [4]),
    ],
)
def test_events_are_found_by_who_whom_what_and_when(review, seen, wanted, found):
    assert shown(review("audit", **wanted)) == found


def test_events_of_a_case_and_of_an_object_are_found(review, seen):
    assert shown(review("audit", case=str(seen.pk))) == [1]
    assert shown(review("audit", object=str(seen.pk))) == [1]


def test_a_filter_that_cannot_be_read_shows_nothing_and_says_why(review, seen):
    response = review("audit", since="yesterday")
    assert shown(response) == []
    assert "Enter a valid date" in response.content.decode()


def test_who_saw_a_patient_counts_lists_too(review, seen, clinician, technician):
    response = review("audit_patient", seen.patient_id)
    people = {person["actor_id"]: person for person in response.context["people"]}
    assert set(people) == {str(clinician.pk), str(technician.pk)}
    assert people[str(clinician.pk)]["acts"] == ["case.read", "case.search"]
    assert people[str(technician.pk)]["count"] == 1


def test_the_api_says_the_same(api, auditor, seen):
    said = api(auditor).get(reverse("api:people_who_saw", args=[seen.patient_id])).json()
    assert {person["count"] for person in said} == {1, 2}
    events = api(auditor).get(reverse("api:events"), {"saw": str(seen.patient_id)}).json()["results"]
    assert [event["seq"] for event in events if event["seq"] <= 4] == [3, 2, 1]


def test_a_case_is_told_from_its_beginning(review, case, clinician):
    for action in (Action.CASE_CREATE, Action.CASE_READ, Action.ANALYSIS_REQUEST):
        record(action, by=clinician, obj=case)
    response = review("audit_case", case.pk)
    assert [row.action for row in response.context["rows"]] == ["case.create", "case.read", "analysis.request"]


def test_pages_follow_one_another_without_gap_and_as_cheaply(review, case, clinician):
    for _ in range(2 * PAGE + 5):
        record(Action.CASE_READ, by=clinician, obj=case)
    seqs, query, costs = [], {"case": str(case.pk)}, []
    while True:
        with CaptureQueriesContext(connection) as asked:
            response = review("audit", **query)
        costs.append(len(asked))
        seqs += shown(response)
        if not response.context["more"]:
            break
        query = dict(pair.split("=") for pair in response.context["more"].split("&"))
    own = [seq for seq in seqs if seq <= 2 * PAGE + 5]
    assert own == list(range(2 * PAGE + 5, 0, -1))
    assert max(costs[1:]) - min(costs[1:]) <= 1  # the first also asks what a session asks once


def test_looking_is_written_down_with_whom_it_showed(review, seen, auditor):
    review("audit", patient="QF-1")
    event = AuditEvent.objects.filter(action=Action.AUDIT_READ).first()
    said = json.loads(event.body)
    assert said["actor"]["id"] == str(auditor.pk)
    assert said["detail"]["filter"] == {"patient": "QF-1"}
    assert said["detail"]["patients"] == [str(seen.patient_id)]


def test_what_is_found_leaves_as_a_file(review, seen):
    response = review("audit_export", **{"as": "csv", "actor": "tech"})
    rows = list(csv.DictReader(io.StringIO(response.getvalue().decode())))
    assert [row["seq"] for row in rows] == ["3", "4"]
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert AuditEvent.objects.filter(action=Action.AUDIT_EXPORT).count() == 1


@pytest.mark.parametrize("asked", [{"as": "exe"}, {"as": "csv", "since": "yesterday"}])
def test_a_file_of_nonsense_is_refused(review, seen, asked):
    response = review("audit_export", **asked)
    assert response.status_code == 302
    page = review("audit", **asked).content.decode()
    assert "There is no export called" in page or "The filter cannot be read" in page
    assert not AuditEvent.objects.filter(action=Action.AUDIT_EXPORT).exists()


def test_the_page_tells_signed_from_not_yet_signed(review, seen):
    anchor_head()
    verify_on()
    record(Action.CASE_READ, obj=seen)
    text = review("audit").content.decode()
    assert "Signed: 1 to 4." in text
    assert "Not yet signed: 5 to " in text
    assert "up to number 4" in text


def test_the_page_names_the_first_bad_number(review, seen):
    immutable.remove(connection)
    AuditEvent.objects.filter(seq=2).update(actor="someone else")
    assert "The chain is broken at number 2" in review("audit").content.decode()


@pytest.mark.parametrize("name", ["audit_case", "audit_patient"])
def test_another_sites_auditor_finds_nothing(client, other_site, seen, name):
    client.force_login(member(other_site, "auditor"))
    key = seen.pk if name == "audit_case" else seen.patient_id
    assert client.get(reverse(f"portal:{name}", args=[key])).status_code == 404
    assert client.get(reverse("portal:audit"), {"patient": "QF-1"}).context["rows"] == []


def test_a_name_is_text_on_every_page(review, case, site):
    attacker = UserFactory(username="<img src=x onerror=alert(1)>")
    record(Action.CASE_READ, by=attacker, obj=case, detail={"query": "</pre><script>alert(1)</script>"})
    for response in (review("audit"), review("audit_case", case.pk), review("audit_patient", case.patient_id)):
        assert b"<img src=x" not in response.content
        assert b"<script>alert" not in response.content
