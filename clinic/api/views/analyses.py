from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.api.base import ReadListOf
from clinic.api.filters import AnalysisFilter
from clinic.api.serializers import AnalysisOut, AssessmentOut, FindingOut
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.models import LIVE, Analysis
from clinic.cases.services import cancel_analysis, request_analysis
from clinic.cases.visibility import analyses_visible_to, cases_visible_to, find
from clinic.errors import Conflict


class Analyses(ReadListOf):
    serializer_class = AnalysisOut
    queryset = Analysis.objects.none()
    parent_visible_to = staticmethod(cases_visible_to)
    recorded_as = Action.ANALYSIS_READ
    filterset_class = AnalysisFilter
    ordering = ("-requested_at", "-id")
    sortable = ("requested_at",)

    def rows(self):
        return analyses_visible_to(self.request.user).filter(case=self.parent)

    @extend_schema(request=None, responses={201: AnalysisOut})
    def post(self, request, pk):
        """Analyse the valid items of the case with the models active now. One analysis of a case at a time."""
        case = find(cases_visible_to, pk, by=request.user)
        return Response(AnalysisOut(request_analysis(case=case, by=request.user)).data, status=201)


class OneAnalysis(APIView):
    @extend_schema(responses=AnalysisOut)
    @transaction.atomic
    def get(self, request, pk):
        """How far it is. Poll this; while the analysis is live and has no alert, asking is not written to the log."""
        analysis = find(analyses_visible_to, pk, by=request.user)
        if analysis.status not in LIVE or analysis.alerts.exists():
            record(Action.ANALYSIS_READ, by=request.user, obj=analysis)
        return Response(AnalysisOut(analysis).data)


class CancelAnalysis(APIView):
    @extend_schema(request=None, responses=AnalysisOut)
    def post(self, request, pk):
        analysis = find(analyses_visible_to, pk, by=request.user)
        cancel_analysis(analysis=analysis, by=request.user)
        analysis.refresh_from_db()
        return Response(AnalysisOut(analysis).data)


class Findings(APIView):
    @extend_schema(responses=FindingOut(many=True))
    @transaction.atomic
    def get(self, request, pk):
        """What each modality said."""
        analysis = find(analyses_visible_to, pk, by=request.user)
        record(Action.ANALYSIS_READ, by=request.user, obj=analysis, detail={"part": "findings"})
        return Response(FindingOut(analysis.findings.prefetch_related("artefacts"), many=True).data)


class AssessmentOfAnalysis(APIView):
    @extend_schema(responses=AssessmentOut)
    @transaction.atomic
    def get(self, request, pk):
        """What the fusion said: an assessment, or an abstention with its reasons."""
        analysis = find(analyses_visible_to, pk, by=request.user)
        if not hasattr(analysis, "assessment"):
            problem = f"This analysis has no assessment: it is {analysis.status}."
            raise Conflict("no_assessment", problem, "Wait for it, or see why it failed.", place="analysis")
        record(Action.ANALYSIS_READ, by=request.user, obj=analysis, detail={"part": "assessment"})
        return Response(AssessmentOut(analysis.assessment).data)
