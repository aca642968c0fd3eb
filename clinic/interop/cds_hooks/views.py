from django.conf import settings
from rest_framework.parsers import JSONParser
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import require
from clinic.accounts.services import record_failed_login
from clinic.errors import LoginFailed
from clinic.interop.cds_hooks.services import SERVICES, serve, service_of, take_feedback
from clinic.interop.cds_hooks.trust import caller_of


class CdsView(APIView):
    """Its own authentication: the JWT of CDS Hooks. ``schema``: the discovery describes these."""

    schema = None
    permission_classes = [AllowAny]
    authentication_classes = ()
    parser_classes = [JSONParser]

    def answered(self, service_id, answer):
        """What ``answer(service, caller)`` says to a trusted caller. A token that is not taken is written down."""
        service = service_of(service_id)
        header = self.request.headers.get("Authorization", "")
        try:
            caller = caller_of(header, audience=self.request.build_absolute_uri())
            self.request.user = caller.user
            require(caller.user, "case.view")
            return Response(answer(service, caller))
        except LoginFailed as refused:
            record_failed_login(username=f"CDS client: {refused.why}")
            raise

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        origin = request.headers.get("Origin")
        if origin in settings.CDS_ORIGINS:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        return response


class Discovery(CdsView):
    def get(self, _request):
        return Response({"services": [service.described() for service in SERVICES.values()]})


class Call(CdsView):
    def post(self, request, service_id):
        base_url = request.build_absolute_uri("/").rstrip("/")

        def answer(service, caller):
            return {"cards": serve(service=service, said=request.data, caller=caller, base_url=base_url)}

        return self.answered(service_id, answer)


class Feedback(CdsView):
    def post(self, request, service_id):
        def answer(service, caller):
            take_feedback(service=service, said=request.data, caller=caller)
            return {}

        return self.answered(service_id, answer)
