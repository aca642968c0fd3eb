"""A ZIP archive (a workbook is one, too) judged by its directory, before any reader unpacks a byte of it.

Runs in the capped child. Nothing of an archive is ever written under the name it states; a name that would lead
elsewhere is refused all the same, since nobody's table has one.
"""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import Any

from ml.findings import InputRejected

MAGIC = b"PK\x03\x04"
MOST_ENTRIES = 1000
MOST_BYTES = 2 * 1024**3  # of all entries, unpacked
MOST_RATIO, RATIO_FROM = 300, 10 * 1024**2  # unpacked to packed, of an entry of at least this size
REMEDY = "Send the table itself, plain or as .gz."


def is_archive(source: Path) -> bool:
    with source.open("rb") as stream:
        return stream.read(4) == MAGIC


def judge(source: Path, target: Path, options: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 (a reader's signature)
    """The number of its entries. Raises InputRejected ``unsafe_archive`` where it is too much or leads elsewhere."""
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError):
        return {"entries": 0}  # damaged: its reader says so, in words of its own
    if problem := _problem(entries):
        raise InputRejected("unsafe_archive", place=source.name, problem=problem, remedy=REMEDY)
    return {"entries": len(entries)}


def _problem(entries: list[zipfile.ZipInfo]) -> str:
    if len(entries) > MOST_ENTRIES:
        return f"The archive holds {len(entries)} entries; at most {MOST_ENTRIES} are taken."
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        return f"Unpacked, the archive is larger than {MOST_BYTES // 1024**3} GiB."
    for entry in entries:
        if entry.file_size >= RATIO_FROM and entry.file_size > MOST_RATIO * max(1, entry.compress_size):
            return f"One entry is packed more than {MOST_RATIO} to 1, as only archives made to do harm are."
        if stat.S_ISLNK(entry.external_attr >> 16):
            return "The archive holds a link to another file."
        if _leads_out(entry):
            return "The archive holds an entry whose name leads out of it."
    return ""


def _leads_out(entry: zipfile.ZipInfo) -> bool:
    name = entry.orig_filename.replace("\\", "/")
    return "\0" in name or name.startswith("/") or name[1:2] == ":" or ".." in name.split("/")
