"""A POST sent twice with one key is done once."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from clinic.accounts.models import Membership
from clinic.api import idempotency
from clinic.api.models import KeptAnswer
from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import StudyItem
from clinic.patients.models import Patient
from clinic.tokens.services import issue_for_login
from tests.factories import CaseFactory

PATIENTS = "/api/v1/patients"


def patient(site, **said):
    return {"site": str(site.pk), "mrn": "4711", "name": "Test Person"} | said


def post(client, said, key="key-1", path=PATIENTS):
    return client.post(path, said, headers={"Idempotency-Key": key})


@pytest.mark.django_db
class TestTwice:
    def test_the_first_answer_is_told_again_and_nothing_is_done(self, api, clinician, site):
        first, again = (post(api(clinician), patient(site)) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert json.loads(again.content) == json.loads(first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Content-Type"] == first.headers["Content-Type"]
        assert Patient.objects.count() == 1
        replay = json.loads(AuditEvent.objects.get(action=Action.ANSWER_REPLAY).body)
        assert replay["detail"]["first_request"] == first.headers["X-Request-ID"]

    def test_without_a_key_it_is_another_request(self, api, clinician, site):
        assert api(clinician).post(PATIENTS, patient(site)).status_code == 201
        assert api(clinician).post(PATIENTS, patient(site)).status_code == 409

    def test_other_content_is_refused(self, api, clinician, site):
        post(api(clinician), patient(site))
        answer = post(api(clinician), patient(site, mrn="4712"))
        assert (answer.status_code, answer.json()["code"]) == (422, "other_content")
        assert answer.headers["Content-Type"] == "application/problem+json"

    def test_a_key_is_its_user_s_and_its_route_s_own(self, api, clinician, technician, site):
        post(api(clinician), patient(site))
        assert post(api(technician), patient(site, mrn="2")).status_code == 201
        case = post(api(clinician), {"patient": str(Patient.objects.first().pk)}, path="/api/v1/cases")
        assert case.status_code == 201

    def test_a_token_is_its_user(self, api, clinician, site):
        client = api()
        client.credentials(HTTP_AUTHORIZATION=f"Token {issue_for_login(user=clinician)[1]}")
        post(client, patient(site))
        assert post(api(clinician), patient(site)).headers["Idempotent-Replayed"] == "true"

    def test_what_was_refused_may_be_tried_again(self, api, clinician, site):
        assert post(api(clinician), patient(site, mrn="")).status_code == 400
        assert post(api(clinician), patient(site)).status_code == 201

    def test_a_failure_of_ours_leaves_nothing_behind(self, api, clinician, site, monkeypatch):
        with monkeypatch.context() as broken:
            broken.setattr("clinic.api.views.cases.PatientOut", lambda _: 1 / 0)
            assert post(api(clinician), patient(site)).status_code == 500
        assert not Patient.objects.exists()
        assert post(api(clinician), patient(site)).status_code == 201

    def test_files_are_compared_by_content_not_by_boundary(self, api, clinician, site):
        path = reverse("api:items", args=[CaseFactory(patient__site=site).pk])

        def send(content):
            said = {"file": SimpleUploadedFile("labs.csv", content), "kind": "labs"}
            return api(clinician).post(path, said, format="multipart", headers={"Idempotency-Key": "k"})

        first, again = send(b"hb\n80\n"), send(b"hb\n80\n")
        assert again.content == first.content
        assert send(b"hb\n81\n").status_code == 422
        assert StudyItem.objects.count() == 1

    def test_a_role_that_is_gone_gets_no_old_answer(self, api, clinician, site):
        post(api(clinician), patient(site))
        Membership.objects.filter(user=clinician).delete()
        assert post(api(clinician), patient(site)).json()["code"] == "rights_changed"

    def test_a_secret_is_not_kept(self, api, clinician):
        said = {"name": "Script", "scopes": ["case.view"]}
        assert post(api(clinician), said, path="/api/v1/tokens").json()["code"] == "no_key_here"
        assert not KeptAnswer.objects.exists()

    @pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
    def test_a_key_is_visible_ascii(self, api, clinician, site, key):
        assert post(api(clinician), patient(site), key=key).json()["code"] == "invalid_key"

    def test_nobody_has_no_keys(self, api, site):
        assert post(api(), patient(site)).status_code == 401
        assert not KeptAnswer.objects.exists()


@pytest.mark.django_db
class TestInFlight:
    @pytest.fixture
    def started(self, api, clinician, site):
        post(api(clinician), patient(site))
        Patient.objects.all().delete()
        KeptAnswer.objects.update(status=None)
        return KeptAnswer.objects.get()

    def test_the_second_waits_for_the_first(self, api, clinician, site, started):
        answer = post(api(clinician), patient(site))
        assert (answer.status_code, answer.json()["code"]) == (409, "in_flight")
        assert int(answer.headers["Retry-After"]) > 0

    def test_one_that_died_is_taken_over(self, api, clinician, site, started):
        KeptAnswer.objects.update(started_at=timezone.now() - timedelta(minutes=5))
        assert post(api(clinician), patient(site)).status_code == 201
        assert KeptAnswer.objects.get().status == 201

    def test_one_that_only_seemed_dead_undoes_what_it_did(self, started, site, clinician):
        row = KeptAnswer.objects.get()
        KeptAnswer.objects.update(started_at=timezone.now() + timedelta(seconds=1))

        def act():
            from django.http import HttpResponse

            Patient.objects.create(site=site, mrn="9", name="x", created_by=clinician)
            return HttpResponse(status=201)

        with pytest.raises(idempotency.LostClaim):
            idempotency._act(act, row)
        assert not Patient.objects.exists()
        assert KeptAnswer.objects.exists()

    def test_after_a_day_a_key_is_new(self, api, clinician, site):
        post(api(clinician), patient(site))
        KeptAnswer.objects.update(started_at=timezone.now() - timedelta(days=1, seconds=1))
        assert post(api(clinician), patient(site)).status_code == 409  # done anew: the number is taken
        KeptAnswer.objects.update(started_at=timezone.now() - timedelta(days=2))
        idempotency.forget_old_answers()
        assert not KeptAnswer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_make_one(api, clinician, site):
    start = Barrier(50)
    clients = [api(clinician) for _ in range(50)]

    def send(client):
        try:
            start.wait(timeout=60)
            return post(client, patient(site))
        finally:
            connection.close()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, clients))
    said = {answer.status_code for answer in answers}
    assert said <= {201, 409}, said
    assert all(json.loads(a.content)["code"] == "in_flight" for a in answers if a.status_code == 409)
    assert len({json.loads(a.content)["id"] for a in answers if a.status_code == 201}) == 1
    assert Patient.objects.count() == 1
    assert AuditEvent.objects.filter(action=Action.PATIENT_CREATE).count() == 1
