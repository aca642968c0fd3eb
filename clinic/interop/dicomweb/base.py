"""What every view of DICOMweb shares: its media types, and who may see which instances."""

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView

from clinic.audit.services import deny
from clinic.errors import NotFound
from clinic.interop.dicomweb.accepting import first_of
from clinic.interop.dicomweb.models import DicomInstance
from clinic.interop.dicomweb.services import instances_visible_to


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


class JsonView(DicomView):
    """Answers in DICOM's JSON, or as plain JSON, or not at all."""

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        first_of(request, ("application/dicom+json", "application/json"))
