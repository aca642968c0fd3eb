"""Drift by site and week, a site's recalibrations, and what becomes of a model bundle."""

from django.db import transaction
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import require, sites_where
from clinic.api.base import ReadList, ReadListOf, checked
from clinic.api.serializers import BundleOut
from clinic.api.serializers_monitoring import CalibrationOut, InUseOut, MoveIn, SiteWeekOut, UndoIn
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.visibility import find
from clinic.errors import InvalidInput
from clinic.monitoring import calibrations
from clinic.monitoring.comparison import agreement_of, shadow_of
from clinic.monitoring.models import SiteCalibration, SiteWeek
from clinic.registry import services
from clinic.registry.models import ModelBundle

MOVES = {"activate": services.activate, "shadow": services.shadow, "retire": services.retire}


def sites_watched_by(user):
    return sites_where(user, "monitoring.view")


class Weeks(ReadList):
    """What inputs and answers looked like at a site in one week, against the half year before; newest first."""

    serializer_class = SiteWeekOut
    queryset = SiteWeek.objects.none()
    filterset_fields = ["site", "monday", "subject"]
    ordering = ("-monday", "-id")
    act = "monitoring.view"
    recorded_as = Action.MONITORING_READ

    def rows(self):
        return SiteWeek.objects.filter(site__in=sites_watched_by(self.request.user))


class Calibrations(ReadListOf):
    """The recalibrations of a site's fusion, newest first."""

    serializer_class = CalibrationOut
    queryset = SiteCalibration.objects.none()
    ordering = ("-version", "-id")
    act = "monitoring.view"
    recorded_as = Action.CALIBRATION_READ
    parent_visible_to = staticmethod(sites_watched_by)

    def rows(self):
        return self.parent.calibrations.all()

    @extend_schema(request=None, responses={202: None})
    def post(self, request, pk):
        """Have a worker learn from the site's signed cases; the outcome is the newest of its recalibrations."""
        calibrations.ask_recalibration(site=find(sites_watched_by, pk, by=request.user), by=request.user)
        return Response(status=202)


class UndoCalibration(APIView):
    @extend_schema(request=UndoIn, responses=CalibrationOut(many=True))
    def post(self, request, pk):
        """Take the active recalibration back; the one before it speaks again. Answers the site's recalibrations."""
        site = find(sites_watched_by, pk, by=request.user)
        require(request.user, "model.manage", site, obj=site)
        calibrations.undo(site=site, by=request.user, **checked(UndoIn, request))
        return Response(CalibrationOut(site.calibrations.all(), many=True).data)


class MoveBundle(APIView):
    @extend_schema(request=MoveIn, responses=BundleOut)
    def post(self, request, pk):
        """Activate a bundle, let it run in shadow, or retire it (which needs a reason)."""
        require(request.user, "model.manage")
        bundle, said = get_object_or_404(ModelBundle, pk=pk), checked(MoveIn, request)
        act, reason = said["do"], said["reason"].strip()
        if act == "retire" and not reason:
            raise InvalidInput("missing", "To retire a bundle needs a reason.", "Give it.", place="reason")
        MOVES[act](bundle=bundle, by=request.user, **({"reason": reason} if act == "retire" else {}))
        bundle.refresh_from_db()
        return Response(BundleOut(bundle).data)


class BundleInUse(APIView):
    @extend_schema(responses=InUseOut)
    @transaction.atomic
    def get(self, request, pk):
        """How often clinicians agreed with a bundle's assessments, and what it would have changed in shadow."""
        require(request.user, "monitoring.view")
        bundle, sites = get_object_or_404(ModelBundle, pk=pk), sites_watched_by(request.user)
        said = {"agreement": agreement_of(bundle, sites), "shadow": shadow_of(bundle, sites)}
        cases = [str(row["case"].pk) for row in said["shadow"]["changed"]]
        record(Action.MONITORING_READ, by=request.user, obj=bundle, detail={"bundle": bundle.reference, "cases": cases})
        return Response(InUseOut(said).data)
