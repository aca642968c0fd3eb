"""A site's own recalibration of labs, where its folder holds one: ``settings.LABS_SITES``/<site code>.

It is what ``python -m genomics recalibrate labs --out`` wrote. The finding names it with its hash; one that was made
for another bundle, or was changed since, is not used, and the finding says so. What has spoken once is kept by its
hash (KEPT), so that the answer can be made again after the site has another.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings

from clinic.accounts.models import Site
from genomics.labs.site import read_site
from ml.bundle import Bundle, BundleError
from ml.findings import Finding, InputRejected, QualityFlag

UNFIT = "site_recalibration_unfit"
KEPT = ".kept"


def recalibration(site: Site, bundle: Bundle, used: str | None = None) -> tuple[dict[str, Any], QualityFlag | None]:
    """(what ``predict`` is to be called with beside panel and bundle, what a reader has to know of it).

    ``used``: the reference of the one that an earlier answer names, "" where it names none; None for today's.
    """
    folder = settings.LABS_SITES / site.code if used is None else settings.LABS_SITES / KEPT / _hash_of(used)
    if used == "" or (used is None and not folder.is_dir()):
        return {}, None
    try:
        local = read_site(folder, bundle)
    except (BundleError, InputRejected, KeyError) as unfit:
        why = unfit.problem if isinstance(unfit, InputRejected) else "Its files are not as they were written."
        message = f"The recalibration of {site.code} was not used: {why} The answer is the shipped model's own."
        return {}, QualityFlag(UNFIT, message)
    _keep(folder, settings.LABS_SITES / KEPT / _hash_of(local.reference))
    return {"site": local}, None


def used_by(finding: dict[str, Any]) -> str | None:
    """The reference that a stored finding names, "" for none; None where it says that one did not fit."""
    if any(flag["code"] == UNFIT for flag in finding["quality"]):
        return None
    return str((finding["explanation"].get("site") or {}).get("reference", ""))


def _hash_of(reference: str) -> str:
    return reference.rpartition("#")[2]


def _keep(folder: Path, kept: Path) -> None:
    if kept.is_dir():
        return
    kept.parent.mkdir(exist_ok=True)
    copy = Path(tempfile.mkdtemp(dir=kept.parent)) / "copy"
    shutil.copytree(folder, copy)
    with suppress(OSError):  # another worker was quicker: the same files
        copy.rename(kept)
    shutil.rmtree(copy.parent)


def with_flag(finding: Finding, flag: QualityFlag | None) -> Finding:
    if flag is None:
        return finding
    return Finding.from_dict(asdict(finding) | {"quality": [asdict(q) for q in (*finding.quality, flag)]})
