"""An analysis made again from the stored inputs and bundles, and compared with what the audit log says."""

import argparse
import json
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from clinic.audit.context import acting
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.models import Analysis
from workers.replay import replay


class Command(BaseCommand):
    help = (
        "Recompute an analysis and compare. Exit status 0: the same came out. 1: it did not, and what differs is named."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("analysis", type=uuid.UUID)
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, analysis: uuid.UUID, **said: Any) -> None:
        row = Analysis.objects.select_related("case__patient__site").filter(pk=analysis).first()
        if row is None or not hasattr(row, "assessment"):
            raise CommandError(f"There is no analysis {analysis} with an assessment.", returncode=2)
        with acting(f"replay {analysis}"):
            result = replay(row)
            with transaction.atomic():
                record(Action.ANALYSIS_REPLAY, obj=row, detail={name: result[name] for name in ("same", "differences")})
        self.stdout.write(json.dumps(result) if said["json"] else readable(result))
        if not result["same"]:
            raise SystemExit(1)


def readable(result: dict[str, Any]) -> str:
    head = "The same came out" if result["same"] else "Something else came out"
    lines = [f"{head}{', to the last bit' if result.get('exact') else ''}."]
    lines += [f"  {line}" for line in result["differences"]]
    lines += [f"  input   {pk} {sha256}" for pk, sha256 in result.get("items", {}).items()]
    lines += [f"  bundle  {name} {sha256}" for name, sha256 in result.get("bundles", {}).items()]
    lines += [f"  review  {said['at']} {said['reviewer']}: {said['decision']} {said['diagnosis']}" for said in
              result.get("reviews", [])]  # fmt: skip
    return "\n".join(lines)
