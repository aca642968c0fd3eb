"""Results that wait for a person: see them, say what they are, or dismiss them."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.api.base import ReadList, ReadOne, checked
from clinic.audit.models import Action
from clinic.cases.visibility import find, patients_visible_to
from clinic.errors import InvalidInput
from clinic.interop.results.models import HeldResult, HeldStatus
from clinic.interop.results.serializers import DismissIn, HeldOut, TakeIn
from clinic.interop.results.services import dismiss_held, take_held
from clinic.interop.results.visibility import held_visible_to


class HeldResults(ReadList):
    serializer_class = HeldOut
    queryset = HeldResult.objects.none()
    recorded_as = Action.RESULT_READ
    ordering = ("-received_at", "-id")
    other_parameters = ("status",)

    def rows(self):
        status = self.request.query_params.get("status", HeldStatus.WAITING)
        if status not in HeldStatus.values:
            problem, remedy = f"There is no status {status[:40]!r}.", f"Use {', '.join(HeldStatus.values)}."
            raise InvalidInput("unknown_status", problem, remedy, place="status")
        return held_visible_to(self.request.user).filter(status=status)

    @extend_schema(parameters=[OpenApiParameter("status", str, enum=HeldStatus.values, default="waiting")])
    def get(self, request, *args, **kwargs):
        """Results that no rule could place, newest first: an unknown code, unit, patient, or no number."""
        return super().get(request, *args, **kwargs)


class OneHeld(ReadOne):
    visible_to = staticmethod(held_visible_to)
    recorded_as = Action.RESULT_READ
    serializer_class = HeldOut


class TakeHeld(APIView):
    @extend_schema(request=TakeIn, responses=HeldOut)
    def post(self, request, pk):
        """Say what a held result is; it is then taken as any other, and may complete its patient's panel."""
        held = find(held_visible_to, pk, by=request.user)
        said = checked(TakeIn, request)
        if said.get("patient"):
            said["patient"] = find(patients_visible_to, said["patient"], by=request.user)
        take_held(held=held, by=request.user, **said)
        return Response(HeldOut(held).data)


class DismissHeld(APIView):
    @extend_schema(request=DismissIn, responses=HeldOut)
    def post(self, request, pk):
        """Put a held result aside, with the reason. It is kept."""
        held = find(held_visible_to, pk, by=request.user)
        dismiss_held(held=held, by=request.user, **checked(DismissIn, request))
        return Response(HeldOut(held).data)
