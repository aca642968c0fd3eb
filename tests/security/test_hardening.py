"""Nothing of a patient in the logs, no script through a name, no code in a message, and the list of what is inside."""

import email
import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from celery.app.trace import build_tracer
from django.conf import settings
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from kombu.exceptions import ContentDisallowed
from kombu.serialization import dumps, loads
from pypdf import PdfReader

from clinic.cases.reports import draft_report, sign
from clinic.cases.visibility import reports_visible_to
from clinic.celery import app
from clinic.errors import NotFound
from clinic.logs import WithoutTaskErrors, WithoutValues
from clinic.notices.services import announce, send_due
from clinic.portal.pdf import report_pdf
from tests.factories import PASSWORD, CaseFactory, ItemFactory, member
from tests.portal_cases import full_case

ROOT = Path(__file__).resolve().parents[2]
CANARY = "Quillfeather"
PAYLOAD = """"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}"""


@pytest.fixture
def log():
    """All that the service's own handler would have written."""
    written, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(written)
    handler.setFormatter(WithoutValues(settings.LOGGING["formatters"]["line"]["fmt"]))
    handler.addFilter(WithoutTaskErrors())
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.django_db
@pytest.mark.requirement("M-13")
def test_no_log_line_holds_a_patient(api, client, technician, site, log, monkeypatch):
    """A name that occurs nowhere else, through uploads, refusals, faults, analysis and API, in whatever comes."""
    service = api(technician)
    person = {"site": str(site.pk), "mrn": CANARY, "name": CANARY, "birth_date": "1931-11-23"}
    patient = service.post(reverse("api:patients"), person).json()
    service.post(reverse("api:patients"), person)
    service.post(reverse("api:patients"), person | {"birth_date": CANARY})
    case = service.post(reverse("api:cases"), {"patient": patient["id"], "title": CANARY, "history": CANARY}).json()
    file = SimpleUploadedFile(f"{CANARY}.csv", f"name\n{CANARY}\n".encode())
    service.post(reverse("api:items", args=[case["id"]]), {"file": file, "kind": "labs"}, format="multipart")
    service.post(reverse("api:analyses", args=[case["id"]]))
    service.get(reverse("api:patients"), {"q": CANARY})
    client.force_login(technician)
    client.raise_request_exception = False
    client.get(reverse("portal:worklist"), {"q": CANARY})
    client.get(reverse("portal:case", args=[case["id"]]))
    client.post(reverse("portal:login"), {"username": CANARY, "password": CANARY})

    def fault(*said, **more):
        raise ValueError(f"duplicate key (mrn)=({CANARY})")

    monkeypatch.setattr("clinic.portal.guard.record", fault)
    assert client.get(reverse("portal:case", args=[case["id"]])).status_code == 500
    assert "ValueError (its text is not logged)" in log.getvalue()
    assert [line for line in log.getvalue().splitlines() if CANARY in line] == []


@pytest.mark.requirement("M-13")
def test_a_failed_task_is_logged_without_what_it_failed_on(log):
    @app.task(name="tests.fails")
    def fails():
        raise ValueError(CANARY)

    build_tracer(fails.name, fails, app=app)("an-id", [], {}, {"id": "an-id"})
    assert "ValueError" in log.getvalue()
    assert CANARY not in log.getvalue()


def named(site, payload):
    """(doctor, case, report) of a site in which every name is ``payload``."""
    doctor = member(site, "clinician", username="writer", first_name=payload[:150], last_name=payload[:150])
    site.name = payload
    site.save()
    case = full_case(site).analysis.case
    case.patient.name = case.patient.mrn = payload[:60]
    case.patient.save()
    case.title = case.history = payload
    case.save()
    case.items.update(filename=payload)
    ItemFactory(case=case, filename=payload, content=b"x", kind="history")
    rejection = {"code": "x", "place": payload, "problem": payload, "remedy": payload}
    ItemFactory(case=case, filename=payload, content=b"y", status="rejected", rejection=rejection)
    return doctor, case, draft_report(assessment=case.analyses.get().assessment, by=doctor)


@pytest.mark.django_db
@pytest.mark.requirement("M-14")
def test_a_script_in_a_name_is_only_a_name(client, site, admin_user):
    """Every name that a person can type, on every page that shows it."""
    doctor, case, report = named(site, PAYLOAD)
    pages = {
        doctor: [
            reverse("portal:worklist"),
            reverse("portal:worklist") + "?q=" + PAYLOAD.replace("&", ""),
            reverse("portal:case", args=[case.pk]),
            reverse("portal:report", args=[report.pk]),
            reverse("portal:new_case"),
            reverse("portal:account"),
        ],
        admin_user: [reverse("portal:people"), reverse("portal:person", args=[doctor.pk]), reverse("portal:audit")],
    }
    seen = 0
    for who, addresses in pages.items():
        client.force_login(who)
        for address in addresses:
            text = client.get(address).content.decode()
            assert "<script>alert" not in text, address
            assert "<img src=x" not in text, address
            assert "49" not in text.split("&lt;img", 1)[-1][:60] or "{{7*7}}" in text, address
            seen += "&lt;script&gt;" in text
    assert seen >= 6


IN_PAPER = [PAYLOAD, "(javascript:alert(1))", "endstream endobj 9 0 obj << /OpenAction << /S /JavaScript /JS (1) >> >>"]


@pytest.mark.django_db
@pytest.mark.requirement("M-14")
@pytest.mark.parametrize("payload", IN_PAPER)
def test_a_script_in_a_name_is_only_text_in_the_report_as_pdf(site, payload):
    doctor, _, report = named(site, payload)
    sign(report=report, by=doctor, password=PASSWORD, decision="override", diagnosis="apl", reason=payload)
    paper = PdfReader(io.BytesIO(report_pdf(reports_visible_to(doctor).get(pk=report.pk))))
    assert not isinstance(paper.root_object.get("/OpenAction"), dict)  # where to open is a place, never an action
    active = {"/JavaScript", "/JS", "/AA", "/Launch", "/URI", "/EmbeddedFiles", "/AcroForm", "/Annots"}
    assert not active & {key for one in _dictionaries(paper) for key in one}
    shown = "".join("".join(page.extract_text().split()) for page in paper.pages)
    assert shown.count("".join(payload.split())[:30]) >= 4


def _dictionaries(paper):
    """Every dictionary that the file holds, also those that nothing leads to."""
    for number in range(1, paper.trailer["/Size"]):
        found = paper.get_object(number)
        if isinstance(found, dict):
            yield found


@pytest.mark.django_db
@pytest.mark.requirement("M-14")
@pytest.mark.parametrize("payload", [PAYLOAD, "Ward\r\nBcc: everybody@evil.example\r\n\r\n<b>1</b>"])
def test_a_script_in_a_name_is_only_text_in_a_mail(site, settings, payload):
    settings.NOTICES_BY_MAIL = True
    doctor, case, _ = named(site, payload)
    doctor.email = "doctor@lab.example"
    doctor.save()
    announce(case=case, kind="urgent", asked_by=doctor)
    send_due()
    (sent,) = mail.outbox
    raw = email.message_from_bytes(sent.message().as_bytes())
    assert raw.get_content_type() == "text/plain"
    assert (raw["To"], raw["Bcc"], raw["Cc"]) == ("doctor@lab.example", None, None)
    assert "Quillfeather" not in sent.body
    assert case.patient.mrn not in sent.subject


@pytest.mark.django_db
def test_an_address_that_is_a_header_is_never_mailed_and_stops_nobody_else(site, settings):
    settings.NOTICES_BY_MAIL = True
    case = CaseFactory(patient__site=site)
    for name, address in (("first", "a@x.example\r\nBcc: b@evil.example"), ("second", "c@x.example")):
        member(site, "clinician", username=name, email=address)
    announce(case=case, kind="urgent", asked_by=case.created_by)
    send_due()
    assert [sent.to for sent in mail.outbox] == [["c@x.example"]]


@pytest.mark.requirement("M-15")
def test_workers_take_json_and_nothing_else():
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.result_serializer == app.conf.event_serializer == "json"
    content_type, encoding, body = dumps({"a": 1}, serializer="pickle")
    with pytest.raises(ContentDisallowed):
        loads(body, content_type, encoding, accept=app.conf.accept_content)


@pytest.mark.requirement("M-15")
def test_the_source_names_no_loader_that_runs_code():
    words = ("pick" + "le.loa", "import shel" + "ve", "import mar" + "shal", "import di" + "ll", "yaml.lo" + "ad(")
    rooms = ("clinic", "ml", "genomics", "workers")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    assert files
    assert [(path, word) for path in files for word in words if word in path.read_text("utf-8")] == []


@pytest.mark.requirement("M-16")
def test_the_list_of_what_is_inside_names_every_pinned_package(tmp_path):
    target = tmp_path / "sbom.json"
    command = [str(Path(sys.executable).parent / "cyclonedx-py"), "requirements", "--output-format", "JSON"]
    done = subprocess.run(
        [*command, "--output-file", str(target), str(ROOT / "requirements.lock")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed = {part["name"].casefold() for part in json.loads(target.read_text())["components"]}
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {line.split("==")[0].split("[")[0].casefold() for line in lock if line and line[0].isalnum()}
    assert pinned <= listed


@pytest.mark.django_db
def test_a_case_of_another_site_reads_like_none_at_all(client, outsider, site):
    """No difference between what is not there and what is not theirs."""
    client.force_login(outsider)
    there = client.get(reverse("portal:case", args=[CaseFactory(patient__site=site).pk]))
    gone = client.get(reverse("portal:case", args=["00000000-0000-4000-8000-000000000000"]))
    assert there.status_code == gone.status_code == NotFound.status


@pytest.mark.django_db
def test_pages_are_guarded_by_headers(client, site):
    answer = client.get(reverse("portal:login"))
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cache-Control"] == "private, no-store"
    client.post(reverse("portal:login"), {"username": member(site, "clinician").username, "password": PASSWORD})
    cookie = client.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
