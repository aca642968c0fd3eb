import time

import pytest

from ml.findings import InputRejected
from workers.sandbox import ReaderFailed, read_in_child

HOSTILE = "tests.workers.hostile"


@pytest.fixture
def read(tmp_path):
    source = tmp_path / "field.png"
    source.write_bytes(b"12345")
    target = tmp_path / "target"
    target.mkdir()

    def run(name, seconds=20):
        return read_in_child(f"{HOSTILE}:{name}", source, target, {"a": 1}, memory_bytes=2 * 1024**3, seconds=seconds)

    return run


def test_returns_what_the_reader_returns(read, tmp_path):
    assert read("reads") == {"size": 5, "options": {"a": 1}}
    assert (tmp_path / "target" / "copy").read_bytes() == b"12345"


@pytest.mark.requirement("M-4")
@pytest.mark.parametrize(
    ("reader", "seconds", "code"),
    [
        ("refuses", 20, "empty"),
        ("eats_memory", 20, "reader_memory"),
        ("never_ends", 2, "reader_time"),
        ("spins", 2, "reader_time"),
        ("dies", 20, "reader_died"),
    ],
)
def test_a_bad_file_becomes_a_rejection_that_names_it(read, reader, seconds, code):
    began = time.monotonic()
    with pytest.raises(InputRejected) as said:
        read(reader, seconds)
    assert said.value.code == code
    assert said.value.place == "field.png"
    assert said.value.remedy
    assert time.monotonic() - began < seconds + 20


def test_a_bug_of_ours_is_not_blamed_on_the_file(read):
    with pytest.raises(ReaderFailed, match="KeyError"):
        read("has_a_bug")


@pytest.mark.requirement("M-4")
def test_the_next_file_is_read_after_a_crash(read):
    with pytest.raises(InputRejected):
        read("dies")
    assert read("reads")["size"] == 5
