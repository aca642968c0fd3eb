"""DICOMweb (PS3.18): STOW-RS in; QIDO-RS and WADO-RS of what came in. Reading is written down, as everywhere."""

from django.conf import settings
from django.db import transaction
from django.http import StreamingHttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import deny, record
from clinic.cases import files
from clinic.errors import NotFound
from clinic.interop.dicomweb import parts, searching
from clinic.interop.dicomweb.models import DicomInstance
from clinic.interop.dicomweb.services import instances_visible_to, store

FORM_OVERHEAD_BYTES = 1024**2


class DicomJson(JSONRenderer):
    media_type = "application/dicom+json"
    format = None
    charset = None


class Multipart(BaseParser):
    media_type = "multipart/related"

    def parse(self, stream, media_type=None, parser_context=None):  # noqa: ARG002 (REST framework's signature)
        return {}  # the view reads the stream itself


class FirstOne(BaseContentNegotiation):
    """DICOM's media types carry parameters that REST framework cannot match; there is one form of each answer."""

    def select_parser(self, request, parsers):
        said = request.content_type or ""
        return next((one for one in parsers if said.startswith(one.media_type)), None)

    def select_renderer(self, request, renderers, format_suffix=None):  # noqa: ARG002 (REST framework's signature)
        return renderers[0], renderers[0].media_type


class DicomView(APIView):
    schema = None  # described by the standard
    renderer_classes = [DicomJson]
    parser_classes = [Multipart]
    content_negotiation_class = FirstOne

    def base_url(self):
        return self.request.build_absolute_uri("/dicomweb")

    def instances(self, uids):
        """Those below the address, that the user may see. Who asks for others' is written down."""
        names = {"study": "study__uid", "series": "series_uid", "instance": "sop_uid"}
        wanted = {names[name]: uid for name, uid in uids.items()}
        found = list(instances_visible_to(self.request.user).filter(**wanted).order_by("pk"))
        if not found:
            if foreign := DicomInstance.objects.filter(**wanted).select_related("study__case__patient").first():
                deny("read", by=self.request.user, obj=foreign.study.case)
            raise NotFound
        return found


class Search(DicomView):
    """QIDO-RS. ``level``: studies, series or instances."""

    level = "studies"

    @transaction.atomic
    def get(self, request, **uids):
        require(request.user, "case.view")
        rows = instances_visible_to(request.user)
        rows = rows.filter(study__uid=uids["study"]) if "study" in uids else rows
        rows = rows.filter(series_uid=uids["series"]) if "series" in uids else rows
        rows = searching.matching(rows, request.query_params)
        groups = searching.grouped(rows, self.level, searching.window(request.query_params))
        hits = [str(one.item_id) for group in groups for one in group]
        said = {"dicomweb": self.level, "query": request.query_params.dict() | uids, "hits": hits}
        record(Action.ITEM_READ, by=request.user, detail=said)
        return Response([searching.told(group, self.level, self.base_url()) for group in groups])


class Studies(Search):
    def post(self, request, study=None):
        with parts.received(request, settings.UPLOAD_MAX_BYTES + FORM_OVERHEAD_BYTES) as (data, found):
            became = store(data=data, found=found, by=request.user, study_uid=study)
        failed = [one for one in became if one.failure]
        status = 200 if not failed else 409 if len(failed) == len(became) else 202
        return Response(_stored(became, self.base_url()), status=status)


class OneStudy(DicomView):
    """WADO-RS of a study, a series or an instance: the files as they came. And STOW-RS into this study."""

    def get(self, request, **uids):
        with transaction.atomic():
            found = self.instances(uids)
            for one in found:
                detail = {"sha256": one.item.sha256, "sop": one.sop_uid}
                record(Action.ITEM_DOWNLOAD, by=request.user, obj=one.item, detail=detail)
        content_type, blocks = parts.sent([lambda one=one: files.blocks(one.item.sha256) for one in found])
        headers = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
        return StreamingHttpResponse(blocks, content_type=content_type, headers=headers)


class OneStudyOrMore(OneStudy):
    post = Studies.post


class Metadata(DicomView):
    @transaction.atomic
    def get(self, request, **uids):
        """The attributes that Marrow keeps of each instance."""
        found = self.instances(uids)
        for one in found:
            record(Action.ITEM_READ, by=request.user, obj=one.item, detail={"sop": one.sop_uid})
        return Response([one.header for one in found])


def _stored(became, base_url):
    """The answer to a STOW: what was stored, what was not and why."""
    failed = [_reference(one) | _value("00081197", "US", one.failure) for one in became if one.failure]
    stored = [_reference(one) | _retrieve(one, base_url) for one in became if not one.failure]
    said = {}
    if failed:
        said["00081198"] = {"vr": "SQ", "Value": failed}
    if stored:
        said["00081199"] = {"vr": "SQ", "Value": stored}
        studies = {one.study_uid for one in became if not one.failure}
        if len(studies) == 1:
            said = _value("00081190", "UR", f"{base_url}/studies/{studies.pop()}") | said
    return said


def _reference(one):
    return _value("00081150", "UI", one.sop_class) | _value("00081155", "UI", one.sop_uid)


def _retrieve(one, base_url):
    url = f"{base_url}/studies/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_uid}"
    return _value("00081190", "UR", url)


def _value(tag, vr, value):
    return {tag: {"vr": vr, "Value": [value]} if value != "" else {"vr": vr}}
