"""The pages of webhooks, for a site's administrators: targets, what is on its way, and the dead letters."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from clinic.audit.models import Action
from clinic.cases.visibility import find
from clinic.errors import MarrowError
from clinic.interop.webhooks.forms import WebhookForm
from clinic.interop.webhooks.models import DeliveryStatus
from clinic.interop.webhooks.services import (
    ACT,
    create_webhook,
    deliveries_visible_to,
    replay,
    switch_webhook,
    webhooks_visible_to,
)
from clinic.portal.forms import put_beside
from clinic.portal.guard import allowed, note

PAGE = 50


@require_http_methods(["GET", "POST"])
@allowed(ACT)
def webhooks(request):
    form, secret = WebhookForm(request.POST if request.method == "POST" else None, user=request.user), ""
    if form.is_valid():
        try:
            _, secret = create_webhook(by=request.user, **form.cleaned_data)
            form = WebhookForm(user=request.user)
        except MarrowError as error:
            put_beside(form, error)
    status = request.GET.get("status")
    status = status if status in DeliveryStatus.values else DeliveryStatus.DEAD
    rows = deliveries_visible_to(request.user).filter(status=status).order_by("-created_at", "-pk")
    page = {
        "form": form,
        "secret": secret,
        "webhooks": webhooks_visible_to(request.user).order_by("-active", "-created_at"),
        "deliveries": Paginator(rows, PAGE).get_page(request.GET.get("page")),
        "status": status,
        "statuses": DeliveryStatus.choices,
        "dead": deliveries_visible_to(request.user).filter(status=DeliveryStatus.DEAD).count(),
    }
    note(request, Action.WEBHOOK_READ, detail={"deliveries": status})
    return render(request, "webhooks/webhooks.html", page, status=400 if form.errors else 200)


@require_POST
@allowed(ACT)
def switch(request, pk):
    webhook = find(webhooks_visible_to, pk, by=request.user)
    switch_webhook(webhook=webhook, active=request.POST.get("active") == "yes", by=request.user)
    messages.success(request, f"{webhook.url} is {'told of events again' if webhook.active else 'told nothing more'}.")
    return redirect("exchange:webhooks")


@require_POST
@allowed(ACT)
def send_again(request, pk):
    delivery = find(deliveries_visible_to, pk, by=request.user)
    try:
        replay(delivery=delivery, by=request.user)
        messages.success(request, "It is sent again, under its own event id.")
    except MarrowError as error:
        messages.error(request, error.detail)
    return redirect("exchange:webhooks")
