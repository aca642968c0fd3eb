"""What opening a page leaves in the log, how its answers are guarded, and signing in. Who may: tests/security."""

import json
import re

import pytest
from django.urls import reverse

from clinic.audit.models import Action
from clinic.portal.middleware import POLICY
from tests.portal_cases import address, events

pytestmark = pytest.mark.django_db

READING = {
    "worklist": Action.CASE_SEARCH,
    "case": Action.CASE_READ,
    "report": Action.REPORT_READ,
    "item_file": Action.ITEM_DOWNLOAD,
    "item_frame": Action.ITEM_READ,
    "artefact": Action.ARTEFACT_READ,
}


@pytest.mark.parametrize("name", READING)
def test_reading_is_recorded_once(client, clinician, case, report, name):
    client.force_login(clinician)
    client.get(address(name, case))
    event = events(READING[name]).get()
    assert event.actor_id == str(clinician.pk)
    if name == "worklist":
        assert json.loads(event.body)["detail"] == {"query": "", "view": "todo", "hits": [str(case.pk)]}
    else:
        assert (event.case_id, event.patient_id) == (str(case.pk), str(case.patient_id))


@pytest.mark.parametrize("name", READING)
def test_what_cannot_be_recorded_is_not_shown(client, clinician, case, report, name, monkeypatch):
    def no_log(*args, **kwargs):
        raise OSError("the log is full")

    client.force_login(clinician)
    client.raise_request_exception = False
    for place in ("clinic.portal.guard.record", "clinic.cases.downloads.record"):
        monkeypatch.setattr(place, no_log)
    response = client.get(address(name, case))
    assert response.status_code == 500
    assert "Synthia Test" not in response.content.decode()


def test_every_page_has_the_strict_policy(client, clinician, case, report):
    client.force_login(clinician)
    for name in ("worklist", "new_case", "case", "report", "models"):
        response = client.get(address(name, case))
        assert response["Content-Security-Policy"] == POLICY
        assert response["Cache-Control"] == "private, no-store"
        assert not re.search(
            r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", response.content.decode()
        )


def test_files_come_as_data_that_a_browser_cannot_run(client, clinician, case):
    client.force_login(clinician)
    file = client.get(address("item_file", case))
    assert file["Content-Disposition"] == 'attachment; filename="smear_field.png"'
    assert file["Content-Type"] == "application/octet-stream"
    for name in ("item_file", "item_frame", "artefact"):
        response = client.get(address(name, case))
        assert "sandbox" in response["Content-Security-Policy"]
        assert response["X-Content-Type-Options"] == "nosniff"
        assert b"".join(response.streaming_content).startswith(b"\x89PNG")


def test_a_frame_that_is_not_there_is_not_found(client, clinician, case):
    client.force_login(clinician)
    item = case.items.get(kind="smear_field")
    assert client.get(reverse("portal:item_frame", args=[item.pk, 7])).status_code == 404


@pytest.mark.parametrize(("who", "first"), [("clinician", "worklist"), ("auditor", "audit"), ("admin_user", "audit")])
def test_each_role_begins_where_its_work_is(client, request, who, first):
    client.force_login(request.getfixturevalue(who))
    assert client.get(reverse("portal:home")).url == reverse(f"portal:{first}")


def test_a_poll_after_the_session_moves_the_page_to_the_login(client, case):
    response = client.get(address("case_pulse", case), headers={"HX-Request": "true"})
    assert response["HX-Redirect"] == reverse("portal:login")
