"""The settings of the sites that a person administers."""

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from clinic.accounts.access import roles_with, sites_where
from clinic.accounts.sites import set_second_reader
from clinic.cases.visibility import find
from clinic.portal.guard import allowed

SIGNERS = roles_with("report.sign")


def sites_managed_by(user):
    return sites_where(user, "user.manage")


@require_GET
@allowed("user.manage")
def sites(request):
    rows = sites_managed_by(request.user).prefetch_related("memberships").order_by("name")
    return render(request, "portal/sites.html", {"rows": [(site, _signers(site)) for site in rows]})


def _signers(site):
    return sum(row.role in SIGNERS for row in site.memberships.all())


@require_POST
@allowed("user.manage")
def change_site(request, pk):
    site = find(sites_managed_by, pk, by=request.user)
    wanted = request.POST.get("second_reader") == "yes"
    set_second_reader(site=site, wanted=wanted, by=request.user)
    said = "is wanted for every signed report" if wanted else "is not wanted"
    messages.success(request, f"{site.name}: a second reader {said}.")
    return redirect("portal:sites")
