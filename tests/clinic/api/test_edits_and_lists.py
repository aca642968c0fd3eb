"""Edits that say what they change; lists that are filtered, sorted and turned over without a gap."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import AnalysisStatus, Case
from clinic.cases.reports import draft_report, sign
from clinic.patients.models import Patient
from tests.factories import PASSWORD, AnalysisFactory, CaseFactory, ItemFactory, PatientFactory, assessed_case

pytestmark = pytest.mark.django_db


def url(name, *args):
    return reverse(f"api:{name}", args=[getattr(arg, "pk", arg) for arg in args])


@pytest.fixture
def client(api, clinician):
    return api(clinician)


class TestEdits:
    @pytest.fixture
    def patient(self, site):
        return PatientFactory(site=site, name="Old Name")

    def test_who_names_the_state_may_change_it(self, client, patient):
        etag = client.get(url("patient", patient)).headers["ETag"]
        answer = client.patch(url("patient", patient), {"name": "New Name"}, headers={"If-Match": etag})
        assert (answer.status_code, answer.json()["name"]) == (200, "New Name")
        assert answer.headers["ETag"] != etag
        assert client.get(url("patient", patient)).headers["ETag"] == answer.headers["ETag"]
        event = json.loads(AuditEvent.objects.get(action=Action.PATIENT_EDIT).body)
        assert event["detail"] == {"fields": ["name"]}
        assert event["before"] != event["after"]

    def test_who_saw_another_state_is_told_so(self, client, patient):
        etag = client.get(url("patient", patient)).headers["ETag"]
        client.patch(url("patient", patient), {"name": "First"}, headers={"If-Match": etag})
        answer = client.patch(url("patient", patient), {"name": "Second"}, headers={"If-Match": etag})
        assert (answer.status_code, answer.json()["code"]) == (412, "changed_meanwhile")
        assert Patient.objects.get().name == "First"

    def test_who_names_no_state_is_asked_to(self, client, patient):
        answer = client.patch(url("patient", patient), {"name": "x"})
        assert (answer.status_code, answer.json()["errors"][0]["place"]) == (428, "If-Match")

    @pytest.mark.parametrize("said", [{"name": " "}, {"birth_date": "2999-01-01"}, {"sex": "?"}])
    def test_nonsense_is_refused(self, client, patient, said):
        assert client.patch(url("patient", patient), said, headers={"If-Match": "*"}).status_code == 400

    def test_a_case_is_edited_likewise(self, client, site):
        case = CaseFactory(patient__site=site)
        etag = client.get(url("case", case)).headers["ETag"]
        answer = client.patch(url("case", case), {"history": "Fever."}, headers={"If-Match": f'"other", {etag}'})
        assert answer.json()["history"] == "Fever."
        assert Case.objects.get().title == case.title
        assert AuditEvent.objects.filter(action=Action.CASE_EDIT).count() == 1


class TestFilters:
    def found(self, client, name, asked):
        answer = client.get(url(name), asked)
        assert answer.status_code == 200, answer.content
        return {row["id"] for row in answer.json()["results"]}

    def test_cases_are_found_by_what_is_known_of_them(self, client, site, clinician):
        assessment = assessed_case(site)
        case = assessment.analysis.case
        plain = CaseFactory(patient__site=site, patient__synthetic=False, patient__mrn="PLAIN")
        failed = AnalysisFactory(
            case=CaseFactory(patient__site=site), status=AnalysisStatus.FAILED, failure_code="x"
        ).case
        sign(
            report=draft_report(assessment=assessment, by=clinician), by=clinician, password=PASSWORD, decision="agree"
        )
        for asked, wanted in (
            ({"analysed": "true"}, {case}),
            ({"analysed": "false"}, {plain, failed}),
            ({"signed": "true"}, {case}),
            ({"answer": "aml"}, {case}),
            ({"urgent": "true"}, set()),
            ({"analysis": "failed"}, {failed}),
            ({"analysis": "succeeded"}, {case}),
            ({"synthetic": "false"}, {plain}),
            ({"mrn": "PLAIN"}, {plain}),
            ({"patient": str(plain.patient_id)}, {plain}),
            ({"site": str(site.pk)}, {case, plain, failed}),
            ({"created_before": "2000-01-01T00:00:00Z"}, set()),
            ({"created_from": "2000-01-01T00:00:00Z", "q": "plain"}, {plain}),
        ):
            assert self.found(client, "cases", asked) == {str(one.pk) for one in wanted}, asked

    def test_patients_are_found_by_what_is_known_of_them(self, client, site):
        old = PatientFactory(site=site, birth_date="1950-01-01", sex="male", name="Anna")
        young = PatientFactory(site=site, birth_date="2020-01-01", sex="female", name="Berta")
        for asked, wanted in (
            ({"born_to": "1960-01-01"}, old),
            ({"born_from": "2000-01-01"}, young),
            ({"sex": "male"}, old),
            ({"mrn": young.mrn}, young),
        ):
            assert self.found(client, "patients", asked) == {str(wanted.pk)}, asked

    def test_items_are_found_by_kind_and_status(self, client, site):
        case = CaseFactory(patient__site=site)
        ItemFactory(case=case)
        ItemFactory(case=case, kind="history")
        rows = client.get(url("items", case), {"kind": "labs", "status": "valid"}).json()["results"]
        assert [row["kind"] for row in rows] == ["labs"]

    @pytest.mark.parametrize(
        ("asked", "place"),
        [
            ({"colour": "red"}, "colour"),
            ({"urgent": "perhaps"}, "urgent"),
            ({"synthetic": "null"}, "synthetic"),
            ({"signed": "1"}, "signed"),
            ({"patient": "x"}, "patient"),
            ({"limit": "0"}, "limit"),
            ({"limit": "201"}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"ordering": "history"}, "ordering"),
            ({"cursor": "%%%"}, "cursor"),
            ({"cursor": "WzFd"}, "cursor"),
            ({"q": "a\0b"}, "q"),
        ],
    )
    def test_what_is_not_understood_is_named(self, client, site, asked, place):
        answer = client.get(url("cases"), asked)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["place"] == place


class TestPages:
    def walk(self, client, asked):
        page = client.get(url("patients"), asked).json()
        pages = [page]
        while page["next"]:
            page = client.get(page["next"]).json()
            pages.append(page)
        return pages

    @pytest.mark.parametrize("ordering", ["name", "-name", "created_at", "-created_at", None])
    def test_equals_are_neither_lost_nor_told_twice(self, client, site, ordering):
        noon = datetime(2026, 1, 1, tzinfo=UTC)
        for n in range(7):
            made = PatientFactory(site=site, name=f"Same {n // 4}")
            Patient.objects.filter(pk=made.pk).update(created_at=noon + timedelta(days=n // 5))
        asked = {"limit": 2} | ({"ordering": ordering} if ordering else {})
        pages = self.walk(client, asked)
        seen = [row["id"] for page in pages for row in page["results"]]
        name = (ordering or "-created_at").lstrip("-")
        down = (ordering or "-created_at").startswith("-")
        rows = sorted(Patient.objects.all(), key=lambda p: (getattr(p, name), p.pk.hex), reverse=down)
        assert seen == [str(row.pk) for row in rows]
        back = client.get(pages[-1]["previous"]).json()
        assert back["results"] == pages[-2]["results"]
        assert pages[0]["previous"] is None
        assert client.get(client.get(pages[1]["previous"]).json()["next"]).json()["results"] == pages[1]["results"]

    def test_a_cursor_is_good_for_its_order_only(self, client, site):
        for _ in range(3):
            PatientFactory(site=site)
        page = client.get(url("patients"), {"limit": 1}).json()
        assert client.get(page["next"] + "&ordering=name").status_code == 400
