from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import sites_where
from clinic.api.base import EditOne, ReadList, checked
from clinic.api.filters import CaseFilter, PatientFilter
from clinic.api.serializers import CaseEdit, CaseIn, CaseOut, PatientEdit, PatientIn, PatientOut
from clinic.api.serializers_course import CourseOut
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.course import course_of
from clinic.cases.models import Case
from clinic.cases.services import edit_case, open_case
from clinic.cases.visibility import cases_visible_to, find, patients_visible_to, sites_listed_to
from clinic.patients.models import Patient
from clinic.patients.services import edit_patient, register_patient


class Patients(ReadList):
    serializer_class = PatientOut
    queryset = Patient.objects.none()
    recorded_as = Action.PATIENT_SEARCH
    filterset_class = PatientFilter
    sortable = ("created_at", "name", "mrn")

    def rows(self):
        return patients_visible_to(self.request.user).select_related(None)

    def sites(self):
        return sites_listed_to(self.request.user)

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


class OnePatient(EditOne):
    visible_to = staticmethod(patients_visible_to)
    recorded_as = Action.PATIENT_READ
    serializer_class = PatientOut
    edit_serializer_class = PatientEdit

    @extend_schema(request=PatientEdit, responses=PatientOut)
    def patch(self, request, pk):
        """Correct what is known of the patient. Reports that are signed keep what they said."""
        return super().patch(request, pk)

    def edit(self, found, by, changes):
        return edit_patient(patient=found, changes=changes, by=by)


class Course(APIView):
    @extend_schema(responses=CourseOut)
    @transaction.atomic
    def get(self, request, pk):
        """All that was assessed of a patient over time, and the changes that are larger than their uncertainty."""
        patient = find(patients_visible_to, pk, by=request.user)
        said = course_of(cases_visible_to(request.user).filter(patient=patient))
        read = [point["analysis"] for point in said["points"]]
        record(Action.PATIENT_READ, by=request.user, obj=patient, patient=patient, detail={"course": read})
        return Response(CourseOut(said).data)


class Cases(ReadList):
    serializer_class = CaseOut
    queryset = Case.objects.none()
    recorded_as = Action.CASE_SEARCH
    filterset_class = CaseFilter
    sortable = ("created_at",)

    def rows(self):
        return cases_visible_to(self.request.user).select_related(None)

    def sites(self):
        return sites_listed_to(self.request.user)

    def get(self, request, *args, **kwargs):
        """Cases of the user's sites, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=CaseIn, responses={201: CaseOut})
    def post(self, request):
        """Open a work-up of a patient."""
        said = checked(CaseIn, request)
        patient = find(patients_visible_to, said.pop("patient"), by=request.user)
        earlier = said.pop("follows")
        follows = find(cases_visible_to, earlier, by=request.user) if earlier else None
        case = open_case(patient=patient, follows=follows, by=request.user, **said)
        return Response(CaseOut(case).data, status=201)


class OneCase(EditOne):
    visible_to = staticmethod(cases_visible_to)
    recorded_as = Action.CASE_READ
    serializer_class = CaseOut
    edit_serializer_class = CaseEdit

    @extend_schema(request=CaseEdit, responses=CaseOut)
    def patch(self, request, pk):
        """Change what is asked, or the history. Reports that are signed keep what they said."""
        return super().patch(request, pk)

    def edit(self, found, by, changes):
        return edit_case(case=found, changes=changes, by=by)
