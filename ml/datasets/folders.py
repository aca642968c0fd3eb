"""What every layout needs: images in their natural order, subfolders in any case, tables, and refusals that say why."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING

from ml.findings import InputRejected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".dcm"}
LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}
SHOWN = 8


def natural(path: Path) -> tuple[list[str | int], str]:
    """Sorting key: numbers in a name count as numbers, so that 9 comes before 10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], path.name


def images_in(folder: Path, notes: list[str]) -> list[Path]:
    """The images directly in ``folder`` in natural order; hidden files are passed over, others with a note."""
    files = [p for p in sorted(folder.iterdir(), key=natural) if not p.name.startswith(".") and p.is_file()]
    other = [p.name for p in files if p.suffix.lower() not in SUFFIXES and p.name.lower() not in LEFT_BY_SYSTEMS]
    if other:
        notes.append(f"Passed over in {folder.name}/, as no image: {some(other)}.")
    return [p for p in files if p.suffix.lower() in SUFFIXES]


def subfolders(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)


def subfolder(folder: Path, *names: str) -> Path | None:
    """The folder in ``folder`` that has one of ``names``, in upper or lower case."""
    wanted = {name.lower() for name in names}
    return next((p for p in subfolders(folder) if p.name.lower() in wanted), None)


def some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def wrong_layout(folder: Path, expected: str) -> InputRejected:
    there = [p.name + "/" * p.is_dir() for p in sorted(folder.iterdir(), key=natural) if not p.name.startswith(".")]
    return InputRejected(
        "wrong_layout",
        place=str(folder),
        problem=f"Expected: {expected}; found: {some(there) or 'nothing'}.",
        remedy="Name the folder that holds what is expected, or the layout that this folder has.",
    )


def no_images(folder: Path) -> InputRejected:
    return InputRejected(
        "no_images",
        place=str(folder),
        problem="Its folders or tables name no image.",
        remedy=f"Images end in {', '.join(sorted(SUFFIXES))}.",
    )


def wrong_name(place: str, name: str, example: str) -> InputRejected:
    return InputRejected(
        "wrong_name",
        place=place,
        problem=f"{name!r} is not a name like {example}.",
        remedy="The name carries the label: restore the published one, or take the file out.",
    )


def contradiction(place: str, problem: str) -> InputRejected:
    return InputRejected(
        "contradiction", place=place, problem=problem, remedy="Correct the one that is wrong, or take the image out."
    )


def missing_annotation(image: Path, wanted: Path) -> InputRejected:
    return InputRejected(
        "missing_annotation",
        place=str(image),
        problem=f"Its annotation {wanted.parent.name}/{wanted.name} is missing.",
        remedy="Copy it from the download, or take the image out.",
    )


def read_table(path: Path, columns: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """(place, row) of every row of a CSV file with a header; each of ``columns`` is there and has a value."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="")
            header, rows = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as fault:
        raise InputRejected(
            "bad_table", place=str(path), problem="It is no CSV text.", remedy="Save it as CSV in UTF-8."
        ) from fault
    _check_columns(f"{path}, first row", header, columns, "missing_column", "The columns {} are missing.")
    placed = [(f"{path}, row {k}", row) for k, row in enumerate(rows, start=2)]
    for place, row in placed:
        filled = [column for column in columns if row[column].strip()]
        _check_columns(place, filled, columns, "missing_value", "There is no value for {}.")
    return placed


def _check_columns(place: str, there: Sequence[str], columns: Sequence[str], code: str, sentence: str) -> None:
    absent = [column for column in columns if column not in there]
    if absent:
        problem = sentence.format(", ".join(absent))
        raise InputRejected(code, place=place, problem=problem, remedy=f"The columns are {', '.join(columns)}.")


def listed_files(folder: Path, named: Sequence[tuple[str, str]]) -> list[Path]:
    """The files of (place, name) in ``folder``: all are there, none lies outside, none is named twice."""
    home = folder.resolve()
    seen: dict[Path, str] = {}
    for place, name in named:
        path = (folder / name).resolve()
        if not path.is_relative_to(home):
            raise _bad_entry("outside_folder", place, f"{name!r} leads out of {folder.name}/.")
        if not path.is_file():
            raise _bad_entry("missing_file", place, f"{name!r} is not in {folder.name}/.")
        if path in seen:
            raise _bad_entry("listed_twice", place, f"{name!r} is listed already ({seen[path]}).")
        seen[path] = place
    return [folder / name for _, name in named]


def _bad_entry(code: str, place: str, problem: str) -> InputRejected:
    remedy = "List each image once, by its path inside the folder, and copy the missing ones there."
    return InputRejected(code, place=place, problem=problem, remedy=remedy)


def first_twins(paths: Sequence[Path], notes: list[str]) -> list[Path]:
    """For each file the first one with the same bytes, which mostly is itself; twins are noted."""
    sizes = [path.stat().st_size for path in paths]
    shared = Counter(sizes)
    first: dict[str, Path] = {}
    keys = [_digest(path) if shared[size] > 1 else str(path) for path, size in zip(paths, sizes, strict=True)]
    twins = [first.setdefault(key, path) for key, path in zip(keys, paths, strict=True)]
    same = [path.name for path, twin in zip(paths, twins, strict=True) if path is not twin]
    if same:
        notes.append(f"Same bytes as an earlier image ({len(same)}): {some(same)}.")
    return twins


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
