"""The model registry: each bundle's card, how it fares in use, and what an administrator may do with it."""

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from clinic.accounts.access import acts_of, sites_where
from clinic.audit.models import Action
from clinic.errors import MarrowError
from clinic.monitoring.comparison import agreement_of, shadow_of
from clinic.portal.guard import allowed, note, signed_in
from clinic.portal.reading import read_bundle
from clinic.registry import services
from clinic.registry.models import ModelBundle

MOVES = {"activate": services.activate, "shadow": services.shadow, "retire": services.retire}


@require_GET
@signed_in
def models(request):
    order = {"active": 0, "shadow": 1, "imported": 2, "retired": 3}
    bundles = sorted(ModelBundle.objects.all(), key=lambda b: (order[b.status], b.name, b.version))
    page = {"bundles": [read_bundle(bundle) for bundle in bundles], "may_manage": _may_manage(request.user)}
    return render(request, "portal/models.html", page)


@require_GET
@signed_in
def model(request, pk):
    bundle = get_object_or_404(ModelBundle, pk=pk)
    page = {"bundle": read_bundle(bundle), "may_manage": _may_manage(request.user)}
    sites = sites_where(request.user, "monitoring.view")
    if sites.exists():
        page |= {"agreement": agreement_of(bundle, sites), "shadow": shadow_of(bundle, sites)}
        told = {"bundle": bundle.reference, "cases": [str(row["case"].pk) for row in page["shadow"]["changed"]]}
        note(request, Action.MONITORING_READ, obj=bundle, detail=told)
    return render(request, "portal/model.html", page)


@require_POST
@allowed("model.manage")
def move_model(request, pk):
    bundle, act = get_object_or_404(ModelBundle, pk=pk), request.POST.get("do", "")
    reason = request.POST.get("reason", "").strip()
    if act not in MOVES or (act == "retire" and not reason):
        messages.error(request, "Say what to do with the model; to retire it needs a reason.")
        return redirect("portal:model", pk)
    try:
        MOVES[act](bundle=bundle, by=request.user, **({"reason": reason} if act == "retire" else {}))
    except MarrowError as error:
        messages.error(request, error.detail)
    else:
        bundle.refresh_from_db()
        messages.success(request, f"{bundle.reference} is now {bundle.get_status_display().lower()}.")
    return redirect("portal:model", pk)


@require_POST
@allowed("model.manage")
def import_models(request):
    """Know the bundles that were put under the server's bundle folders since the last look."""
    known = set(ModelBundle.objects.values_list("pk", flat=True))
    found, broken = services.sync_bundles(by=request.user)
    new = [bundle.reference for bundle in found if bundle.pk not in known]
    for sentence in broken:
        messages.error(request, sentence)
    messages.success(request, f"New: {', '.join(new)}." if new else "No new bundle was found.")
    return redirect("portal:models")


def _may_manage(user):
    return "model.manage" in acts_of(user)
