"""The report: drafted from an assessment, signed by a clinician, amended by a new version. None is ever changed."""

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from clinic.accounts.access import require
from clinic.accounts.login import prove_again
from clinic.audit.anchors import anchor_head
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.canonical import digest, plain
from clinic.cases import triage
from clinic.cases.models import Artefact, Assessment, AssessmentStatus, Decision, Report, SignOff
from clinic.errors import Conflict, InvalidInput
from clinic.interop.webhooks.outbox import publish
from clinic.notices.services import settle
from clinic.registry.models import ModelBundle
from ml.diagnosis_tree import load_tree

STATEMENT = "Decision support. A clinician reviews and signs."
MEANINGS = {
    (Decision.AGREE, AssessmentStatus.ASSESSED): "I have reviewed this report and agree with its assessment.",
    (Decision.AGREE, AssessmentStatus.ABSTAINED): (
        "I have reviewed this report and agree that no assessment can be made from it; I state no diagnosis."
    ),
    (Decision.OVERRIDE, AssessmentStatus.ASSESSED): (
        "I have reviewed this report; my own diagnosis stands in place of its assessment."
    ),
    (Decision.OVERRIDE, AssessmentStatus.ABSTAINED): (
        "I have reviewed this report, which makes no assessment; the diagnosis is my own."
    ),
}


def assessment_of(case):
    """The newest assessment of the case: the only one that is reported and signed. Raises Conflict where none is."""
    newest = Assessment.objects.filter(analysis__case=case).order_by("-pk").first()
    if newest is None:
        problem = "This case has no assessment yet."
        raise Conflict("no_assessment", problem, "Request an analysis and wait for its end.", place="case")
    return newest


def _check_newest(assessment):
    if assessment != assessment_of(assessment.analysis.case):
        problem = "There is a newer assessment of this case."
        raise Conflict("assessment_superseded", problem, "Report that one instead.", place="assessment")


@transaction.atomic
def draft_report(*, assessment, by):
    """The next version of the case's report, from this assessment, with all that it says frozen into it."""
    case = assessment.analysis.case
    require(by, "analysis.request", case.patient.site, obj=case)
    _check_newest(assessment)
    last = case.reports.select_related("sign_off").order_by("-version").first()
    if last and hasattr(last, "sign_off"):
        raise Conflict("report_signed", "The report of this case is signed.", "Amend it, with a reason.", place="case")
    if last and last.assessment_id == assessment.pk:
        problem = f"There is already an unsigned report of this assessment (version {last.version})."
        raise Conflict("report_drafted", problem, "Sign that one.", place="assessment")
    report = _write(assessment, by=by)
    record(Action.REPORT_DRAFT, by=by, obj=report, detail={"version": report.version}, after=report.body)
    return report


@transaction.atomic
def amend(*, report, reason, by):
    """A new version in place of a signed one, from the newest assessment of the case; to be signed too."""
    require(by, "report.sign", report.case.patient.site, obj=report)
    if not reason.strip():
        raise InvalidInput("missing", "An amendment needs a reason.", "Say what changes and why.", place="reason")
    if not hasattr(report, "sign_off"):
        raise Conflict("report_unsigned", "This report is not signed.", "Sign it, or draft a new one.", place="report")
    if hasattr(report, "amended_by"):
        raise Conflict("report_amended", f"Version {report.amended_by.version} already amends it.", "Open that one.")
    amendment = _write(assessment_of(report.case), by=by, amends=report, amendment_reason=reason.strip())
    said = {"version": amendment.version, "amends": str(report.pk), "reason": amendment.amendment_reason}
    record(Action.REPORT_AMEND, by=by, obj=amendment, detail=said, before=report.body, after=amendment.body)
    return amendment


def sign(*, report, by, password, decision, diagnosis="", reason="", code=""):
    """Sign the newest version, with the signer's proof of identity asked again (see prove_again).

    To agree with an assessment states its diagnosis; to agree with an abstention states none, and the signature says
    so. To state any other diagnosis is to override, which needs a reason.
    """
    require(by, "report.sign", report.case.patient.site, obj=report)
    factors = prove_again(by=by, password=password, code=code, act="report.sign", obj=report)
    assessment = report.assessment
    diagnosis = _stated_diagnosis(assessment, decision, diagnosis, reason)
    with transaction.atomic():
        _check_signable(report)
        sign_off = _sign_once(
            report=report,
            by=by,
            signer=by.display_name,
            at=timezone.now(),
            decision=decision,
            diagnosis=diagnosis,
            reason=reason.strip(),
            meaning=MEANINGS[decision, assessment.status],
            report_digest=report.digest,
        )
        said = {"decision": decision, "diagnosis": diagnosis, "report_digest": report.digest, "factors": factors}
        said["assessment_digest"] = assessment.digest
        triage.refresh(report.case_id)
        settle(report.case)
        publish("report.signed", case=report.case, report=report.pk)
        record(Action.REPORT_SIGN, by=by, obj=report, detail=said, after=report.body)
        transaction.on_commit(anchor_head, robust=True)  # the log's head is signed whenever a report is
    return sign_off


def _stated_diagnosis(assessment, decision, diagnosis, reason):
    if decision not in Decision.values:
        raise InvalidInput("unknown_decision", "Agree, or override.", place="decision")
    if diagnosis and diagnosis not in load_tree().nodes:
        problem = "The diagnosis tree has no such diagnosis."
        raise InvalidInput("unknown_diagnosis", problem, "Choose one from the list.", place="diagnosis")
    if decision == Decision.OVERRIDE:
        for field, said in (("diagnosis", diagnosis), ("reason", reason.strip())):
            if not said:
                raise InvalidInput("missing", f"To override needs a {field}.", "Give it, or agree.", place=field)
        return diagnosis
    if diagnosis not in ("", assessment.answer):
        problem = "This is not the diagnosis of the report."
        raise InvalidInput("other_diagnosis", problem, "To state another one, override.", place="diagnosis")
    return assessment.answer


def _check_signable(report):
    _check_newest(report.assessment)
    newest = report.case.reports.aggregate(newest=Max("version"))["newest"]
    if report.version != newest:
        raise Conflict("report_superseded", f"Version {newest} has taken its place.", "Open that one.", place="report")
    if digest(report.body) != report.digest:
        problem = "The text of this report is not the one that was drafted."
        raise Conflict("report_changed", problem, "Do not sign; tell your administrator.", place="report")


def _sign_once(**fields):
    try:
        with transaction.atomic():
            return SignOff.objects.create(**fields)
    except IntegrityError as error:
        raise Conflict("report_signed", "This report is signed already.", "Open it again.", place="report") from error


def _write(assessment, *, by, amends=None, amendment_reason=""):
    case = assessment.analysis.case
    version = (case.reports.aggregate(newest=Max("version"))["newest"] or 0) + 1
    amendment = {"amends_version": amends.version, "reason": amendment_reason} if amends else None
    body = plain(_body(assessment, version) | {"amendment": amendment})
    try:
        with transaction.atomic():
            return Report.objects.create(
                case=case,
                assessment=assessment,
                version=version,
                body=body,
                digest=digest(body),
                amends=amends,
                amendment_reason=amendment_reason,
                created_by=by,
            )
    except IntegrityError as error:
        raise Conflict("report_drafted", "Somebody drafted this version just now.", "Open the case again.") from error


def _body(assessment, version):
    analysis = assessment.analysis
    case, patient = analysis.case, analysis.case.patient
    return {
        "statement": STATEMENT,
        "version": version,
        "created": timezone.now(),
        "site": {"code": patient.site.code, "name": patient.site.name},
        "patient": {
            "id": patient.pk,
            **{name: getattr(patient, name) for name in ("name", "mrn", "birth_date", "sex", "synthetic")},
        },
        "case": {"id": case.pk, "title": case.title, "history": case.history, "opened": case.created_at},
        "analysis": {"id": analysis.pk, "requested": analysis.requested_at, "finished": analysis.finished_at},
        "items": list(analysis.items.values("id", "kind", "filename", "sha256", "size", "received_at")),
        "findings": list(analysis.findings.values_list("body", flat=True)),
        "pictures": _pictures_of(analysis),
        "assessment": assessment.body,
        "assessment_digest": assessment.digest,
        "bundles": [_bundle_facts(bundle) for bundle in _bundles_of(analysis)],
    }


def _pictures_of(analysis):
    """The explanation pictures, those of whole images first: which finding and image each is of, and its hash."""
    rows = Artefact.objects.filter(finding__analysis=analysis).select_related("finding").order_by("kind", "name")
    return [
        {"id": row.pk, "modality": row.finding.modality, "kind": row.kind, "name": row.name, "sha256": row.sha256}
        for row in rows
    ]


def companions(findings):
    """Hashes of the bundles that a finding's explanation names beside its own."""
    said = (row.body.get("explanation", {}).get("white_cells") for row in findings)
    return [cells["bundle_sha256"] for cells in said if cells]


def _bundles_of(analysis):
    """The bundles that spoke: those of the findings, and the one that fused them."""
    findings = list(analysis.findings.all())
    spoke = [*(row.bundle_sha256 for row in findings), *companions(findings), analysis.bundles.get("fusion", "")]
    return ModelBundle.objects.filter(sha256__in=spoke).order_by("name")


def _bundle_facts(bundle):
    facts = {name: bundle.manifest.get(name) for name in ("limits", "intended_use", "licence", "data")}
    return {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256, **facts}
