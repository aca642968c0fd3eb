"""The commands that only labs have: ``recalibrate`` and ``series``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from genomics.labs.site import Site, read_site
from ml.bundle import Bundle

__all__ = ["Site", "add", "read_site", "recalibrate", "series"]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    again = commands.add_parser("recalibrate", help="a site's own calibration, from its labelled cases")
    again.add_argument("bundle", choices=("labs",))
    again.add_argument("--data", type=Path, required=True, help="CSV of panels with a column label; consecutive cases")
    again.add_argument("--out", type=Path, required=True, help="a new folder")
    again.add_argument("--picked", action="store_true", help="cases were chosen: their class shares say nothing")
    again.add_argument("--version", help="of the bundle; the newest, where none is named")
    course = commands.add_parser("series", help="the panels of one patient over time: trends and course, as JSON")
    course.add_argument("bundle", choices=("labs",))
    course.add_argument("file", type=Path, metavar="FILE")


def recalibrate(said: argparse.Namespace, bundle: Bundle) -> int:
    from genomics.labs import recalibrate as made  # noqa: PLC0415 (what answers need not load what learns)

    kept = made.recalibrate(bundle, said.data, said.out, picked=said.picked)
    sys.stdout.write((kept.path / "card.md").read_text("utf-8"))
    return 0


def series(said: argparse.Namespace) -> int:
    from genomics.labs import series as course  # noqa: PLC0415 (nothing else needs it)

    told = course.describe(course.read_series(said.file))
    sys.stdout.write(json.dumps(told, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    return 0
