"""For those who watch over it: the log, the state of its chain, the models, the diagnosis tree."""

import django_filters
from django.db import transaction
from django.db.models import Q
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import require, sites_where
from clinic.api.base import ReadList
from clinic.api.serializers import BundleOut, ChainStateOut, EventOut, PersonWhoSawOut, TreeOut
from clinic.audit.exports import FORMATS, export
from clinic.audit.models import Action, AuditEvent
from clinic.audit.search import concerning, patients_overseen_by, people_who_saw
from clinic.audit.services import events_of, record
from clinic.audit.verification import chain_state
from clinic.cases.visibility import find
from clinic.registry.models import ModelBundle
from ml.diagnosis_tree import load_tree


class EventFilter(django_filters.FilterSet):
    """``from`` and ``to`` are Python's words, so they are added below."""

    actor = django_filters.CharFilter(method="by_actor", help_text="The id of a user, or part of the name.")
    patient = django_filters.CharFilter("patient_id")
    case = django_filters.CharFilter("case_id")
    object = django_filters.CharFilter("object_id")
    action = django_filters.MultipleChoiceFilter(choices=Action.choices)
    saw = django_filters.UUIDFilter(
        method="by_saw", help_text="The id of a patient: also lists in which the patient was among the hits."
    )

    class Meta:
        model = AuditEvent
        fields = ["outcome"]

    def by_actor(self, events, _name, value):
        return events.filter(Q(actor_id=value) | Q(actor__icontains=value))

    def by_saw(self, events, _name, value):
        return concerning(events, value)


EventFilter.base_filters |= {
    "from": django_filters.IsoDateTimeFilter("at", "gte", help_text="From this time on (ISO 8601)."),
    "to": django_filters.IsoDateTimeFilter("at", "lt", help_text="Before this time (ISO 8601)."),
}


class Events(ReadList):
    """Events of the sites that the user oversees, newest first. Looking at them is an event, too."""

    serializer_class = EventOut
    queryset = AuditEvent.objects.none()
    filterset_class = EventFilter
    ordering = ("-seq",)
    act = "audit.view"
    recorded_as = Action.AUDIT_READ

    def rows(self):
        return events_of(sites_where(self.request.user, self.act))


class ExportEvents(APIView):
    @extend_schema(
        operation_id="events_export",
        parameters=[
            OpenApiParameter("as", str, enum=list(FORMATS), description="csv, ndjson (as hashed), or fhir."),
            *(OpenApiParameter(name, str) for name in EventFilter.base_filters),
        ],
        responses={(200, "application/x-ndjson"): OpenApiTypes.STR},
    )
    def get(self, request):
        """The events that the same filters list, as a file, oldest first. The export is an event, too."""
        require(request.user, "audit.view")
        asked = request.query_params.dict()
        form = asked.pop("as", "ndjson")
        chosen = EventFilter(request.query_params, queryset=events_of(sites_where(request.user, "audit.view")))
        if not chosen.is_valid():
            raise ValidationError(chosen.errors)
        chunks, media_type, name = export(chosen.qs, form, by=request.user, asked=asked)
        headers = {"Content-Disposition": content_disposition_header(as_attachment=True, filename=name)}
        return StreamingHttpResponse(chunks, content_type=media_type, headers=headers)


class PeopleWhoSaw(APIView):
    @extend_schema(responses=PersonWhoSawOut(many=True))
    @transaction.atomic
    def get(self, request, pk):
        """Who came by this patient's data, how often, and by which acts: readings, lists, changes."""
        require(request.user, "audit.view")
        patient = find(patients_overseen_by, pk, by=request.user)
        people = people_who_saw(events_of(sites_where(request.user, "audit.view")), patient.pk)
        record(Action.AUDIT_READ, by=request.user, obj=patient, detail={"people": len(people)})
        return Response(PersonWhoSawOut(people, many=True).data)


class ChainState(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("full", bool, description="Check every event, not only the last 10,000.")],
        responses=ChainStateOut,
    )
    def get(self, request):
        """Whether the log is whole, as far as it was checked just now."""
        require(request.user, "audit.view")
        state = chain_state(full=request.query_params.get("full") in {"1", "true"})
        with transaction.atomic():  # not around the check: it is long, and nobody else could write meanwhile
            record(Action.AUDIT_READ, by=request.user, detail={"state": state.ok, "from_seq": state.from_seq})
        return Response(ChainStateOut(state).data)


class Bundles(APIView):
    @extend_schema(responses=BundleOut(many=True))
    def get(self, _request):
        """The model bundles, each with its manifest: what it was trained on, how it was measured, what it cannot do."""
        return Response(BundleOut(ModelBundle.objects.order_by("name", "-imported_at"), many=True).data)


class DiagnosisTree(APIView):
    @extend_schema(responses=TreeOut)
    def get(self, _request):
        """The diagnoses, every parent before its children."""
        tree = load_tree()
        return Response(TreeOut({"version": tree.version, "nodes": list(tree.nodes.values())}).data)
