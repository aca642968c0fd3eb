"""What waits for somebody, and how they want to be told."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db.models import Case as Choice
from django.db.models import F, IntegerField, Value, When
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from clinic.audit.models import Action
from clinic.cases.visibility import find
from clinic.notices import services
from clinic.notices.models import Kind, Preference, Scope
from clinic.notices.visibility import notices_visible_to
from clinic.portal.guard import allowed, note

SHOWN = 100
URGENT_FIRST = Choice(When(kind=Kind.URGENT, then=Value(0)), default=Value(1), output_field=IntegerField())


class PreferenceForm(forms.Form):
    scope = forms.ChoiceField(choices=Scope.choices, label="Tell me of", widget=forms.RadioSelect)
    by_mail = forms.BooleanField(required=False, label="Also by e-mail, without patient data")


@require_GET
@allowed("case.view")
def notices(request):
    rows = notices_visible_to(request.user)
    unread = list(rows.filter(read_at__isnull=True).order_by(URGENT_FIRST, F("changed_at").desc())[:SHOWN])
    read = list(rows.filter(read_at__isnull=False).order_by("-changed_at")[: SHOWN - len(unread)])
    note(request, Action.NOTICE_READ, detail={"hits": [str(row.case_id) for row in (*unread, *read)]})
    chosen = Preference.objects.filter(user=request.user).first() or Preference()
    form = PreferenceForm(initial={"scope": chosen.scope, "by_mail": chosen.by_mail})
    page = {"unread": unread, "read": read, "form": form, "mail": settings.NOTICES_BY_MAIL}
    return render(request, "notices/notices.html", page)


@require_GET
@allowed("case.view")
def pulse(request):
    """The bell of the bar: numbers alone."""
    return render(request, "notices/bell.html")


@require_GET
@allowed("case.view")
def open_notice(request, pk):
    """On to the case, whose page records the reading."""
    notice = find(notices_visible_to, pk, by=request.user)
    services.mark_read(notices_visible_to(request.user).filter(pk=notice.pk))
    return redirect("portal:case", notice.case_id)


@require_POST
@allowed("case.view")
def read_all(request):
    services.mark_read(notices_visible_to(request.user))
    return redirect("notices:notices")


@require_POST
@allowed("case.view")
def preference(request):
    form = PreferenceForm(request.POST)
    if form.is_valid():
        services.set_preference(**form.cleaned_data, by=request.user)
        messages.success(request, "Kept.")
    else:
        messages.error(request, "Choose what you want to be told of.")
    return redirect("notices:notices")
