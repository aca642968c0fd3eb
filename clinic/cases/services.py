"""What happens to a case before and around its analysis. ``by`` is the one who acts."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.canonical import canonical_json
from clinic.cases import files, runs, triage
from clinic.cases.dispatch import RUN_ANALYSIS, VALIDATE_ITEM, send
from clinic.cases.models import LIVE, Analysis, Case, ItemKind, ItemStatus, Stage, StudyItem
from clinic.cases.moves import move
from clinic.errors import Conflict, InvalidInput, TooLarge
from clinic.monitoring.calibrations import calibration_of
from clinic.registry.models import BundleStatus, ModelBundle
from clinic.safeguards import halts
from ml.findings import BUNDLE_OF_MODALITY

HISTORY_MAX_BYTES = 100_000
OPTIONS_MAX_BYTES = 10_000
FUSION = "fusion"


@transaction.atomic
def open_case(*, patient, title="", history="", accession="", stage=Stage.DIAGNOSIS, follows=None, by):
    """``follows``: the earlier case of this patient that a follow-up or a suspected relapse belongs to, if known.

    Raises Conflict where the site has a case with this accession number already, InvalidInput for a link that is none.
    """
    require(by, "case.create", patient.site, obj=patient)
    _check_link(patient, stage, follows)
    said = {"title": title, "history": history, "accession": accession.strip(), "stage": stage, "follows": follows}
    try:
        with transaction.atomic():
            case = Case.objects.create(patient=patient, site=patient.site, created_by=by, **said)
    except IntegrityError as error:
        problem = f"There is already a case with the accession number {said['accession']} at this site."
        raise Conflict("accession_exists", problem, "Open that case, or correct it.", place="accession") from error
    record(Action.CASE_CREATE, by=by, obj=case, after=said | {"follows": follows.pk if follows else None})
    return case


def _check_link(patient, stage, follows):
    if stage not in Stage.values:
        known = ", ".join(Stage.values)
        raise InvalidInput("unknown_stage", f"There is no stage {stage!r}.", f"Use {known}.", place="stage")
    if follows and follows.patient_id != patient.pk:
        problem = "The earlier case is another patient's."
        raise InvalidInput("other_patient", problem, "Name a case of this patient.", place="follows")
    if follows and stage == Stage.DIAGNOSIS:
        problem = "A case at diagnosis follows no other."
        raise InvalidInput("no_link", problem, "Call it a follow-up or a suspected relapse.", place="follows")


@transaction.atomic
def edit_case(*, case, changes, by):
    """Change the title or the history (``changes``: field → value)."""
    require(by, "case.create", case.patient.site, obj=case)
    before = {name: getattr(case, name) for name in changes}
    for name, value in changes.items():
        setattr(case, name, value)
    case.save(update_fields=list(changes))
    record(Action.CASE_EDIT, by=by, obj=case, detail={"fields": sorted(changes)}, before=before, after=changes)
    return case


def receive_item(*, case, file, filename, kind, options=None, by):
    """Keep one file of a case and have it checked. ``file`` gives its bytes in chunks (any iterable of bytes).

    Raises InvalidInput (unknown kind, empty, too large, unreadable history) and Conflict (this file is in the case).
    """
    require(by, "item.upload", case.patient.site, obj=case)
    name = files.display_name(filename)
    _check_kind(kind)
    options = _checked_options(options or {})
    chunks, status, summary = file, ItemStatus.RECEIVED, {}
    if kind == ItemKind.HISTORY:
        chunks, summary = _read_history(file, name)
        status = ItemStatus.VALID
    sha256, size = files.store(chunks, place=name)
    with transaction.atomic():
        item = _create_item(
            case=case,
            kind=kind,
            filename=name,
            sha256=sha256,
            size=size,
            options=options,
            status=status,
            summary=summary,
            checked_at=timezone.now() if summary else None,
            received_by=by,
        )
        triage.refresh(case.pk)
        record(Action.ITEM_RECEIVE, by=by, obj=item, detail={"kind": kind, "sha256": sha256, "size": size})
        if status == ItemStatus.RECEIVED:
            send(VALIDATE_ITEM, str(item.pk))
    return item


def _create_item(**fields):
    try:
        with transaction.atomic():
            return StudyItem.objects.create(**fields)
    except IntegrityError as error:
        same = StudyItem.objects.filter(case=fields["case"], kind=fields["kind"], sha256=fields["sha256"])
        there = same.exclude(status=ItemStatus.REJECTED).get()
        problem = f"This file is already in the case, as {there.filename} (item {there.pk})."
        raise Conflict("duplicate_item", problem, "Nothing to do.", place=fields["filename"]) from error


def _check_kind(kind):
    if kind not in ItemKind.values:
        known = ", ".join(ItemKind.values)
        raise InvalidInput("unknown_kind", f"There is no kind of item called {kind!r}.", f"Use {known}.", place="kind")


def _checked_options(options):
    try:
        fits = isinstance(options, dict) and len(canonical_json(options)) <= OPTIONS_MAX_BYTES
    except ValueError:  # NaN, an endless number, half a character
        fits = False
    if not fits:
        problem = "Options must be a small JSON object of plain values."
        raise InvalidInput("bad_options", problem, 'For example {"sample": "P1"}.', place="options")
    return options


def _read_history(file, name):
    data = b""
    for chunk in file:
        data += chunk
        if len(data) > HISTORY_MAX_BYTES:
            problem = f"A clinical history may have {HISTORY_MAX_BYTES // 1000} kB."
            raise TooLarge("too_large", problem, "Send the part that matters.", place=name)
    try:
        text = data.decode("utf-8-sig")
        readable = "\0" not in text and not data.startswith(b"%PDF")
    except UnicodeDecodeError:
        readable = False
    if not readable:
        problem = "A clinical history must be plain text in UTF-8; this file is something else."
        raise InvalidInput("not_text", problem, "Save it as a text file (.txt, UTF-8) and send that.", place=name)
    return [data], {"characters": len(text)}


@transaction.atomic
def accept_item(*, item, summary):
    """The reader could use it; ``summary`` is what it saw. False where the item was judged already."""
    moved = move(item, expect=[ItemStatus.RECEIVED], to=ItemStatus.VALID, summary=summary, checked_at=timezone.now())
    if moved:
        triage.refresh(item.case_id)
        record(Action.ITEM_ACCEPT, obj=item, after=summary)
    return moved


@transaction.atomic
def reject_item(*, item, rejection):
    """The reader could not use it; ``rejection`` has code, place, problem and remedy. False where judged already."""
    moved = move(
        item, expect=[ItemStatus.RECEIVED], to=ItemStatus.REJECTED, rejection=rejection, checked_at=timezone.now()
    )
    if moved:
        triage.refresh(item.case_id)
        record(Action.ITEM_REJECT, obj=item, detail={"code": rejection["code"]}, after=rejection)
    return moved


@transaction.atomic
def request_analysis(*, case, by):
    """Queue one run over the case's valid items and the bundles active now; both are frozen here.

    Raises Conflict where items are still being checked, none is usable, a run is live, or no model is active.
    """
    require(by, "analysis.request", case.patient.site, obj=case)
    items = list(case.items.filter(status=ItemStatus.VALID))
    _check_items(case, items)
    bundles = _active_bundles({item.kind for item in items}) | calibration_of(case.patient.site)
    try:
        with transaction.atomic():
            analysis = Analysis.objects.create(case=case, bundles=bundles, requested_by=by)
    except IntegrityError as error:
        running = case.analyses.get(status__in=LIVE)
        problem = f"An analysis of this case is already {running.status} ({running.pk})."
        raise Conflict("analysis_running", problem, "Wait for it, or cancel it.", place="case") from error
    analysis.items.set(items)
    said = {"items": {str(item.pk): item.sha256 for item in items}, "bundles": bundles}
    triage.refresh(case.pk)
    record(Action.ANALYSIS_REQUEST, by=by, obj=analysis, detail=said)
    send(RUN_ANALYSIS, str(analysis.pk))
    return analysis


def cancel_analysis(*, analysis, by):
    """Stop a live run. Raises Conflict where it has ended already."""
    require(by, "analysis.request", analysis.case.patient.site, obj=analysis)
    if not runs.cancel(analysis, by=by):
        raise Conflict("analysis_ended", "This analysis has already ended.", "There is nothing to cancel.")


def _check_items(case, items):
    unchecked = case.items.filter(status=ItemStatus.RECEIVED).count()
    if unchecked:
        problem = f"{unchecked} item(s) of this case are still being checked."
        raise Conflict("items_unchecked", problem, "Wait a few seconds and try again.", place="items")
    if not any(item.kind in BUNDLE_OF_MODALITY for item in items):
        problem = "This case has no usable image, expression table or laboratory values."
        raise Conflict("nothing_to_analyse", problem, "Add at least one; a history alone is not enough.", place="items")


def _active_bundles(kinds):
    """Bundle name → SHA-256 of every active bundle; refuses where one that is needed is halted or not active."""
    active = dict(ModelBundle.objects.filter(status=BundleStatus.ACTIVE).values_list("name", "sha256"))
    needed = {BUNDLE_OF_MODALITY[kind] for kind in kinds & BUNDLE_OF_MODALITY.keys()} | {FUSION}
    halts.check(needed)
    if missing := sorted(needed - active.keys()):
        problem = f"No model is active for: {', '.join(missing)}."
        raise Conflict("no_model", problem, "An administrator must activate one (models page).", place="bundles")
    return active
