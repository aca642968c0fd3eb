from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from clinic.accounts.access import sites_where
from clinic.api.base import ReadList, ReadOne, checked
from clinic.api.serializers import CaseIn, CaseOut, PatientIn, PatientOut
from clinic.audit.models import Action
from clinic.cases.models import Case
from clinic.cases.services import open_case
from clinic.cases.visibility import cases_visible_to, find, patients_visible_to
from clinic.patients.models import Patient
from clinic.patients.services import register_patient, search_patients

Q = OpenApiParameter("q", str, description="Part of a patient's name or record number.")


class Patients(ReadList):
    serializer_class = PatientOut
    queryset = Patient.objects.none()
    recorded_as = Action.PATIENT_SEARCH

    def rows(self):
        return search_patients(patients_visible_to(self.request.user), self.request.query_params.get("q", ""))

    @extend_schema(parameters=[Q])
    def get(self, request, *args, **kwargs):
        """Patients of the user's sites, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=PatientIn, responses={201: PatientOut})
    def post(self, request):
        """Register a patient; the record number is unique at a site."""
        said = checked(PatientIn, request)
        site = find(lambda user: sites_where(user, "case.view"), said.pop("site"), by=request.user)
        patient = register_patient(site=site, by=request.user, **said)
        return Response(PatientOut(patient).data, status=201)


class OnePatient(ReadOne):
    visible_to = staticmethod(patients_visible_to)
    recorded_as = Action.PATIENT_READ
    serializer_class = PatientOut


class Cases(ReadList):
    serializer_class = CaseOut
    queryset = Case.objects.none()
    recorded_as = Action.CASE_SEARCH

    def rows(self):
        asked = self.request.query_params
        cases = cases_visible_to(self.request.user)
        if asked.get("q"):
            patients = search_patients(patients_visible_to(self.request.user), asked["q"])
            cases = cases.filter(patient__in=patients)
        return cases

    @extend_schema(parameters=[Q])
    def get(self, request, *args, **kwargs):
        """Cases of the user's sites, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=CaseIn, responses={201: CaseOut})
    def post(self, request):
        """Open a work-up of a patient."""
        said = checked(CaseIn, request)
        patient = find(patients_visible_to, said.pop("patient"), by=request.user)
        case = open_case(patient=patient, by=request.user, **said)
        return Response(CaseOut(case).data, status=201)


class OneCase(ReadOne):
    visible_to = staticmethod(cases_visible_to)
    recorded_as = Action.CASE_READ
    serializer_class = CaseOut
