from django.contrib import messages
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from clinic.cases.visibility import cases_visible_to, find
from clinic.errors import MarrowError
from clinic.portal.guard import allowed
from clinic.review.services import write_comment


@require_POST
@allowed("case.view")
def comment(request, pk):
    case = find(cases_visible_to, pk, by=request.user)
    try:
        write_comment(case=case, text=request.POST.get("text", ""), by=request.user)
    except MarrowError as error:
        messages.error(request, error.detail)
    return redirect(f"{reverse('portal:case', args=[case.pk])}#comments")
