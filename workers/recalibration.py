"""From a site's signed cases to its recalibration of the fusion: learned here, because rows meet models here."""

from __future__ import annotations

from clinic.accounts.models import Site, User
from clinic.monitoring import calibrations
from clinic.monitoring.models import SiteCalibration
from clinic.registry.models import BundleStatus, ModelBundle
from ml.findings import Finding
from ml.site_fusion import SignedCase, TooLittle, recalibrate
from workers.modalities import bundle_of


def recalibrate_site(site: Site, by: User | None = None) -> SiteCalibration:
    """Learn from the signed cases of ``site`` and adopt what was learned, or keep why it was refused."""
    fusion = ModelBundle.objects.filter(name="fusion", status=BundleStatus.ACTIVE).first()
    if fusion is None:
        return calibrations.refuse(site=site, code="no_fusion", reason="No fusion bundle is active.", by=by)
    cases = [
        SignedCase(tuple(Finding.from_dict(body) for body in bodies), node)
        for bodies, node in calibrations.signed_cases(site)
    ]
    try:
        body = recalibrate(cases, bundle_of(fusion.sha256), site.prior or None)
    except TooLittle as refusal:
        return calibrations.refuse(site=site, code=refusal.code, reason=refusal.message, by=by)
    return calibrations.adopt(site=site, body=body, by=by)
