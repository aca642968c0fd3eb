"""What the lists may be asked for. An unknown value of a known filter is a problem; an unknown filter is one, too."""

import django_filters as filters
from django.db.models import Exists, OuterRef, Subquery
from django_filters.rest_framework import DjangoFilterBackend

from clinic.cases.models import Analysis, AnalysisStatus, Assessment, Case, ItemKind, ItemStatus, SignOff, StudyItem
from clinic.errors import InvalidInput
from clinic.imports.models import ImportRow, RowStatus
from clinic.patients.models import Patient, Sex
from clinic.patients.services import search_patients

OF_PAGES = {"cursor", "limit", "ordering"}


class StrictFilters(DjangoFilterBackend):
    """A misspelt filter would give a longer list than was asked for; so it is refused instead of passed over."""

    def filter_queryset(self, request, queryset, view):
        kind = self.get_filterset_class(view, queryset)
        known = set(kind.base_filters if kind else ()) | OF_PAGES | set(getattr(view, "other_parameters", ()))
        if unknown := sorted(set(request.query_params) - known):
            problem = f"This list has no parameter {unknown[0][:60]}."
            raise InvalidInput("unknown_parameter", problem, f"Use {', '.join(sorted(known))}.", place=unknown[0][:60])
        for name, value in request.query_params.items():
            if "\0" in value:
                raise InvalidInput("invalid_text", "It holds a NUL character.", "Leave it out.", place=name)
            boolean = kind and isinstance(kind.base_filters.get(name), filters.BooleanFilter)
            if boolean and value.lower() not in {"true", "false"}:  # django-filter would pass over it
                raise InvalidInput("invalid", "It is neither true nor false.", "Use true or false.", place=name)
        asked = set(request.query_params) - OF_PAGES
        return super().filter_queryset(request, queryset, view) if asked else queryset  # making the form takes 1 ms


class Since(filters.FilterSet):
    created_from = filters.IsoDateTimeFilter("created_at", "gte", help_text="From this time on (ISO 8601).")
    created_before = filters.IsoDateTimeFilter("created_at", "lt", help_text="Before this time (ISO 8601).")


class PatientFilter(Since):
    q = filters.CharFilter(method="search", help_text="Part of the name or record number.")
    site = filters.UUIDFilter("site_id", help_text="The id of a site.")
    mrn = filters.CharFilter(help_text="The whole record number.")
    sex = filters.ChoiceFilter(choices=Sex.choices)
    born_from = filters.DateFilter("birth_date", "gte")
    born_to = filters.DateFilter("birth_date", "lte")
    synthetic = filters.BooleanFilter()

    class Meta:
        model = Patient
        fields = []

    def search(self, patients, _name, text):
        return search_patients(patients, text)


class CaseFilter(Since):
    q = filters.CharFilter(method="search", help_text="Part of the patient's name or record number.")
    patient = filters.UUIDFilter("patient_id")
    mrn = filters.CharFilter("patient__mrn", help_text="The patient's whole record number.")
    site = filters.UUIDFilter("patient__site_id", help_text="The id of a site.")
    synthetic = filters.BooleanFilter("patient__synthetic")
    analysis = filters.ChoiceFilter(
        method="by_newest", choices=AnalysisStatus.choices, help_text="How the newest analysis stands."
    )
    analysed = filters.BooleanFilter(method="by_assessment", help_text="Whether there is an assessment.")
    urgent = filters.BooleanFilter(method="by_newest", help_text="Of the newest assessment.")
    discordant = filters.BooleanFilter(method="by_newest", help_text="Of the newest assessment.")
    answer = filters.CharFilter(method="by_newest", help_text="Node of the diagnosis tree: of the newest assessment.")
    signed = filters.BooleanFilter(method="by_signature", help_text="Whether a report of it is signed.")

    class Meta:
        model = Case
        fields = []

    def search(self, cases, _name, text):
        return cases.filter(patient__in=search_patients(Patient.objects.all(), text)) if text else cases

    def by_newest(self, cases, name, value):
        """Newest analysis by its status; newest assessment by what it says."""
        if name == "analysis":
            newest = Analysis.objects.filter(case=OuterRef("pk")).order_by("-requested_at", "-id").values("status")
        else:
            newest = (
                Assessment.objects.filter(analysis__case=OuterRef("pk")).order_by("-created_at", "-id").values(name)
            )
        return cases.annotate(**{f"newest_{name}": Subquery(newest[:1])}).filter(**{f"newest_{name}": value})

    def by_assessment(self, cases, _name, value):
        there = Exists(Assessment.objects.filter(analysis__case=OuterRef("pk")))
        return cases.filter(there if value else ~there)

    def by_signature(self, cases, _name, value):
        there = Exists(SignOff.objects.filter(report__case=OuterRef("pk")))
        return cases.filter(there if value else ~there)


class ItemFilter(filters.FilterSet):
    kind = filters.ChoiceFilter(choices=ItemKind.choices)
    status = filters.ChoiceFilter(choices=ItemStatus.choices)

    class Meta:
        model = StudyItem
        fields = []


class AnalysisFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=AnalysisStatus.choices)

    class Meta:
        model = Analysis
        fields = []


class ImportRowFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=RowStatus.choices)

    class Meta:
        model = ImportRow
        fields = []
