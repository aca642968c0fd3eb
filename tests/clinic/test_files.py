import hashlib

import pytest

from clinic.cases import files
from clinic.errors import InvalidInput, TooLarge


def test_a_file_lies_under_its_hash_and_is_private(settings):
    sha256, size = files.store([b"ab", b"c"])
    path = files.place_of(sha256)
    assert sha256 == hashlib.sha256(b"abc").hexdigest()
    assert (files.opened(sha256).read(), size) == (b"abc", 3)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_the_same_content_is_kept_once(settings):
    assert files.store_bytes(b"abc") == files.store_bytes(b"abc")
    assert len([path for path in settings.FILES_ROOT.rglob("*") if path.is_file()]) == 1


def test_too_much_is_refused_while_it_comes_in(settings):
    settings.UPLOAD_MAX_BYTES = 1024**2
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield b"x" * 1024

    with pytest.raises(TooLarge) as refusal:
        files.store(endless(), place="big.tif")
    assert (refusal.value.code, refusal.value.place) == ("too_large", "big.tif")
    assert "1 MiB" in refusal.value.problem
    assert len(taken) == 1025


@pytest.mark.parametrize(("chunks", "expected"), [([], InvalidInput), ([b"x", 1 / 3], TypeError)])
def test_nothing_is_left_of_what_was_not_stored(settings, chunks, expected):
    with pytest.raises(expected):
        files.store(chunks)
    assert [path for path in settings.FILES_ROOT.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "g" * 64, "/" + "a" * 63])
def test_only_a_hash_leads_to_a_file(name):
    with pytest.raises(ValueError, match="SHA-256"):
        files.place_of(name)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("labs.csv", "labs.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\lab\\smear 1.png", "smear 1.png"),
        ("a\0b\r\nc.csv", "abc.csv"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("\u200bzero\u2066width.csv", "zerowidth.csv"),
        ("frottis_sanguin_é.png", "frottis_sanguin_é.png"),
        ("血液.tiff", "血液.tiff"),
        ("folder/", "unnamed"),
        ("  \t ", "unnamed"),
        ("", "unnamed"),
        ("no_suffix", "no_suffix"),
    ],
)
def test_a_name_is_safe_to_show(given, shown):
    assert files.display_name(given) == shown


def test_a_long_name_keeps_its_suffix():
    shown = files.display_name("x" * 500 + ".csv")
    assert (len(shown), shown[-4:]) == (200, ".csv")
    assert len(files.display_name("x." + "y" * 500)) == 200
