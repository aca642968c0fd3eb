"""The pages of the emergency stop and of access in an emergency."""

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from clinic.accounts.access import may, require
from clinic.audit.models import Action
from clinic.cases.visibility import find
from clinic.portal.forms import done
from clinic.portal.guard import allowed, note, signed_in
from clinic.safeguards import emergency, halts
from clinic.safeguards.forms import BreakGlassForm, HaltForm, ReleaseForm, ReviewForm
from clinic.safeguards.models import Halt

SHOWN = 50


@require_http_methods(["GET", "POST"])
@allowed("inference.halt")
def stop(request):
    form = HaltForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and done(form, halts.halt, by=request.user, **form.cleaned_data):
        messages.success(request, "Halted. No new inference begins; what runs ends within seconds.")
        return redirect("safeguards:stop")
    page = {"form": form, "live": halts.live_halts().select_related("by"), "release_form": ReleaseForm()}
    page["past"] = Halt.objects.filter(released_at__isnull=False).select_related("by", "released_by")[:SHOWN]
    return render(request, "safeguards/stop.html", page, status=400 if form.errors else 200)


@require_POST
@allowed("inference.halt")
def release(request, pk):
    halt, form = get_object_or_404(Halt, pk=pk), ReleaseForm(request.POST)
    if form.is_valid() and done(form, halts.release, by=request.user, halt=halt, **form.cleaned_data):
        messages.success(request, "Released.")
    else:
        messages.error(request, " ".join(said for errors in form.errors.values() for said in errors))
    return redirect("safeguards:stop")


@require_http_methods(["GET", "POST"])
@signed_in
def emergency_access(request):
    """For who may break a glass: the form and what is open; for who oversees a site: what is to be judged."""
    breaks, reviews = may(request.user, "glass.break"), may(request.user, "audit.view")
    if request.method == "POST" or not (breaks or reviews):
        require(request.user, "glass.break")
    form = BreakGlassForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and done(form, emergency.break_glass, by=request.user, **form.cleaned_data):
        messages.warning(request, "Open for an hour. Everything you read is recorded, and judged by the site.")
        return redirect("safeguards:emergency")
    live = emergency.open_to(request.user).prefetch_related("patient__cases").select_related("patient__site")
    waiting = list(emergency.unreviewed(request.user)[:SHOWN])
    if shown := [str(row.patient_id) for row in (*live, *waiting)]:
        note(request, Action.GLASS_READ, detail={"patients": shown})
    page = {
        "form": form if breaks else None,
        "live": live,
        "reviews": reviews,
        "waiting": [(row, emergency.acts_during(row).count()) for row in waiting],
    }
    return render(request, "safeguards/emergency.html", page, status=400 if form.errors else 200)


@require_POST
@allowed("audit.view")
def review(request, pk):
    access, form = find(emergency.accesses_visible_to, pk, by=request.user), ReviewForm(request.POST)
    said = form.is_valid() and form.cleaned_data | {"justified": form.cleaned_data["justified"] == "yes"}
    if said and done(form, emergency.review, access=access, by=request.user, **said):
        messages.success(request, "Judged.")
    else:
        messages.error(request, " ".join(text for errors in form.errors.values() for text in errors))
    return redirect("safeguards:emergency")
