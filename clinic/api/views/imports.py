"""Bulk import: a table in, a job, and a verdict for each of its rows."""

import csv
import io

from django.db import transaction
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from clinic.accounts.access import sites_where
from clinic.api.base import ReadList, ReadListOf, ReadOne, checked
from clinic.api.filters import ImportRowFilter
from clinic.api.serializers_imports import ImportIn, ImportOut, ImportRowOut
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.visibility import find
from clinic.errors import TooLarge
from clinic.imports.models import Import, ImportRow
from clinic.imports.services import imports_visible_to, request_import, rows_visible_to
from clinic.imports.tables import MAX_BYTES

REPORT = ("line", "status", "code", "place", "problem", "remedy", "patient", "case", "item", "item_status")


class Imports(ReadList):
    serializer_class = ImportOut
    queryset = Import.objects.none()
    recorded_as = Action.IMPORT_READ
    ordering = ("-requested_at", "-id")
    parser_classes = [MultiPartParser]

    def rows(self):
        return imports_visible_to(self.request.user)

    def get(self, request, *args, **kwargs):
        """Imports of the user's sites, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=ImportIn, responses={202: ImportOut})
    def post(self, request):
        """Import a table. `cases`: mrn, name, birth_date, sex, synthetic, title, history; a row opens a case.

        `labs`: mrn (of a patient with one case) or case, and columns of laboratory values as a labs file has them; a
        row adds a labs item. The table is taken whole (202) or refused; then every row gets a verdict of its own.
        """
        said = checked(ImportIn, request)
        if said["file"].size > MAX_BYTES:
            raise TooLarge("too_large", f"A table may have {MAX_BYTES // 1024**2} MiB.", "Split it.", place="file")
        site = find(lambda user: sites_where(user, "case.view"), said["site"], by=request.user)
        data, filename = said["file"].read(), said["file"].name
        job = request_import(site=site, kind=said["kind"], data=data, filename=filename, by=request.user)
        job.refresh_from_db()
        where = reverse("api:import", args=[job.pk], request=request)
        return Response(ImportOut(job).data, status=202, headers={"Location": where})


class OneImport(ReadOne):
    visible_to = staticmethod(imports_visible_to)
    recorded_as = Action.IMPORT_READ
    serializer_class = ImportOut


class ImportRows(ReadListOf):
    """The rows in their order, each with its verdict. `?status=rejected`: those to be corrected."""

    serializer_class = ImportRowOut
    queryset = ImportRow.objects.none()
    parent_visible_to = staticmethod(imports_visible_to)
    recorded_as = Action.IMPORT_READ
    filterset_class = ImportRowFilter
    ordering = ("number", "id")

    def rows(self):
        return rows_visible_to(self.request.user).filter(of=self.parent)


class ImportReport(APIView):
    @extend_schema(
        operation_id="import_report",
        responses={(200, "text/csv"): OpenApiTypes.STR},
        examples=[OpenApiExample("report", value=",".join(REPORT) + "\r\n2,created,,,,,…\r\n", media_type="text/csv")],
    )
    def get(self, request, pk):
        """All verdicts as CSV, one line a row."""
        with transaction.atomic():
            job = find(imports_visible_to, pk, by=request.user)
            record(Action.IMPORT_READ, by=request.user, obj=job, site=job.site, detail={"part": "report"})
        answer = HttpResponse(_report(job), content_type="text/csv")
        answer.headers["Content-Disposition"] = f'attachment; filename="import-{job.pk}.csv"'
        return answer


def _report(job):
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(REPORT)
    for row in job.rows.select_related("item").order_by("number"):
        problem = row.problem or {}
        said = [problem.get(name, "") for name in ("code", "place", "problem", "remedy")]
        made = [row.patient_id or "", row.case_id or "", row.item_id or "", row.item.status if row.item else ""]
        table.writerow([row.number, row.status, *map(_harmless, said), *made])
    return out.getvalue()


def _harmless(text):
    """A spreadsheet would take it for a formula otherwise."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
