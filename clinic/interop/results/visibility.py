from clinic.accounts.access import sites_where
from clinic.interop.results.models import HeldResult, LabResult


def results_visible_to(user):
    """Every laboratory value's newest state."""
    rows = LabResult.objects.filter(patient__site__in=sites_where(user, "case.view"), superseded_by__isnull=True)
    return rows.select_related("patient__site")


def held_visible_to(user):
    return HeldResult.objects.filter(site__in=sites_where(user, "case.view")).select_related("site", "patient__site")
