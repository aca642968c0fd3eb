"""A site's own recalibration of labs, where its folder holds one: ``settings.LABS_SITES``/<site code>.

It is what ``python -m genomics recalibrate labs --out`` wrote. The finding names it with its hash; one that was made
for another bundle, or was changed since, is not used, and the finding says so.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.conf import settings

from clinic.accounts.models import Site
from genomics.labs.site import read_site
from ml.bundle import Bundle, BundleError
from ml.findings import Finding, InputRejected, QualityFlag

UNFIT = "site_recalibration_unfit"


def recalibration(site: Site, bundle: Bundle) -> tuple[dict[str, Any], QualityFlag | None]:
    """(what ``predict`` is to be called with beside panel and bundle, what a reader has to know of it)."""
    folder = settings.LABS_SITES / site.code
    if not folder.is_dir():
        return {}, None
    try:
        return {"site": read_site(folder, bundle)}, None
    except (BundleError, InputRejected, KeyError) as unfit:
        why = unfit.problem if isinstance(unfit, InputRejected) else "Its files are not as they were written."
        message = f"The recalibration of {site.code} was not used: {why} The answer is the shipped model's own."
        return {}, QualityFlag(UNFIT, message)


def with_flag(finding: Finding, flag: QualityFlag | None) -> Finding:
    if flag is None:
        return finding
    return Finding.from_dict(asdict(finding) | {"quality": [asdict(q) for q in (*finding.quality, flag)]})
