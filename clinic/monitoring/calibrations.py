"""A site's recalibrations of the fusion: adopted, refused, undone. Each is a version; none is ever changed."""

from django.db import transaction
from django.db.models import Max

from clinic.accounts.access import require
from clinic.accounts.models import Site
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.canonical import digest, plain
from clinic.cases.dispatch import RECALIBRATE_SITE, send
from clinic.cases.models import SignOff
from clinic.cases.moves import move
from clinic.errors import Conflict, InvalidInput
from clinic.monitoring.models import CalibrationStatus, SiteCalibration
from clinic.registry.models import BundleStatus, ModelBundle


def signed_cases(site):
    """(findings' bodies, signed node) of each case of ``site`` by its newest signature that states a diagnosis."""
    signed = SignOff.objects.filter(report__case__patient__site=site).exclude(diagnosis="")
    newest = {}
    for sign_off in signed.select_related("report__assessment").order_by("at"):
        newest[sign_off.report.case_id] = sign_off
    for sign_off in newest.values():
        findings = sign_off.report.assessment.analysis.findings.values_list("body", flat=True)
        yield list(findings), sign_off.diagnosis


SITE_CALIBRATION = "site-calibration"  # its name among the bundles that an analysis freezes


def active_calibration(site):
    return site.calibrations.filter(status=CalibrationStatus.ACTIVE).first()


def calibration_of(site):
    """{SITE_CALIBRATION: SHA-256} of the site's active recalibration of the active fusion; empty where there is none.

    One that was learned for another fusion bundle does not speak: its numbers mean nothing there.
    """
    row = active_calibration(site)
    active = ModelBundle.objects.filter(name="fusion", status=BundleStatus.ACTIVE).values_list("sha256", flat=True)
    fits = row and row.body["fusion"]["sha256"] in active
    return {SITE_CALIBRATION: row.sha256} if fits else {}


def body_of(sha256):
    """What the recalibration with this digest has learned; None where it is not known or no longer what it was."""
    row = SiteCalibration.objects.filter(sha256=sha256).first()
    return row.body if row and digest(row.body) == sha256 else None


@transaction.atomic
def ask_recalibration(*, site, by):
    """Have a worker learn from the site's signed cases; the outcome is the newest of its calibrations."""
    require(by, "model.manage", site, obj=site)
    record(Action.CALIBRATION_REQUEST, by=by, obj=site, site=site)
    send(RECALIBRATE_SITE, str(site.pk), str(by.pk))


@transaction.atomic
def adopt(*, site, body, by=None):
    """Let a recalibration speak from the site's next analysis on. ``body``: see ml.site_fusion.recalibrate."""
    body = plain(body)
    site = Site.objects.select_for_update().get(pk=site.pk)
    before = active_calibration(site)
    if before:
        move(before, expect=[CalibrationStatus.ACTIVE], to=CalibrationStatus.SUPERSEDED)
    row = _write(site, by, status=CalibrationStatus.ACTIVE, body=body, sha256=digest(body))
    said = {"calibration": row.reference, "sha256": row.sha256, "in place of": before.reference if before else ""}
    record(Action.CALIBRATION_ADOPT, by=by, obj=row, site=site, detail=said, after=body)
    return row


@transaction.atomic
def refuse(*, site, code, reason, by=None):
    """Keep that a recalibration was tried and what spoke against it."""
    site = Site.objects.select_for_update().get(pk=site.pk)
    row = _write(site, by, status=CalibrationStatus.REFUSED, reason=reason)
    record(Action.CALIBRATION_REFUSE, by=by, obj=row, site=site, detail={"calibration": row.reference, "why": code})
    return row


@transaction.atomic
def undo(*, site, reason, by):
    """Take the active recalibration back; the one that it superseded speaks again. Returns that, or None."""
    require(by, "model.manage", site, obj=site)
    if not reason.strip():
        raise InvalidInput("missing", "To undo a recalibration needs a reason.", "Give it.", place="reason")
    row = active_calibration(site)
    if row is None or not move(
        row, expect=[CalibrationStatus.ACTIVE], to=CalibrationStatus.UNDONE, reason=reason.strip()
    ):
        raise Conflict("no_calibration", "This site has no active recalibration.", "There is nothing to undo.")
    earlier = site.calibrations.filter(status=CalibrationStatus.SUPERSEDED).order_by("-version").first()
    if earlier:
        move(earlier, expect=[CalibrationStatus.SUPERSEDED], to=CalibrationStatus.ACTIVE)
    said = {"calibration": row.reference, "reason": row.reason, "now": earlier.reference if earlier else ""}
    record(Action.CALIBRATION_UNDO, by=by, obj=row, site=site, detail=said)
    return earlier


def _write(site, by, **fields):
    newest = site.calibrations.aggregate(newest=Max("version"))["newest"] or 0
    return SiteCalibration.objects.create(site=site, version=newest + 1, created_by=by, **fields)
