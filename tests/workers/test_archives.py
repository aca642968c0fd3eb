"""Archives made to do harm are refused by their directory: count, size, ratio, links, names; nothing is unpacked."""

import io
import stat
import zipfile

import pytest

from ml.findings import InputRejected
from workers import archives
from workers.archives import is_archive, judge


def made(entries, packed=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packed) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return out.getvalue()


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


BAD = {
    "count": (lambda: made([(f"{n}.tsv", b"x") for n in range(archives.MOST_ENTRIES + 1)]), "1001 entries"),
    "ratio": (lambda: made([("a.tsv", b"\0" * 12 * 1024**2)]), "300 to 1"),
    "link": (lambda: made([(link("a.tsv"), b"/etc/passwd")]), "a link"),
    "up": (lambda: made([("../../etc/cron.d/x", b"x")]), "leads out"),
    "up on Windows": (lambda: made([("..\\..\\x", b"x")]), "leads out"),
    "root": (lambda: made([("/etc/passwd", b"x")]), "leads out"),
    "drive": (lambda: made([("C:/x", b"x")]), "leads out"),
    "NUL": (lambda: made([("abcd.tsv", b"x")]).replace(b"abcd", b"a\0cd"), "leads out"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_archive_made_to_do_harm_is_refused(tmp_path, name):
    make, mentions = BAD[name]
    source = tmp_path / "a.zip"
    source.write_bytes(make())
    with pytest.raises(InputRejected) as refusal:
        judge(source, tmp_path, {})
    said = refusal.value.as_dict()
    assert (said["code"], said["place"]) == ("unsafe_archive", "a.zip")
    assert mentions in said["problem"]
    assert said["remedy"]
    assert list(tmp_path.iterdir()) == [source]


def test_more_than_two_gigabytes_are_refused_by_what_the_directory_states(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    (tmp_path / "a.zip").write_bytes(made([("a.tsv", b"x" * 600), ("b.tsv", b"y" * 600)], zipfile.ZIP_STORED))
    with pytest.raises(InputRejected, match="larger than"):
        judge(tmp_path / "a.zip", tmp_path, {})


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 and no more", b"gene\tcount\n", b"\x1f\x8b"])
def test_what_is_no_whole_archive_is_left_to_its_reader(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert is_archive(tmp_path / "a") == content.startswith(archives.MAGIC)
    assert judge(tmp_path / "a", tmp_path, {}) == {"entries": 0}


def test_an_honest_archive_passes(tmp_path):
    (tmp_path / "a.zip").write_bytes(made([("folder/counts.tsv", b"gene\tcount\n" * 1000)]))
    assert judge(tmp_path / "a.zip", tmp_path, {}) == {"entries": 1}
