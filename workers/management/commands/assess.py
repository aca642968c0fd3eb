"""The whole job without a server: the same services and the same tasks, run in this process."""

import argparse
import json
import sys
import uuid
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import BaseCommand, CommandError

from clinic.accounts.models import Membership, Role, Site, User
from clinic.cases import dispatch, services
from clinic.cases.models import Analysis, AnalysisStatus, Assessment, Case, Finding, ItemKind, ItemStatus, StudyItem
from clinic.errors import MarrowError
from clinic.patients.services import register_patient
from ml.findings import MODALITIES

KIND_OF_OPTION = {
    "image": ItemKind.SMEAR_FIELD,
    "cell": ItemKind.SMEAR_CELL,
    "expression": ItemKind.EXPRESSION,
    "labs": ItemKind.LABS,
}
KEYS = ("modality", "bundle", "label", "probabilities", "in_scope", "quality", "reasons")
SAID = (  # of the assessment, as it is stored
    "status",
    "answer",
    "prediction_set",
    "prediction_sets",
    "not_assessed",
    "probabilities",
    "discordance",
    "reasons",
    "urgent",
    "next_tests",
    "waterfall",
    "counterfactual",
    "trace",
    "inputs_sha256",
    "versions",
)


class Command(BaseCommand):
    help = "Assess one case from files: smear fields, single cells, an expression table, a lab panel."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--image", nargs="+", action="extend", default=[], metavar="F", help="smear field images")
        parser.add_argument("--cell", nargs="+", action="extend", default=[], metavar="F", help="single-cell images")
        parser.add_argument("--expression", metavar="F", help="expression table")
        parser.add_argument("--labs", metavar="F", help="lab panel (CSV or JSON)")
        parser.add_argument("--sample", help="which sample of a table that holds several")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **said: Any) -> None:
        wanted = [(KIND_OF_OPTION[o], Path(f)) for o in ("image", "cell") for f in said[o]]
        wanted += [(KIND_OF_OPTION[o], Path(said[o])) for o in ("expression", "labs") if said[o]]
        if not wanted:
            remedy = "Name at least one of --image, --cell, --expression, --labs."
            raise CommandError(f"Nothing to assess. {remedy}", returncode=2)
        options = {"sample": said["sample"]} if said["sample"] else {}
        try:
            with dispatch.inline():
                result = _assess(wanted, options)
        except MarrowError as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(json.dumps(result) if said["json"] else _readable(result))


def _assess(wanted: list[tuple[ItemKind, Path]], options: dict[str, Any]) -> dict[str, Any]:
    by = _command_line_user()
    site = Site.objects.get(memberships__user=by)
    patient = register_patient(site=site, mrn=f"CLI-{uuid.uuid4()}", name="Command line", by=by)
    case = services.open_case(patient=patient, title="Assessed on the command line", history="", by=by)
    items = [_receive(case, path, kind, options, by) for kind, path in wanted]
    rejected = [item for item in items if item.status == ItemStatus.REJECTED]
    if rejected:
        sys.exit(_explain(rejected))
    analysis = services.request_analysis(case=case, by=by)
    analysis.refresh_from_db()
    if analysis.status != AnalysisStatus.SUCCEEDED:
        raise CommandError(f"{analysis.failure_code}: {analysis.failure_message}", returncode=1)
    return _result(analysis)


def _command_line_user() -> User:
    site, _ = Site.objects.get_or_create(code="command-line", defaults={"name": "Command line"})
    user, made = User.objects.get_or_create(username="command-line")
    if made:
        user.set_unusable_password()
        user.save(update_fields=["password"])
        Membership.objects.create(user=user, site=site, role=Role.TECHNICIAN)
    return user


def _receive(case: Case, path: Path, kind: ItemKind, options: dict[str, Any], by: User) -> StudyItem:
    if not path.is_file():
        raise CommandError(f"{path}: no such file. Check the path.", returncode=2)
    with path.open("rb") as stream:
        own = options if kind in {ItemKind.EXPRESSION, ItemKind.LABS} else {}
        item = services.receive_item(
            case=case, file=File(stream).chunks(), filename=path.name, kind=kind, options=own, by=by
        )
    item.refresh_from_db()
    return item


def _explain(rejected: list[StudyItem]) -> int:
    for item in rejected:
        said = item.rejection
        sys.stderr.write(f"{item.filename}: {said['code']}: {said['place']}: {said['problem']} {said['remedy']}\n")
    return 2


def _result(analysis: Analysis) -> dict[str, Any]:
    body = Assessment.objects.get(analysis=analysis).body
    saved = {finding.modality: finding.body for finding in Finding.objects.filter(analysis=analysis)}
    findings = [{key: saved[modality][key] for key in KEYS} for modality in MODALITIES if modality in saved]
    said = {key: body[key] for key in SAID} | {"findings": findings}
    return said | {"case": str(analysis.case.pk), "analysis": str(analysis.pk)}


def _readable(result: dict[str, Any]) -> str:
    answer = result["answer"]
    head = f"{answer['name']} ({answer['probability']:.1%})" if answer else "No answer: the assessment abstains"
    lines = [head, "Decision support. A clinician reviews and signs."]
    lines += ["Prediction set: " + ", ".join(result["prediction_set"])]
    line = "  {modality}: {label} (in scope {in_scope:.2f}, {bundle})"
    lines += [line.format(**finding) for finding in result["findings"]]
    lines += [f"! {said['message']}" for key in ("urgent", "discordance", "reasons") for said in result[key]]
    return "\n".join(lines)
