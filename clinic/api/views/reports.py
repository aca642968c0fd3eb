from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.api.base import ReadListOf, ReadOne, checked
from clinic.api.serializers import AmendIn, ReportOut, SignIn
from clinic.api.throttles import CountedByUser, RequestsOfUser
from clinic.audit.models import Action
from clinic.cases.models import Report
from clinic.cases.reports import amend, assessment_of, draft_report, sign
from clinic.cases.visibility import cases_visible_to, find, reports_visible_to


class Signatures(CountedByUser):
    """Slows down guessing the password at the signature."""

    scope = "signature"
    rate = "20/min"


class Reports(ReadListOf):
    serializer_class = ReportOut
    queryset = Report.objects.none()
    parent_visible_to = staticmethod(cases_visible_to)
    recorded_as = Action.REPORT_READ
    ordering = ("-version",)

    def rows(self):
        return reports_visible_to(self.request.user).filter(case=self.parent)

    @extend_schema(request=None, responses={201: ReportOut})
    def post(self, request, pk):
        """Draft the report of the case's newest assessment."""
        case = find(cases_visible_to, pk, by=request.user)
        report = draft_report(assessment=assessment_of(case), by=request.user)
        return Response(ReportOut(report).data, status=201)


class OneReport(ReadOne):
    visible_to = staticmethod(reports_visible_to)
    recorded_as = Action.REPORT_READ
    serializer_class = ReportOut


class SignReport(APIView):
    throttle_classes = [RequestsOfUser, Signatures]

    @extend_schema(request=SignIn, responses={201: ReportOut})
    def post(self, request, pk):
        """Sign, with the password asked again. To state another diagnosis than the report's is to override."""
        report = find(reports_visible_to, pk, by=request.user)
        sign(report=report, by=request.user, **checked(SignIn, request))
        return Response(ReportOut(reports_visible_to(request.user).get(pk=pk)).data, status=201)


class AmendReport(APIView):
    @extend_schema(request=AmendIn, responses={201: ReportOut})
    def post(self, request, pk):
        """A new version of a signed report, to be signed in its turn. The old one stays."""
        report = find(reports_visible_to, pk, by=request.user)
        amendment = amend(report=report, by=request.user, **checked(AmendIn, request))
        return Response(ReportOut(amendment).data, status=201)
