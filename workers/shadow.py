"""Bundles that run in shadow: they read what an ended analysis has read, and what they say is kept for comparison."""

from __future__ import annotations

import logging

from django.db import transaction

from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.models import Analysis, AnalysisStatus
from clinic.cases.models import Finding as SavedFinding
from clinic.monitoring.models import ShadowResult
from clinic.registry.models import BundleStatus, ModelBundle
from ml.findings import BUNDLE_OF_MODALITY, Finding
from workers.analysis import fused, loaded
from workers.modalities import MODALITIES, bundle_of, function

logger = logging.getLogger(__name__)


def run_shadows(analysis: Analysis) -> None:
    """Once for each bundle in shadow. A failure is a result of its own: it concerns the registry, never the case."""
    if analysis.status != AnalysisStatus.SUCCEEDED:
        return
    for row in ModelBundle.objects.filter(status=BundleStatus.SHADOW).order_by("name"):
        if not ShadowResult.objects.filter(analysis=analysis, bundle_sha256=row.sha256).exists():
            _run_one(analysis, row)


def _run_one(analysis: Analysis, row: ModelBundle) -> None:
    try:
        said = _read_along(analysis, row)
    except Exception as error:
        logger.exception("analysis %s: the shadow %s failed", analysis.pk, row.reference)
        said = {"error": f"{type(error).__name__} in {row.reference}; the log has the details."}
    if said is None:
        return
    with transaction.atomic():
        result = ShadowResult.objects.create(analysis=analysis, bundle=row.reference, bundle_sha256=row.sha256, **said)
        told = {"bundle": row.reference, "sha256": row.sha256, "failed": bool(result.error)}
        record(Action.SHADOW_RUN, obj=result, case=analysis.case, detail=told, after=result.assessment)


def _read_along(analysis: Analysis, shadow: ModelBundle) -> dict[str, object] | None:
    """What the bundle says in place of the one that spoke; None where the analysis has nothing for it."""
    bundle = bundle_of(shadow.sha256)
    findings = {
        saved.modality: Finding.from_dict(saved.body) for saved in SavedFinding.objects.filter(analysis=analysis)
    }
    finding = None
    if shadow.name != "fusion":
        modality = next(m for m, name in BUNDLE_OF_MODALITY.items() if name == shadow.name)
        if modality not in findings:
            return None
        finding = findings[modality] = _predict(analysis, modality, shadow.sha256)
    assessment = fused(analysis, list(findings.values()), bundle if shadow.name == "fusion" else None)
    answer = assessment["answer"]
    return {
        "finding": finding.as_dict() if finding else None,
        "assessment": assessment,
        "answer": answer["node"] if answer else "",
    }


def _predict(analysis: Analysis, modality: str, sha256: str) -> Finding:
    how, items = MODALITIES[modality], list(analysis.items.filter(kind=modality))
    if how.many:
        inputs = [(f"{item.pk}/{n}", image) for item in items for n, image in enumerate(loaded(item))]
    else:
        inputs = loaded(max(items, key=lambda item: (item.received_at, item.pk)))
    said: Finding = function(how.predict)(inputs, bundle_of(sha256))
    return said
