"""The FHIR endpoints: parse, call, answer. What is read is written down before it is shown."""

from urllib.parse import urlencode

from django.db import transaction
from django.utils.cache import patch_vary_headers
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import deny, record
from clinic.cases.models import Case, Report
from clinic.cases.visibility import reports_visible_to
from clinic.errors import NotFound
from clinic.interop.fhir import outcome
from clinic.interop.fhir.capability import statement
from clinic.interop.fhir.documents import report_resource
from clinic.interop.fhir.including import included
from clinic.interop.fhir.kinds import ACT, CREATED, SOURCES
from clinic.interop.fhir.search import CONTROLS, filtered, find_page, known_parameters
from clinic.interop.fhir.structure import validated
from clinic.interop.fhir.taking import create, transact

MEDIA_TYPE = "application/fhir+json"
READ = {Action.PATIENT_SEARCH: Action.PATIENT_READ}


class FhirRenderer(JSONRenderer):
    media_type = MEDIA_TYPE
    format = None


class PlainRenderer(JSONRenderer):
    media_type = "application/json"
    format = None


class FhirParser(JSONParser):
    media_type = MEDIA_TYPE


class FhirView(APIView):
    schema = None  # the CapabilityStatement describes these
    renderer_classes = [FhirRenderer, PlainRenderer]
    parser_classes = [FhirParser, JSONParser]

    def get_exception_handler(self):
        return outcome.handle

    def finalize_response(self, request, response, *args, **kwargs):
        """Whatever is answered is a resource, and has passed its model."""
        if getattr(response, "data", None) is not None:
            validated(response.data)
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["Cache-Control"] = "private, no-store"
        patch_vary_headers(response, ["Authorization", "Accept"])
        return response

    def base_url(self):
        return self.request.build_absolute_uri("/fhir/")


class Metadata(FhirView):
    permission_classes = [AllowAny]
    authentication_classes = ()

    def get(self, _request):
        return Response(statement(self.base_url()))


class Base(FhirView):
    """The server's root: transactions."""

    def post(self, request):
        require(request.user, "item.upload")
        taken = transact(request.data, by=request.user)
        entries = [{"response": self._said(one)} for one in taken]
        return Response({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})

    def _said(self, one):
        status = "201 Created" if one.created else "200 OK"
        changed = one.resource["meta"]["lastUpdated"]
        return {"status": status, "location": f"{one.kind}/{one.pk}", "lastModified": changed}


class OfType(FhirView):
    """One resource type: search, and create where this server takes it."""

    def get(self, request, kind):
        return self._search(request, kind, request.query_params)

    def post(self, request, kind):
        _known(kind)
        if kind not in CREATED:
            remedy = f"Only {' and '.join(CREATED)} are taken here."
            raise outcome.NotUnderstood("not_created_here", f"A {kind} cannot be created.", remedy, place=kind)
        require(request.user, "item.upload")
        condition = request.headers.get("If-None-Exist", "")
        taken = create(kind, request.data, by=request.user, if_none_exist=condition)
        headers = {"Location": f"{self.base_url()}{kind}/{taken.pk}"}
        return Response(taken.resource, status=201 if taken.created else 200, headers=headers)

    @transaction.atomic
    def _search(self, request, kind, asked):
        sources = _known(kind)
        require(request.user, ACT.get(kind, "case.view"))
        params = {name: asked.getlist(name) for name in asked}
        unknown = self._check(kind, params, lenient="handling=lenient" in request.headers.get("Prefer", ""))
        params = {name: texts for name, texts in params.items() if name not in unknown}
        page = find_page(sources, request.user, params)
        found = [source.resource(row) for source, row in page.rows]
        beside = included(kind, found, params.get("_include", []), request.user)
        entries = [self._entry(one, "match") for one in found] + [self._entry(one, "include") for one in beside]
        if unknown:
            said = outcome.issue("not-supported", f"Not used: {', '.join(sorted(unknown))}.", severity="warning")
            entries.append({"resource": outcome.outcome(said), "search": {"mode": "outcome"}})
        said = {"resource": kind, "query": params, "hits": [one["id"] for one in found]}
        if beside:
            said["included"] = [f"{one['resourceType']}/{one['id']}" for one in beside]
        _note(sources, request.user, said)
        links = self._links(kind, params, page.cursor)
        total = self._total(sources, request.user, params)
        bundle = {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}
        return Response({name: value for name, value in (bundle | total).items() if value != []})

    def _check(self, kind, params, *, lenient):
        """The parameters that are not known here: left out if the client says so, refused else, never ignored."""
        unknown = set(params) - known_parameters(SOURCES[kind]) - CONTROLS
        if unknown and not lenient:
            name = min(unknown)
            problem = f"{kind} cannot be searched by {name[:60]!r}."
            remedy = "See /fhir/metadata, or send `Prefer: handling=lenient`."
            raise outcome.NotUnderstood("unknown_parameter", problem, remedy)
        return unknown

    def _entry(self, one, mode):
        return {
            "fullUrl": f"{self.base_url()}{one['resourceType']}/{one['id']}",
            "resource": one,
            "search": {"mode": mode},
        }

    def _links(self, kind, params, cursor):
        here = {name: texts for name, texts in params.items() if name != "_page"}
        first = f"{self.base_url()}{kind}"
        asked = params if "_page" in params else here
        links = [{"relation": "self", "url": first + (f"?{urlencode(asked, doseq=True)}" if asked else "")}]
        if cursor:
            links.append({"relation": "next", "url": f"{first}?{urlencode(here | {'_page': [cursor]}, doseq=True)}"})
        return links

    def _total(self, sources, user, params):
        if params.get("_total") != ["accurate"]:
            return {}
        return {"total": sum(filtered(source, user, params).count() for source in sources)}


class SearchByForm(OfType):
    """``POST …/_search``: for queries that must not stand in a log of addresses."""

    parser_classes = [FormParser, MultiPartParser]
    http_method_names = ["post", "options"]

    def post(self, request, kind):
        asked = request.query_params.copy()
        for name in request.data:
            asked.setlist(name, asked.getlist(name) + request.data.getlist(name))
        return self._search(request, kind, asked)


class OneResource(FhirView):
    @transaction.atomic
    def get(self, request, kind, id_):
        for source in _known(kind):
            row = source.find(request.user, id_)
            if row is not None:
                found = source.resource(row)
                _note([source], request.user, {"resource": kind, "id": id_}, obj=row)
                return Response(found, headers=_tags(found))
        _note_foreign(kind, id_, request.user)
        raise NotFound


class OneVersion(FhirView):
    """A report as it was in an earlier version."""

    @transaction.atomic
    def get(self, request, kind, id_, version):
        _known(kind)
        rows = reports_visible_to(request.user).filter(version=version)
        pk = SOURCES["DiagnosticReport"][0].pk_of(id_)
        report = rows.filter(case=pk).first() if kind == "DiagnosticReport" and pk else None
        if report is None:
            _note_foreign(kind, id_, request.user)
            raise NotFound
        record(Action.REPORT_READ, by=request.user, obj=report, detail={"resource": kind, "version": version})
        found = report_resource(report)
        return Response(found, headers=_tags(found))


class Nothing(FhirView):
    """Whatever else is asked of /fhir."""

    def _refuse(self, _request, **_):
        raise NotFound

    get = post = put = patch = delete = _refuse


def _known(kind):
    if kind not in SOURCES:
        raise NotFound("unknown_type", "This server has no such resource type.", "See /fhir/metadata.")
    return SOURCES[kind]


def _note(sources, user, detail, obj=None):
    action = sources[0].recorded_as
    if action:
        action = READ.get(action, action) if obj else action
        record(action, by=user, obj=obj, detail={"fhir": detail}, case=_case_of(obj))


def _case_of(row):
    """For the log: the case that an assessment or a finding belongs to."""
    return getattr(getattr(row, "analysis", None), "case", None)


def _note_foreign(kind, id_, user):
    """Who asks for what exists and is not theirs is written down, and gets the same answer."""
    for source in SOURCES[kind]:
        pk, model = source.pk_of(id_), source.rows(user).model
        if pk is None:
            continue
        about = (
            Case.objects.filter(pk=pk).first() if model is Report else model.objects.filter(**{source.key: pk}).first()
        )
        if about is not None:
            deny("read", by=user, obj=about)
            return


def _tags(resource):
    meta = resource["meta"]
    tag = meta.get("versionId") or meta.get("lastUpdated")
    return {"ETag": f'W/"{tag}"'} if tag else {}
