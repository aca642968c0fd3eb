"""One analysis: every modality present becomes a saved finding, the findings become one assessment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from threading import Event, Thread
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection

from clinic.cases import files, runs
from clinic.cases.models import Analysis, StudyItem
from clinic.cases.models import Finding as SavedFinding
from clinic.monitoring.calibrations import SITE_CALIBRATION, body_of
from clinic.safeguards import halts
from ml.bundle import Bundle, BundleError
from ml.findings import BUNDLE_OF_MODALITY, COMPANION_OF_MODALITY, Finding, QualityFlag
from workers import pictures
from workers.labs_site import recalibration, with_flag
from workers.modalities import MODALITIES, bundle_of, function

PROGRESS_SECONDS = 0.4
QUICK_FIRST = ("labs", "expression", "smear_cell", "smear_field")  # of those that can see APL, seconds before minutes


def analyse(analysis: Analysis) -> None:
    """Run ``analysis`` (claimed) to its assessment. Findings saved by an earlier attempt are used, not made again."""
    with heartbeat(analysis):
        findings = {row.modality: Finding.from_dict(row.body) for row in SavedFinding.objects.filter(analysis=analysis)}
        items = list(analysis.items.all())
        for modality in QUICK_FIRST:
            own = [item for item in items if item.kind == modality]
            if own and modality not in findings:
                halts.check(_bundles_for(modality))
                findings[modality] = _find(analysis, modality, own)
                _alert(analysis, findings, modality)
        halts.check({"fusion"})
        runs.renew(analysis, stage="fusion")
        runs.complete(analysis, fused(analysis, list(findings.values())))


def fused(analysis: Analysis, findings: list[Finding], fusion: Bundle | None = None) -> dict[str, Any]:
    """The assessment of ``findings`` by the frozen fusion bundle (or another), as the site has recalibrated it."""
    bundle, prior, site = _fusion_of(analysis, fusion)
    said: dict[str, Any] = function("ml.fusion:fuse")(findings, bundle, prior=prior).as_dict()
    return said | {"versions": said["versions"] | site}


def _fusion_of(
    analysis: Analysis, fusion: Bundle | None = None
) -> tuple[Bundle, dict[str, float] | None, dict[str, str]]:
    """The fusion bundle with the site's recalibration in it, the prior, and what to say of the recalibration."""
    bundle, prior = fusion or bundle_of(analysis.bundles["fusion"]), analysis.case.patient.site.prior or None
    sha256 = "" if fusion else analysis.bundles.get(SITE_CALIBRATION, "")
    if not sha256:
        return bundle, prior, {}
    site = body_of(sha256)
    if site is None:
        raise BundleError(f"No recalibration of the site has the hash {sha256}.")
    return function("ml.site_fusion:localised")(bundle, site), site["prior"], {"site_calibration": sha256}


def _alert(analysis: Analysis, findings: dict[str, Finding], modality: str) -> None:
    """What cannot wait is said now, before the next modality is read."""
    bundle, prior, _ = _fusion_of(analysis)
    if urgent := function("ml.fusion:first_alert")(list(findings.values()), bundle, prior=prior):
        runs.raise_alerts(analysis, urgent, modality=modality)


def _find(analysis: Analysis, modality: str, items: list[StudyItem]) -> Finding:
    progress = _progress(analysis, modality)
    finding, inputs = finding_of(modality, items, analysis.bundles, progress=progress)
    bundle = bundle_of(analysis.bundles[BUNDLE_OF_MODALITY[modality]])
    artefacts = pictures.of(modality, inputs, finding, bundle, progress) if MODALITIES[modality].many else []
    saved = [(kind, name, files.store_bytes(data), "image/png") for kind, name, data in artefacts]
    runs.save_finding(analysis, finding.as_dict(), saved)
    return finding


def finding_of(
    modality: str,
    items: list[StudyItem],
    bundles: dict[str, str],
    *,
    load: Callable[[StudyItem], Any] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    labs_site: str | None = None,
) -> tuple[Finding, list[tuple[str, Any]]]:
    """What the bundles of these hashes say of ``items``, and the (id, image) that were read, where they are images.

    ``labs_site``: the site's recalibration of labs that is to be used again (``labs_site.used_by``); None: today's.
    """
    how, bundle, load = MODALITIES[modality], bundle_of(bundles[BUNDLE_OF_MODALITY[modality]]), load or loaded
    more = {"progress": progress} if progress else {}
    if how.many:
        inputs = [(f"{item.pk}/{n}", image) for item in items for n, image in enumerate(load(item))]
        return function(how.predict)(inputs, bundle, **more, **_companion(bundles, modality)), inputs
    newest = max(items, key=lambda item: (item.received_at, item.pk))
    local, unfit = recalibration(newest.case.patient.site, bundle, labs_site) if modality == "labs" else ({}, None)
    finding = with_flag(function(how.predict)(load(newest), bundle, **more, **local), unfit)
    return _with_leftovers(finding, newest, items), []


def loaded(item: StudyItem) -> Any:
    """What the reader made of an item, in memory: frames, a table or panels."""
    with files.plain_canonical(item) as folder:
        return function(MODALITIES[item.kind].load)(folder)


def _companion(bundles: dict[str, str], modality: str) -> dict[str, Bundle]:
    """The second bundle that reads these items, where this modality has one and it was active."""
    sha256 = bundles.get(COMPANION_OF_MODALITY.get(modality, ""))
    return {"companion": bundle_of(sha256)} if sha256 else {}


def _with_leftovers(finding: Finding, used: StudyItem, items: list[StudyItem]) -> Finding:
    """Say which files of this kind were not read: one sample answers for the case, the newest."""
    others = [item.filename for item in items if item.pk != used.pk]
    if not others:
        return finding
    message = f"Only the newest file, {used.filename}, was used. Not used: {', '.join(others)}."
    said = asdict(finding) | {"quality": [asdict(q) for q in (*finding.quality, QualityFlag("older_files", message))]}
    return Finding.from_dict(said)


def _bundles_for(modality: str) -> set[str]:
    """Names of the bundles that read this modality: what an emergency stop may name."""
    return {BUNDLE_OF_MODALITY[modality], COMPANION_OF_MODALITY.get(modality, BUNDLE_OF_MODALITY[modality])}


def _progress(analysis: Analysis, modality: str) -> Callable[[int, int, str], None]:
    last = 0.0

    def say(done: int, total: int, stage: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS or done == total:
            last = time.monotonic()
            halts.check(_bundles_for(modality))
            runs.renew(analysis, stage=f"{modality}: {stage or 'reading'}"[:60], done=done, total=total)

    return say


@contextmanager
def heartbeat(analysis: Analysis) -> Iterator[None]:
    """Keep the lease while the work goes on, however long one step takes."""
    stop = Event()

    def beat() -> None:
        while not stop.wait(settings.LEASE_SECONDS / 4):
            try:
                runs.renew(analysis)
            except runs.LeaseLost:
                break
            except DatabaseError:
                continue
        connection.close()

    thread = Thread(target=beat, daemon=True, name=f"heartbeat-{analysis.pk}")
    if not settings.TASKS_INLINE:  # there, one transaction holds the only writer
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
