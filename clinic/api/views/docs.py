from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny

POLICY = "; ".join(  # noqa: FLY002 (one directive a line)
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)


class Docs(SpectacularSwaggerSplitView):
    """Swagger UI from our own static files. It styles itself inline and shows no patient: hence its own policy."""

    permission_classes = [AllowAny]
    authentication_classes = ()

    @extend_schema(exclude=True)
    def get(self, request, *args, **kwargs):
        response = super().get(request, *args, **kwargs)
        response.headers["Content-Security-Policy"] = POLICY
        return response
