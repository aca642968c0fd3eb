"""The pages of results that wait for a person: what came, why no rule could place it, and the person's decision."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from clinic.audit.models import Action
from clinic.cases.visibility import find, patients_visible_to
from clinic.errors import InvalidInput
from clinic.interop.results.forms import DismissForm, TakeForm
from clinic.interop.results.models import HeldStatus
from clinic.interop.results.services import dismiss_held, take_held
from clinic.interop.results.visibility import held_visible_to
from clinic.portal.forms import done
from clinic.portal.guard import allowed, note

PAGE = 50


@require_GET
@allowed("item.upload")
def held_results(request):
    status = request.GET.get("status")
    status = status if status in HeldStatus.values else HeldStatus.WAITING
    rows = held_visible_to(request.user).filter(status=status).order_by("-received_at", "-pk")
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    shown = list(page)
    note(request, Action.RESULT_READ, detail={"held": status, "hits": [str(row.pk) for row in shown]})
    said = {"rows": shown, "page": page, "status": status, "statuses": HeldStatus.choices}
    return render(request, "results/held_results.html", said)


@require_http_methods(["GET", "POST"])
@allowed("item.upload")
def held_result(request, pk):
    held = find(held_visible_to, pk, by=request.user)
    act = request.POST.get("act")
    take = TakeForm(request.POST if act == "take" else None, held=held)
    dismiss = DismissForm(request.POST if act == "dismiss" else None)
    if act == "take" and take.is_valid() and done(take, _take, held=held, by=request.user, said=take.cleaned_data):
        messages.success(request, "Taken. It stands with the patient's other values.")
        return redirect("exchange:held_results")
    aside = act == "dismiss" and dismiss.is_valid()
    if aside and done(dismiss, dismiss_held, held=held, by=request.user, **dismiss.cleaned_data):
        messages.success(request, "Put aside, with your reason.")
        return redirect("exchange:held_results")
    note(request, Action.RESULT_READ, obj=held, patient=held.patient, site=held.site)
    wrong = bool(take.errors or dismiss.errors)
    page = {"held": held, "sent": held.said, "take": take, "dismiss": dismiss}
    return render(request, "results/held_result.html", page, status=400 if wrong else 200)


def _take(*, held, by, said):
    mrn = said.pop("mrn")
    patient = patients_visible_to(by).filter(site=held.site, mrn=mrn).first() if mrn else None
    if mrn and patient is None:
        problem = f"No patient of {held.site.name} has the record number {mrn}."
        raise InvalidInput("unknown_patient", problem, "Register the patient first.", place="mrn")
    take_held(held=held, by=by, patient=patient, **said)
