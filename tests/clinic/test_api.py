"""The API as another program meets it."""

import json
from base64 import b64encode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import reverse

from clinic.audit.models import Action, AuditEvent
from clinic.audit.verification import verify
from clinic.cases import files
from clinic.cases.models import AnalysisStatus
from tests.factories import (
    PASSWORD,
    AnalysisFactory,
    ArtefactFactory,
    BundleFactory,
    CaseFactory,
    FindingFactory,
    ItemFactory,
    PatientFactory,
    assessed_case,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(api, clinician):
    return api(clinician)


@pytest.fixture
def case(site):
    return CaseFactory(patient__site=site)


def url(name, *args):
    return reverse(f"api:{name}", args=[getattr(arg, "pk", arg) for arg in args])


def file(content=b"hb,80\n", name="labs.csv"):
    return SimpleUploadedFile(name, content)


def upload(client, case, *files, kind="labs", **said):
    return client.post(url("items", case), {"file": list(files), "kind": kind, **said}, format="multipart")


def events(action):
    return AuditEvent.objects.filter(action=action).order_by("seq")


class TestTheWay:
    """From a patient to a signed report; the worker's part is played by the services it calls."""

    def test_from_patient_to_signature(self, client, site, clinician):
        for name in ("labs", "fusion"):
            BundleFactory(name=name)
        patient = client.post(url("patients"), {"site": str(site.pk), "mrn": "1", "name": "A", "sex": "male"}).json()
        case = client.post(url("cases"), {"patient": patient["id"], "title": "Blasts"}).json()
        received = upload(client, case["id"], file(), options=json.dumps({"row": "1"}))
        assert received.status_code == 201
        item = received.json()["results"][0]["item"]
        assert (item["status"], item["options"]) == ("received", {"row": "1"})
        assert client.post(url("analyses", case["id"])).json()["code"] == "items_unchecked"
        self.check(item["id"])
        analysis = client.post(url("analyses", case["id"])).json()
        assert (analysis["status"], analysis["queue_place"], analysis["items"]) == ("queued", 1, [item["id"]])
        assert client.get(url("assessment", analysis["id"])).json()["code"] == "no_assessment"
        self.work(analysis["id"])
        assert client.get(url("analysis", analysis["id"])).json()["status"] == "succeeded"
        assert client.get(url("findings", analysis["id"])).json()[0]["modality"] == "labs"
        assert client.get(url("assessment", analysis["id"])).json()["answer"] == "aml"
        report = client.post(url("reports", case["id"])).json()
        assert report["sign_off"] is None
        signed = client.post(url("sign", report["id"]), {"password": PASSWORD, "decision": "agree"}).json()
        assert signed["sign_off"]["diagnosis"] == "aml"
        amended = client.post(url("amend", report["id"]), {"reason": "Karyotype."}).json()
        assert (amended["version"], amended["amends"]) == (2, report["id"])
        assert client.get(url("report", report["id"])).json()["amended_by"] == amended["id"]
        assert verify().ok
        mine = AuditEvent.objects.filter(case_id=case["id"], actor_id=str(clinician.pk)).values_list(
            "action", flat=True
        )
        assert list(mine.order_by("seq")) == [
            *("case.create", "item.receive", "analysis.request"),
            *("analysis.read", "analysis.read", "analysis.read"),
            *("report.draft", "report.sign", "report.amend", "report.read"),
        ]

    def check(self, item_id):
        from clinic.cases.models import StudyItem
        from clinic.cases.services import accept_item

        accept_item(item=StudyItem.objects.get(pk=item_id), summary={"rows": 1})

    def work(self, analysis_id):
        from clinic.cases import runs
        from tests.factories import ASSESSED, FINDING

        analysis = runs.claim(analysis_id)
        runs.save_finding(analysis, FINDING | {"bundle_sha256": "0" * 64})
        runs.complete(analysis, ASSESSED)


class TestUpload:
    def test_several_files_each_get_their_verdict(self, client, case):
        answer = upload(client, case, file(b"a"), file(b"b", "b.csv"), file(b"", "empty.csv"), file(b"a", "again.csv"))
        assert answer.status_code == 207
        said = [(r["filename"], bool(r["item"]), (r["problem"] or {}).get("code")) for r in answer.json()["results"]]
        assert said == [
            ("labs.csv", True, None),
            ("b.csv", True, None),
            ("empty.csv", False, "empty"),
            ("again.csv", False, "duplicate_item"),
        ]

    def test_the_refusal_of_the_only_file_is_that_of_the_request(self, client, case):
        answer = upload(client, case, file(b"", "empty.csv"))
        assert (answer.status_code, answer.json()["code"]) == (400, "empty")
        assert answer.json()["errors"][0]["place"] == "empty.csv"
        upload(client, case, file())
        assert upload(client, case, file()).status_code == 409

    def test_too_large_is_refused_before_it_is_kept(self, client, case, settings, tmp_path):
        settings.UPLOAD_MAX_BYTES = 1000
        assert upload(client, case, file(b"x" * 1001)).status_code == 413
        answer = client.post(url("items", case), b"", CONTENT_LENGTH="9999999", content_type="multipart/form-data")
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert not (tmp_path / "files").exists() or not [p for p in (tmp_path / "files").rglob("*") if p.is_file()]

    @pytest.mark.parametrize("options", ["{", "[1]", "7"])
    def test_options_are_one_json_object(self, client, case, options):
        assert upload(client, case, file(), options=options).status_code == 400

    def test_an_unknown_kind_is_named(self, client, case):
        answer = upload(client, case, file(), kind="urine")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["place"] == "kind"

    def test_json_is_not_understood_here(self, client, case):
        answer = client.post(url("items", case), {"kind": "labs"}, format="json")
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


class TestDownload:
    def test_an_item_comes_back_as_it_was_and_can_do_no_harm(self, client, case):
        page = b"<script>alert(1)</script>"
        item = ItemFactory(case=case, filename='x".html', content=page)
        answer = client.get(url("item_content", item))
        assert answer.getvalue() == page
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "no-store" in answer.headers["Cache-Control"]
        assert events(Action.ITEM_DOWNLOAD).get().object_id == str(item.pk)

    def test_a_picture_of_a_finding_may_be_shown(self, client, case):
        artefact = ArtefactFactory(finding=FindingFactory(analysis=AnalysisFactory(case=case)))
        answer = client.get(url("artefact", artefact))
        assert answer.getvalue().startswith(b"\x89PNG")
        assert answer.headers["Content-Type"] == "image/png"
        assert events(Action.ARTEFACT_READ).get().case_id == str(case.pk)

    def test_anything_else_is_only_downloaded(self, client, case):
        artefact = ArtefactFactory(
            finding=FindingFactory(analysis=AnalysisFactory(case=case)),
            media_type="text/html",
            sha256=files.store_bytes(b"<p>no picture</p>"),
        )
        answer = client.get(url("artefact", artefact))
        answer.getvalue()
        assert answer.headers["Content-Type"] == "application/octet-stream"


class TestReading:
    def test_a_search_is_recorded_with_what_it_found(self, client, site):
        wanted = PatientFactory(site=site, name="Grace Hopper")
        PatientFactory(site=site, name="Somebody Else")
        found = client.get(url("patients"), {"q": "grace"}).json()["results"]
        assert [patient["id"] for patient in found] == [str(wanted.pk)]
        said = json.loads(events(Action.PATIENT_SEARCH).get().body)["detail"]
        assert said == {"query": {"q": "grace"}, "hits": [str(wanted.pk)]}

    def test_cases_are_searched_by_their_patient(self, client, site):
        wanted = CaseFactory(patient__site=site, patient__mrn="ZZ-9")
        CaseFactory(patient__site=site)
        assert [case["id"] for case in client.get(url("cases"), {"q": "zz"}).json()["results"]] == [str(wanted.pk)]

    def test_asking_how_far_it_is_is_not_recorded_while_it_lives(self, client, case):
        live = AnalysisFactory(case=case, status=AnalysisStatus.QUEUED, finished_at=None)
        client.get(url("analysis", live))
        assert not events(Action.ANALYSIS_READ).exists()
        client.get(url("analysis", AnalysisFactory(case=case)))
        assert events(Action.ANALYSIS_READ).count() == 1

    def test_a_failed_analysis_says_why(self, client, case):
        failed = AnalysisFactory(
            case=case, status=AnalysisStatus.FAILED, failure_code="worker_lost", failure_message="Lost."
        )
        assert client.get(url("analysis", failed)).json()["failure"] == {"code": "worker_lost", "message": "Lost."}

    def test_what_cannot_be_recorded_is_not_shown(self, client, case, monkeypatch):
        def broken(*_, **__):
            raise OSError("disk full of patient names")

        monkeypatch.setattr("clinic.audit.services.AuditEvent.objects.create", broken)
        answer = client.get(url("case", case))
        assert (answer.status_code, answer.json()["code"]) == (500, "server_error")
        assert case.patient.name not in answer.content.decode()
        assert "disk full" not in answer.content.decode()

    def test_pages_follow_each_other_without_a_gap(self, client, site):
        made = {str(PatientFactory(site=site).pk) for _ in range(7)}
        seen, page = [], client.get(url("patients"), {"limit": 3}).json()
        while True:
            seen += [patient["id"] for patient in page["results"]]
            PatientFactory(site=site)  # a newer row shifts nobody's page
            if not page["next"]:
                break
            page = client.get(page["next"]).json()
        assert len(seen) == len(set(seen)) == 7
        assert set(seen) == made

    @pytest.mark.parametrize("cursor", [b"p=yesterday", b"o=x", b"p=\xff"])
    def test_a_broken_cursor_is_a_problem(self, client, cursor):
        answer = client.get(url("patients"), {"cursor": b64encode(cursor).decode()})
        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize("name", ["items", "analyses", "reports"])
    def test_the_lists_of_a_case_hold_what_is_its_own(self, client, site, name):
        assessment = assessed_case(site)
        assessed_case(site)
        case = assessment.analysis.case
        if name == "reports":
            client.post(url("reports", case))
        rows = client.get(url(name, case)).json()["results"]
        assert [row["case"] for row in rows] == [str(case.pk)]

    def test_the_tree_is_told_parents_first(self, client):
        nodes = client.get(url("tree")).json()["nodes"]
        seen = set()
        for node in nodes:
            assert node["parent"] is None or node["parent"] in seen
            seen.add(node["id"])
        assert "apl" in seen


class TestOversight:
    @pytest.fixture
    def past(self, api, clinician, technician, case):
        for user in (clinician, technician):
            api(user).get(url("case", case))
        api(clinician).get(url("patient", case.patient))

    @pytest.mark.parametrize(
        ("asked", "count"),
        [
            ({"actor": "(doctor)"}, 2),
            ({"actor": "(tech)"}, 1),
            ({"action": "case.read"}, 2),
            ({"action": ["case.read", "patient.read"]}, 3),
            ({"outcome": "denied"}, 0),
            ({"from": "2000-01-01T00:00:00Z"}, 3),
            ({"to": "2000-01-01T00:00:00Z"}, 0),
        ],
    )
    def test_events_are_found_by_who_what_and_when(self, api, auditor, past, asked, count):
        assert len(api(auditor).get(url("events"), asked).json()["results"]) == count

    def test_events_are_found_by_whom_they_concern(self, api, auditor, past, case):
        client = api(auditor)
        for asked in ({"patient": case.patient_id}, {"case": case.pk, "limit": 2}, {"object": case.pk}):
            rows = client.get(url("events"), asked).json()["results"]
            assert len(rows) == {"patient": 3, "case": 2, "object": 2}[next(iter(asked))]

    def test_looking_at_events_is_an_event(self, api, auditor, past):
        client = api(auditor)
        client.get(url("events"), {"actor": "(doctor)"})
        newest = client.get(url("events")).json()["results"][0]
        assert (newest["action"], newest["actor_id"]) == ("audit.read", str(auditor.pk))
        assert newest["said"]["detail"]["query"] == {"actor": "(doctor)"}

    def test_an_unknown_action_is_a_problem(self, api, auditor):
        answer = api(auditor).get(url("events"), {"action": "case.eat"})
        assert (answer.status_code, answer.json()["errors"][0]["place"]) == (400, "action")

    def test_the_state_of_the_chain(self, api, auditor, past):
        from django.db import connection

        from clinic.audit import immutable

        client = api(auditor)
        assert client.get(url("chain_state"), {"full": "true"}).json()["ok"] is True
        immutable.remove(connection)
        AuditEvent.objects.filter(seq=2).update(actor="Nobody")
        state = client.get(url("chain_state")).json()
        assert (state["ok"], state["first_bad"]) == (False, 2)

    def test_an_event_says_from_where_and_in_which_request(self, client, case):
        answer = client.get(url("case", case), headers={"X-Request-ID": "ward-7.req-0001"}, REMOTE_ADDR="10.1.2.3")
        said = json.loads(events(Action.CASE_READ).get().body)
        assert (said["request"], said["address"]) == ("ward-7.req-0001", "10.1.2.3")
        assert answer.headers["X-Request-ID"] == "ward-7.req-0001"

    def test_a_request_id_that_is_none_is_replaced(self, client, case):
        answer = client.get(url("case", case), headers={"X-Request-ID": "x\n<script>"})
        assert len(answer.headers["X-Request-ID"]) == 32

    @pytest.mark.parametrize(
        ("trusted", "seen"), [(None, "127.0.0.1"), (("HTTP_X_FORWARDED_PROTO", "https"), "9.9.9.9")]
    )
    def test_a_forwarded_address_counts_behind_a_trusted_proxy_only(self, client, case, settings, trusted, seen):
        settings.SECURE_PROXY_SSL_HEADER = trusted
        client.get(url("case", case), headers={"X-Forwarded-For": "1.1.1.1, 9.9.9.9"})
        assert json.loads(events(Action.CASE_READ).get().body)["address"] == seen


class TestProblems:
    ENVELOPE = {"type", "title", "status", "detail", "instance", "code", "errors"}

    def problem_of(self, answer):
        assert answer.headers["Content-Type"] == "application/problem+json"
        said = json.loads(answer.content)
        assert set(said) == self.ENVELOPE
        assert said["status"] == answer.status_code
        return said

    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("get", "/api/v1/nowhere", 404, "not_found"),
            ("get", "/api/v1/cases/not-an-id", 404, "not_found"),
            ("get", "/api/v1/cases/00000000-0000-4000-8000-000000000000", 404, "not_found"),
            ("delete", "/api/v1/cases", 405, "method_not_allowed"),
            ("get", "/api/v1/cases?colour=red", 400, "unknown_parameter"),
        ],
    )
    def test_every_refusal_has_the_envelope(self, client, method, path, status, code):
        said = self.problem_of(getattr(client, method)(path))
        assert (said["status"], said["code"], said["instance"]) == (status, code, path.partition("?")[0])

    def test_broken_json_is_a_problem_without_the_parser_s_words(self, client):
        answer = client.post(url("cases"), b'{"patient": ', content_type="application/json")
        assert self.problem_of(answer)["code"] == "parse_error"

    def test_fields_are_named_by_their_place(self, client):
        said = self.problem_of(client.post(url("patients"), {"site": "x", "mrn": "", "name": "A\0"}))
        assert {error["place"] for error in said["errors"]} == {"site", "mrn", "name"}

    def test_a_fault_of_ours_tells_nothing(self, client, monkeypatch, caplog):
        def broken(_user):
            raise RuntimeError("SELECT secret FROM patients")

        monkeypatch.setattr("clinic.api.views.cases.cases_visible_to", broken)
        said = self.problem_of(client.get(url("cases")))
        assert (said["status"], said["code"]) == (500, "server_error")
        assert "secret" not in json.dumps(said)

    def test_nothing_of_a_patient_is_logged(self, client, site, caplog):
        said = {"site": str(site.pk), "mrn": "MRN-4711", "name": "Grace Hopper"}
        caplog.set_level("DEBUG")
        client.post(url("patients"), said)
        client.post(url("patients"), said)
        client.get(url("patients"), {"q": "Grace"})
        client.get(url("patients"), {"q": "Grace", "cursor": "%%%"})
        ours = [record.getMessage() for record in caplog.records if record.name != "django.db.backends"]
        assert not [line for line in ours if "Grace" in line or "4711" in line]


class TestDescription:
    def test_the_schema_is_valid_and_complete(self, tmp_path):
        call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yaml"))
        assert "openapi: 3.1" in (tmp_path / "schema.yaml").read_text()

    def test_every_operation_knows_the_envelope(self, client):
        schema = client.get(url("schema"), {"format": "json"}).json()
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                refused = operation["responses"]["404"]["content"]["application/problem+json"]
                assert refused["schema"]["$ref"].endswith("/ProblemOut"), f"{method} {path}"

    def test_the_docs_load_nothing_from_elsewhere(self, api):
        page = api().get(url("docs"))
        assert "https://" not in page.content.decode()
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"].partition("style-src")[0]


def test_healthz_says_whether_the_database_answers(api):
    assert api().get("/healthz").json() == {"status": "ok"}
