from django.db import connection
from django.http import JsonResponse
from django.urls import include, path
from django.views.decorators.http import require_safe

handler400 = "clinic.api.problems.bad_request"
handler403 = "clinic.api.problems.permission_denied"
handler404 = "clinic.api.problems.page_not_found"
handler500 = "clinic.api.problems.server_error"


@require_safe
def healthz(_request):
    """Up, and the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})


urlpatterns = [
    path("healthz", healthz),
    path("api/v1/", include("clinic.api.urls")),
    path("", include("clinic.accounts.urls")),
    path("", include("clinic.safeguards.urls")),
    path("", include("clinic.uploads.urls")),
    path("", include("clinic.interop.urls")),
    path("tokens/", include("clinic.tokens.urls")),
    path("notices/", include("clinic.notices.urls")),
    path("", include("clinic.portal.urls")),
]
