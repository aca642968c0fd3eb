"""Drift by site and week, and a site's recalibration of the fusion."""

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from clinic.accounts.access import may, sites_where
from clinic.audit.models import Action
from clinic.cases.visibility import find
from clinic.errors import MarrowError
from clinic.monitoring import calibrations
from clinic.monitoring.models import SiteWeek
from clinic.portal.guard import allowed, note

WEEKS = 12


def sites_watched_by(user):
    return sites_where(user, "monitoring.view")


@require_GET
@allowed("monitoring.view")
def monitoring(request):
    sites = sites_watched_by(request.user)
    weeks = SiteWeek.objects.filter(site__in=sites).select_related("site").order_by("-monday", "site__code", "subject")
    mondays = sorted(set(weeks.values_list("monday", flat=True)), reverse=True)[:WEEKS]
    rows = [(row, sorted(row.figures.items())) for row in weeks.filter(monday__in=mondays)]
    note(request, Action.MONITORING_READ, detail={"sites": [site.code for site in sites], "weeks": len(mondays)})
    alerts = [row for row, _ in rows if row.alerts and row.monday in mondays[:2]]
    return render(request, "portal/monitoring.html", {"rows": rows, "alerts": alerts, "sites": sites})


@require_GET
@allowed("monitoring.view")
def calibration(request, pk):
    site = find(sites_watched_by, pk, by=request.user)
    rows = site.calibrations.select_related("created_by")
    page = {
        "site": site,
        "rows": rows,
        "active": calibrations.active_calibration(site),
        "signed": sum(1 for _ in calibrations.signed_cases(site)),
        "may_manage": may(request.user, "model.manage", site),
    }
    note(request, Action.CALIBRATION_READ, obj=site, site=site, detail={"versions": [row.version for row in rows]})
    return render(request, "portal/calibration.html", page)


@require_POST
@allowed("model.manage")
def recalibrate(request, pk):
    site = find(sites_watched_by, pk, by=request.user)
    calibrations.ask_recalibration(site=site, by=request.user)
    messages.success(request, "A worker is learning from the signed cases; load this page again in a moment.")
    return redirect("portal:calibration", site.pk)


@require_POST
@allowed("model.manage")
def undo_calibration(request, pk):
    site = find(sites_watched_by, pk, by=request.user)
    try:
        calibrations.undo(site=site, reason=request.POST.get("reason", ""), by=request.user)
    except MarrowError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, "The recalibration was taken back.")
    return redirect("portal:calibration", site.pk)
