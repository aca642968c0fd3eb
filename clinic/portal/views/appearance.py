"""Light, dark, or as the system has it: a cookie of this browser, nothing of the account."""

from datetime import timedelta

from django.conf import settings
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from clinic.portal.guard import signed_in
from clinic.portal.templatetags.frame import THEMES


@require_POST
@signed_in
def theme(request):
    back = request.POST.get("next", "")
    here = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    response = redirect(back if here else "portal:home")
    if (chosen := request.POST.get("theme")) in THEMES:
        response.set_cookie(
            "theme",
            chosen,
            max_age=timedelta(days=365),
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    else:
        response.delete_cookie("theme", samesite="Lax")
    return response
