"""Files as they are sent: plain, gzip, or a zip archive of one file; unpacked in memory and never beyond a bound.

Sizes that an archive states about itself are not believed: what counts is what comes out.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from typing import IO, TYPE_CHECKING

from ml.findings import InputRejected

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 400_000_000  # decompressed
MAX_LAYERS = 3  # counts.tsv.gz within a zip is usual; more than that is a bomb or a mistake
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
NO_MEMBERS = ("__MACOSX/", ".DS_Store", "Thumbs.db")  # what file managers add to every archive
WORKBOOK = "xl/workbook.xml"
ENCRYPTED = 0x1


def read_bytes(source: Path) -> bytes:
    """The bytes of a file, unpacked where it is gzip or a zip archive of one file; at most MAX_BYTES of them.

    Raises InputRejected: ``truncated`` (damaged archive), ``too_large`` (also a bomb), ``wrong_type`` (an archive of
    several files or with a password, a workbook).
    """
    with source.open("rb") as raw:
        data = bounded(raw, source.name)
    for _ in range(MAX_LAYERS):
        if data.startswith(GZIP):
            data = _gunzip(data, source.name)
        elif data.startswith(ZIP):
            data = _unzip(data, source.name)
        else:
            return data
    raise _no_table(source.name, f"More than {MAX_LAYERS} archives lie within each other.", "Send the table itself.")


def bounded(stream: IO[bytes] | gzip.GzipFile, name: str) -> bytes:
    """Everything in ``stream``, or InputRejected (too_large)."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputRejected(
            "too_large",
            place=name,
            problem=f"The table is larger than {MAX_BYTES // 10**6} MB.",
            remedy="Send fewer samples a file.",
        )
    return data


def is_workbook(source: Path) -> bool:
    """Whether ``source`` is an Excel workbook (.xlsx, .xlsm), by its content."""
    with source.open("rb") as raw:
        if raw.read(4) != ZIP:
            return False
    try:
        with zipfile.ZipFile(source) as archive:
            return WORKBOOK in archive.namelist()
    except zipfile.BadZipFile:
        return False


def _gunzip(data: bytes, name: str) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            return bounded(stream, name)
    except (EOFError, zlib.error, gzip.BadGzipFile) as broken:
        raise InputRejected(
            "truncated",
            place=name,
            problem="The gzip file is incomplete or damaged.",
            remedy="Export or upload it again.",
        ) from broken


def _unzip(data: bytes, name: str) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _only_member(archive, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as broken:
        raise _no_table(
            name,
            "This begins like an Excel or zip file, and is incomplete or damaged.",
            "Export or upload it again, or export it as CSV or TSV.",
        ) from broken


def _only_member(archive: zipfile.ZipFile, name: str) -> bytes:
    members = [m for m in archive.infolist() if not m.is_dir() and not any(no in m.filename for no in NO_MEMBERS)]
    if any(m.filename in (WORKBOOK, "xl/workbook.bin", "content.xml") for m in members):
        raise _no_table(name, "This is an Excel or office workbook, not a text table.", "Save it as CSV or TSV.")
    if len(members) != 1:
        first = ", ".join(m.filename for m in members[:3]) or "none"
        raise _no_table(name, f"The zip file holds {len(members)} files ({first}).", "Send one table a file.")
    if members[0].flag_bits & ENCRYPTED:
        raise _no_table(name, "The zip file has a password.", "Send it without one.")
    with archive.open(members[0]) as stream:
        return bounded(stream, f"{name}, {members[0].filename}")


def _no_table(name: str, problem: str, remedy: str) -> InputRejected:
    return InputRejected("wrong_type", place=name, problem=problem, remedy=remedy)
