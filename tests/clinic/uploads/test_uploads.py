"""The way of a file into a case: chunks, offsets, digests, duplicates, and what becomes of it."""

import hashlib
import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from clinic.audit.models import Action
from clinic.cases import files
from clinic.cases.models import ItemStatus
from clinic.cases.sealing import Damaged
from clinic.errors import Conflict, InvalidInput
from clinic.uploads import services, staging
from clinic.uploads.models import Upload
from tests.factories import CaseFactory, ItemFactory
from tests.portal_cases import events, png

pytestmark = pytest.mark.django_db

LABS = b"age,WBC_G_L,MCV_fL,Platelets_G_L,LDH_UI_L\n54,18.4,98,32,640\n"
HISTORY = b"Three weeks of fatigue and bruising.\nNo fever.\n"


@pytest.fixture
def case(site):
    return CaseFactory(patient__site=site)


@pytest.fixture
def send(client, clinician, case):
    """``send(data, name)`` announces a file with its first bytes, as a browser does. Returns the answer."""
    client.force_login(clinician)

    def post(data, name="file", *, first=None, sha256=None, **headers):
        sha256 = hashlib.sha256(data).hexdigest() if sha256 is None else sha256
        said = {"Upload-Length": str(len(data)), "Upload-Name": name, "Upload-Sha256": sha256, **headers}
        body = data if first is None else data[:first]
        address = reverse("uploads:uploads", args=[case.pk])
        return client.generic("POST", address, body, "application/offset+octet-stream", headers=said)

    return post


@pytest.fixture
def more(client):
    def patch(pk, offset, data):
        address = reverse("uploads:upload", args=[pk])
        return client.generic(
            "PATCH", address, data, "application/offset+octet-stream", headers={"Upload-Offset": str(offset)}
        )

    return patch


def state_of(client, said):
    return client.get(reverse("uploads:upload", args=[said.json()["id"]])).json()


@pytest.mark.parametrize(
    ("data", "kind"),
    [(LABS, "labs"), (HISTORY, "history"), (png(side=600), "smear_field"), (json.dumps([]).encode(), "labs")],
)
def test_the_content_tells_what_a_file_is_whatever_its_name(
    client, send, case, data, kind, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        said = send(data, "holiday.docx")
    assert said.status_code == 201
    assert case.items.get().kind == kind
    assert state_of(client, said)["kind"] == kind
    assert events(Action.UPLOAD_START).count() == events(Action.UPLOAD_COMPLETE).count() == 1


def test_what_nothing_can_read_is_refused_with_a_remedy_and_taken_once_a_person_says_what_it_is(
    client, send, case, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        said = send(b"1;2;3\n4;5;6\n", "numbers.csv")
    verdict = state_of(client, said)
    assert verdict["state"] == "refused"
    assert verdict["may_retry"]
    assert verdict["rejection"]["place"] == "numbers.csv"
    assert "say below what it is" in verdict["rejection"]["remedy"]
    assert not case.items.exists()
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("uploads:retry", args=[verdict["id"]]), {"kind": "history"})
    assert case.items.get().status == ItemStatus.VALID
    assert state_of(client, said)["state"] == "accepted"


def test_chunks_follow_one_another_and_a_wrong_one_is_told_where_to_go_on(send, more, case):
    said = send(LABS, first=10, **{"Upload-Kind": "labs"}).json()
    assert said["received"] == 10
    wrong = more(said["id"], 20, LABS[20:])
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["received"]) == (409, "wrong_offset", 10)
    assert more(said["id"], 10, LABS[10:30]).json()["received"] == 30
    assert more(said["id"], 10, LABS[10:30]).status_code == 409
    assert more(said["id"], 30, LABS[30:]).json()["received"] == len(LABS)
    whole = Upload.objects.get()
    assert files.opened(whole.sha256).read() == LABS
    assert not staging.path_of(whole).exists()


def test_nothing_of_an_unfinished_upload_lies_in_the_clear(send, more):
    said = send(LABS, first=20, **{"Upload-Kind": "labs"}).json()
    more(said["id"], 20, LABS[20:35])
    upload = Upload.objects.get()
    parts = sorted(staging.path_of(upload).iterdir())
    assert [path.name for path in parts] == ["0", "20"]
    assert all(LABS[:8] not in path.read_bytes() and LABS[20:28] not in path.read_bytes() for path in parts)
    assert all(path.stat().st_mode & 0o77 == 0 for path in parts)


def test_parts_that_were_changed_or_exchanged_are_not_taken_for_the_file(case, clinician):
    upload = services.start(case=case, filename="a", size=len(LABS), by=clinician)
    services.append(upload=upload, offset=0, chunks=[LABS[:20]], by=clinician)
    services.append(upload=upload, offset=20, chunks=[LABS[20:35]], by=clinician)
    folder = staging.path_of(upload)
    assert b"".join(staging.read(Upload(pk=upload.pk, size=35))) == LABS[:35]
    (folder / "20").replace(folder / "40")
    with pytest.raises(Damaged):
        list(staging.read(upload))
    (folder / "0").replace(folder / "20")
    (folder / "40").replace(folder / "0")
    with pytest.raises(Damaged):
        list(staging.read(upload))


def test_a_torn_chunk_leaves_nothing(case, clinician):
    def torn():
        yield LABS[:10]
        raise ConnectionResetError

    upload = services.start(case=case, filename="a", size=len(LABS), by=clinician)
    with pytest.raises(ConnectionResetError):
        services.append(upload=upload, offset=0, chunks=torn(), by=clinician)
    assert list(staging.path_of(upload).iterdir()) == []
    assert services.append(upload=upload, offset=0, chunks=[LABS[:10]], by=clinician).received == 10


def test_two_who_send_the_same_chunk_at_once_add_it_once(case, clinician):
    upload = services.start(case=case, filename="a", size=len(LABS), by=clinician)
    same = Upload.objects.get(pk=upload.pk)
    services.append(upload=upload, offset=0, chunks=[LABS[:20]], by=clinician)
    with pytest.raises(Conflict, match="20 bytes of this file are here"):
        services.append(upload=same, offset=0, chunks=[LABS[:20]], by=clinician)
    assert Upload.objects.get().received == 20


def test_the_same_file_sent_again_goes_on_where_it_stopped(send, more):
    first = send(LABS, first=25).json()
    again = send(LABS, "other name", first=0).json()
    assert (again["id"], again["received"]) == (first["id"], 25)


def test_what_was_damaged_on_the_way_is_refused(client, send, case):
    said = send(LABS, sha256="0" * 64)
    assert said.json()["state"] == "refused"
    assert "SHA-256" in said.json()["rejection"]["problem"]
    assert not case.items.exists()


def test_a_duplicate_is_noticed_before_its_bytes_are_sent(client, send, case):
    there = ItemFactory(case=case, content=LABS, filename="first.csv")
    said = send(LABS, "second.csv", first=0)
    assert said.json()["state"] == "duplicate"
    assert "first.csv" in said.json()["words"]
    assert case.items.get() == there
    assert events(Action.UPLOAD_DUPLICATE).count() == 1


def test_a_duplicate_whose_sender_stated_no_digest_is_noticed_at_the_end(
    client, send, case, django_capture_on_commit_callbacks
):
    ItemFactory(case=case, content=LABS, filename="first.csv")
    with django_capture_on_commit_callbacks(execute=True):
        said = send(LABS, "second.csv", sha256="")
    assert state_of(client, said)["state"] == "duplicate"
    assert case.items.count() == 1


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Upload-Length": "many"}, "bad_header"),
        ({"Upload-Length": "-5"}, "bad_header"),
        ({"Upload-Length": "0"}, "empty"),
        ({"Upload-Length": str(10**12)}, "too_large"),
        ({"Upload-Sha256": "not a digest"}, "bad_digest"),
        ({"Upload-Kind": "cat"}, "unknown_kind"),
        ({"Upload-Length": "5"}, "too_many_bytes"),
    ],
)
def test_what_cannot_be_begun_says_why(send, case, headers, code):
    said = send(LABS, **headers)
    assert said.status_code in (400, 413)
    assert said["Content-Type"] == "application/problem+json"
    assert said.json()["code"] == code
    assert said.json()["errors"][0]["remedy"]


def test_a_chunk_beyond_the_limit_is_refused(send, settings):
    settings.UPLOAD_CHUNK_BYTES = 10
    assert send(LABS).json()["code"] == "chunk_too_large"


def test_cancel_ends_it_and_leaves_nothing(client, send, more):
    said = send(LABS, first=10).json()
    path = staging.path_of(Upload.objects.get())
    assert path.exists()
    address = reverse("uploads:upload", args=[said["id"]])
    assert client.delete(address).status_code == 204
    assert not path.exists()
    assert client.delete(address).status_code == 409
    assert more(said["id"], 10, LABS[10:]).json()["code"] == "upload_ended"
    assert events(Action.UPLOAD_CANCEL).count() == 1


def test_what_nobody_went_on_with_is_given_up(case, clinician):
    upload = services.start(case=case, filename="a", size=100, by=clinician)
    services.append(upload=upload, offset=0, chunks=[b"12345"], by=clinician)
    services.sweep()
    assert Upload.objects.get().status == "receiving"
    Upload.objects.update(touched_at=timezone.now() - timedelta(days=2))
    services.sweep()
    assert Upload.objects.get().status == "cancelled"
    assert not staging.path_of(upload).exists()


def test_a_lost_message_is_sent_again(case, clinician, django_capture_on_commit_callbacks):
    upload = services.start(case=case, filename="a.csv", size=len(LABS), by=clinician)
    services.append(upload=upload, offset=0, chunks=[LABS], by=clinician)  # its message is never sent here
    Upload.objects.update(touched_at=timezone.now() - timedelta(minutes=2))
    with django_capture_on_commit_callbacks(execute=True):
        services.sweep()
    assert case.items.get().kind == "labs"


def test_a_rejected_item_is_judged_again_as_another_kind(client, send, case, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        said = send(HISTORY, **{"Upload-Kind": "labs"})
    assert state_of(client, said)["state"] == "refused"
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("uploads:retry", args=[said.json()["id"]]), {"kind": "history"})
    assert state_of(client, said)["state"] == "accepted"
    again = client.post(reverse("uploads:retry", args=[said.json()["id"]]), {"kind": "history"})
    assert (again.status_code, again.json()["code"]) == (409, "not_refused")


def test_the_poll_names_nothing_and_the_reading_is_recorded(client, send, case):
    said = send(LABS, "secret-name.csv", first=10).json()
    pulse = client.get(reverse("uploads:pulse", args=[case.pk]))
    assert pulse.json() == {"states": {said["id"]: "receiving"}}
    assert not events(Action.UPLOAD_READ).exists()
    read = client.get(reverse("uploads:uploads", args=[case.pk]), {"id": [said["id"], "nonsense"]})
    assert [one["name"] for one in read.json()["uploads"]] == ["secret-name.csv"]
    assert json.loads(events(Action.UPLOAD_READ).get().body)["detail"] == {"uploads": [said["id"]]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"received": 200},
        {"status": "refused"},
        {"status": "taken"},
        {"status": "odd"},
        {"kind": "odd"},
        {"rejection": {"code": "x"}},
        {"status": "checking", "received": 100},
    ],
)
def test_the_database_knows_what_cannot_be(case, clinician, wrong):
    upload = services.start(case=case, filename="a", size=100, by=clinician)
    with pytest.raises(IntegrityError), transaction.atomic():
        Upload.objects.filter(pk=upload.pk).update(**wrong)


def test_more_than_was_announced_is_not_kept(case, clinician):
    upload = services.start(case=case, filename="a", size=10, by=clinician)
    with pytest.raises(InvalidInput, match="More bytes came"):
        services.append(upload=upload, offset=0, chunks=[b"12345", b"6789012"], by=clinician)
    assert Upload.objects.get().received == 0
