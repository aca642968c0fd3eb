"""Files at rest: sealed, found out when changed, opened with every key of the ring, handed out by one exit."""

import ast
import os
import re
import tracemalloc
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.urls import reverse

from clinic.audit.models import Action, AuditEvent
from clinic.cases import files, keyring, upkeep
from clinic.cases.sealing import CHUNK, HEAD, TAG, Damaged
from clinic.errors import InvalidInput
from tests.factories import ArtefactFactory, CaseFactory, ItemFactory
from tests.portal_cases import keep_frame, png

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"Quillfeather, blasts 80 %"
SIZES = [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]


@pytest.fixture
def stored():
    """One file of three chunks and a bit: (its hash, its content)."""
    content = os.urandom(3 * CHUNK + 100)
    return files.store_bytes(content), content


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_opens_again(size):
    content = os.urandom(size)
    sha256, stated = files.store([content[:10], content[10:]])
    with files.opened(sha256) as stream:
        assert stream.read() == content
    assert stated == size
    assert files.place_of(sha256).stat().st_size == HEAD + size + TAG * max(1, -(-size // CHUNK))


def test_nothing_of_it_lies_in_the_clear(settings):
    files.store_bytes(SECRET * 1000)
    for path in settings.FILES_ROOT.rglob("*"):
        assert path.is_dir() or SECRET[:12] not in path.read_bytes()


@pytest.mark.parametrize("place", [0, 5, CHUNK - 1, CHUNK, 2 * CHUNK + 3])
def test_a_reader_may_begin_anywhere(stored, place):
    sha256, content = stored
    with files.opened(sha256) as stream:
        stream.seek(place)
        assert stream.read(1000) == content[place : place + 1000]
        stream.seek(-5, os.SEEK_END)
        assert stream.read() == content[-5:]


def change(path, at, byte=None):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("at", [9, 30, 60, HEAD - 1, HEAD, HEAD + CHUNK + TAG + 3, -1])
def test_a_changed_bit_is_found(stored, at):
    sha256, _ = stored
    change(files.place_of(sha256), at)
    with pytest.raises(Damaged), files.opened(sha256) as stream:
        stream.read()


def test_a_cut_end_is_found_before_a_byte_is_given(stored):
    sha256, _ = stored
    path = files.place_of(sha256)
    raw = path.read_bytes()
    for keep in (HEAD + 2 * (CHUNK + TAG), len(raw) - 1, HEAD, 20):
        path.write_bytes(raw[:keep])
        with pytest.raises(Damaged):
            files.opened(sha256)


def test_moved_chunks_are_found(stored):
    sha256, _ = stored
    path = files.place_of(sha256)
    raw, step = path.read_bytes(), CHUNK + TAG
    first, second = raw[HEAD : HEAD + step], raw[HEAD + step : HEAD + 2 * step]
    path.write_bytes(raw[:HEAD] + second + first + raw[HEAD + 2 * step :])
    with pytest.raises(Damaged), files.opened(sha256) as stream:
        stream.read()


def test_a_file_in_anothers_place_does_not_open():
    one, other = files.store_bytes(b"of one patient"), files.store_bytes(b"of another")
    files.place_of(one).write_bytes(files.place_of(other).read_bytes())
    with pytest.raises(Damaged, match="under this address"):
        files.opened(one)


def test_a_plain_file_of_before_opens_only_where_its_hash_fits():
    sha256 = files.store_bytes(b"as it was stored long ago")
    files.place_of(sha256).write_bytes(b"as it was stored long ago")
    with files.opened(sha256) as stream:
        assert stream.read() == b"as it was stored long ago"
    files.place_of(sha256).write_bytes(b"as somebody put it there")
    with pytest.raises(Damaged):
        files.opened(sha256)


def test_half_a_gigabyte_needs_no_more_memory_than_a_page():
    block = os.urandom(1024 * 1024)
    tracemalloc.start()
    sha256, _ = files.store(block for _ in range(32))
    with files.opened(sha256) as stream:
        while stream.read(1024 * 1024):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024**2  # of 32 MiB: independent of the size


def test_a_reader_gets_a_private_file_that_is_gone_afterwards(settings):
    sha256 = files.store_bytes(SECRET)
    with files.plain(sha256, "labs.csv") as path:
        assert path.read_bytes() == SECRET
        assert path.name == "labs.csv"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a\0b", "\u202egpj.exe", "..", ".", "x" * 5000, "é" * 300, "", "CON:|?"]
)
def test_no_name_leads_out_of_the_private_folder(name):
    sha256 = files.store_bytes(SECRET)
    with files.plain(sha256, name) as path:
        assert path.parent.parent == files.settings.FILES_ROOT / files.WORK
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.django_db
def test_what_a_reader_made_is_sealed_and_links_are_not_followed(site, settings):
    item = ItemFactory(case=CaseFactory(patient__site=site))
    with files.workplace() as folder:
        (folder / "labs.json").write_bytes(SECRET)
        (folder / "link.json").symlink_to("/etc/passwd")
        files.keep_canonical(item, folder)
    assert SECRET not in (files.canonical_place(item) / "labs.json").read_bytes()
    with files.plain_canonical(item) as folder:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"labs.json": SECRET}
    for name in ("../labs.json", "no.json", "", "a/b", "labs.json\0"):
        with pytest.raises(FileNotFoundError):
            files.opened_canonical(item, name)


@pytest.mark.django_db
def test_a_rotation_seals_all_anew_and_the_old_key_may_go(site, settings):
    sha256, item = files.store_bytes(SECRET), ItemFactory(case=CaseFactory(patient__site=site))
    keep_frame(item, png())
    old = keyring.ring().current
    body = files.place_of(sha256).read_bytes()[HEAD:]
    counts, broken = upkeep.rotate_keys()
    ring = keyring.ring()
    assert (counts, broken) == ({"rewrapped": 3, "sealed": 0, "current": 0}, [])
    assert ring.current != old
    assert files.place_of(sha256).read_bytes()[HEAD:] == body  # the head alone is new
    settings.FILE_KEYS_FILE.write_text(settings.FILE_KEYS_FILE.read_text().split()[0])  # the old key is thrown away
    assert files.opened(sha256).read() == SECRET
    assert files.opened_canonical(item, "frame-0000.png").read() == png()
    event = AuditEvent.objects.get(action=Action.KEY_ROTATE)
    assert ring.current in event.body
    assert old in event.body


@pytest.mark.django_db
def test_a_rotation_seals_what_was_plain_and_names_what_does_not_open(settings, capsys):
    plain, broken = files.store_bytes(b"plain"), files.store_bytes(b"broken")
    files.place_of(plain).write_bytes(b"plain")
    change(files.place_of(broken), 40)
    counts, sentences = upkeep.rotate_keys()
    assert counts["sealed"] == 1
    assert [broken in sentence for sentence in sentences] == [True]
    assert b"plain" not in files.place_of(plain).read_bytes()
    with pytest.raises(SystemExit):
        call_command("rotate_file_keys", "--no-new-key")


@pytest.mark.django_db
def test_a_ring_from_the_environment_opens_with_its_older_keys(settings):
    first, second = keyring.new_word(), keyring.new_word()
    settings.FILE_KEYS = [first]
    sha256 = files.store_bytes(SECRET)
    settings.FILE_KEYS = [second, first]
    assert files.opened(sha256).read() == SECRET
    upkeep.rotate_keys()
    settings.FILE_KEYS = [second]
    assert files.opened(sha256).read() == SECRET
    settings.FILE_KEYS = [first]
    with pytest.raises(Damaged, match="not in the ring"):
        files.opened(sha256)
    with pytest.raises(ImproperlyConfigured, match="MARROW_FILE_KEYS"):
        keyring.add_key()


@pytest.mark.parametrize(
    "word", ["", "abc", "0123456789abcdef:short", "xyz:" + "A" * 44, "0123456789abcdef:" + "!" * 44]
)
def test_a_key_that_is_none_is_named_without_being_shown(settings, word):
    settings.FILE_KEYS = [word]
    with pytest.raises(ImproperlyConfigured, match="16 hexadecimal digits") as refusal:
        keyring.ring()
    assert "!!!!" not in str(refusal.value)


def test_the_key_file_is_private_and_its_keys_are_not_shown(settings):
    ring = keyring.ring()
    assert settings.FILE_KEYS_FILE.stat().st_mode & 0o777 == 0o600
    assert "keys" not in repr(ring)


@pytest.mark.django_db
def test_files_without_a_row_are_collected(site, settings):
    item = ItemFactory(case=CaseFactory(patient__site=site))
    kept = {item.sha256, ArtefactFactory(finding__analysis__case=item.case).sha256}
    orphan = files.store_bytes(b"nobody's")
    keep_frame(item, png())
    lost = settings.FILES_ROOT / files.CANONICAL / "00000000-0000-4000-8000-000000000000"
    lost.mkdir()
    half = settings.FILES_ROOT / files.INCOMING / "tmp-of-a-killed-process"
    half.write_bytes(b"x")
    assert upkeep.collect(delete=True) == []  # all too young: their rows may be on the way
    assert set(upkeep.collect(delete=False, older_than=-1)) == {files.place_of(orphan), lost, half}
    assert files.exists(orphan)
    call_command("collect_files", "--delete", "--older-than", "-1")
    assert not files.exists(orphan)
    assert not lost.exists()
    assert all(files.exists(sha256) for sha256 in kept)
    assert orphan in AuditEvent.objects.get(action=Action.FILE_COLLECT).body


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (png(), "image/png"),
        (b"\xff\xd8\xff\xe0 and so on", "image/jpeg"),
        (b"<html><script>alert(1)</script>", "application/octet-stream"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "application/octet-stream"),
        (b"%PDF-1.7", "application/octet-stream"),
        (b"MZ\x90", "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("name", ["api:artefact", "portal:artefact"])
def test_content_decides_what_is_shown_in_place(client, clinician, site, content, media_type, name):
    artefact = ArtefactFactory(
        finding__analysis__case=CaseFactory(patient__site=site),
        sha256=files.store_bytes(content),
        media_type="text/html",
    )
    client.force_login(clinician)
    response = client.get(reverse(name, args=[artefact.pk]))
    assert response.getvalue() == content
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Content-Disposition"].startswith("inline" if "image" in media_type else "attachment")
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["api:item_content", "portal:item_file"])
@pytest.mark.parametrize(
    "filename", ['a"b\r\nSet-Cookie: x.csv', "../../x.csv", "\u202egpj.csv", "é血.csv", "=cmd.csv"]
)
def test_an_upload_is_only_ever_a_download_under_a_harmless_name(client, clinician, site, name, filename):
    item = ItemFactory(case=CaseFactory(patient__site=site), content=png(), filename=files.display_name(filename))
    client.force_login(clinician)
    response = client.get(reverse(name, args=[item.pk]))
    assert response.getvalue() == png()
    said = response.headers
    assert said["Content-Disposition"].startswith("attachment; ")
    assert said["Content-Type"] == "application/octet-stream"
    assert not re.search(r"[\r\n\0\u202e]|\.\./", said["Content-Disposition"])


@pytest.mark.django_db
def test_a_file_that_is_gone_was_read_by_nobody(client, clinician, site):
    item = ItemFactory(case=CaseFactory(patient__site=site))
    files.place_of(item.sha256).unlink()
    client.force_login(clinician)
    assert client.get(reverse("portal:item_file", args=[item.pk])).status_code == 404
    assert not AuditEvent.objects.filter(action=Action.ITEM_DOWNLOAD).exists()


@pytest.mark.django_db
def test_a_damaged_file_is_said_to_be_and_was_read_by_nobody(api, clinician, site):
    item = ItemFactory(case=CaseFactory(patient__site=site))
    change(files.place_of(item.sha256), -1)
    response = api(clinician).get(reverse("api:item_content", args=[item.pk]))
    assert (response.status_code, response.json()["code"]) == (500, "file_damaged")
    assert not AuditEvent.objects.filter(action=Action.ITEM_DOWNLOAD).exists()


def test_an_empty_file_is_refused():
    with pytest.raises(InvalidInput):
        files.store([b""])


OPENERS = {"blocks", "opened", "opened_canonical", "plain", "plain_canonical", "place_of", "canonical_place"}
ALLOWED = {"clinic/cases/files.py", "clinic/cases/downloads.py", "clinic/cases/upkeep.py", "clinic/uploads/services.py"}


def opens(path):
    """Where in this file something of the store is opened."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in OPENERS and getattr(node.value, "id", "") == "files":
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_nobody_in_the_web_opens_the_store_but_the_one_exit():
    """Views and services hand out files through ``cases.downloads`` alone; workers read what they are asked to."""
    others = [path for path in (ROOT / "clinic").rglob("*.py") if str(path.relative_to(ROOT)) not in ALLOWED]
    assert not [place for path in others for place in opens(path)], "Give cases.downloads a function instead."
