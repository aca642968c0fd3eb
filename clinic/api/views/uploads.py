"""Large files, sent in parts and resumed where they were cut: the same uploads as the portal's."""

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import require
from clinic.api.base import ReadListOf, ReadOne, checked
from clinic.api.serializers_uploads import UploadIn, UploadOut, UploadRetryIn
from clinic.audit.models import Action
from clinic.cases.visibility import cases_visible_to, find
from clinic.errors import InvalidInput, TooLarge
from clinic.uploads import services
from clinic.uploads.models import Upload
from clinic.uploads.visibility import uploads_visible_to

BLOCK = 256 * 1024
OFFSET = OpenApiParameter(
    "Upload-Offset",
    {"type": "integer", "minimum": 0, "maximum": 10**15 - 1},
    OpenApiParameter.HEADER,
    required=True,
    description="Where this part begins: `received` of the upload.",
)


class Bytes(BaseParser):
    """The body as it comes, in blocks."""

    media_type = "application/octet-stream"

    def parse(self, stream, media_type=None, parser_context=None):  # noqa: ARG002 (REST framework's signature)
        return iter(lambda: stream.read(BLOCK), b"")


class Uploads(ReadListOf):
    serializer_class = UploadOut
    queryset = Upload.objects.none()
    parent_visible_to = staticmethod(cases_visible_to)
    recorded_as = Action.UPLOAD_READ
    act = "item.upload"
    ordering = ("-started_at", "-id")

    def rows(self):
        return uploads_visible_to(self.request.user).filter(case=self.parent).select_related("item")

    @extend_schema(request=UploadIn, responses={201: UploadOut})
    def post(self, request, pk):
        """Announce a file; then PATCH its bytes. One that was begun before goes on, one that is here needs no bytes."""
        case = find(cases_visible_to, pk, by=request.user)
        upload = services.start(case=case, by=request.user, **checked(UploadIn, request))
        return Response(UploadOut(upload).data, status=201)


class OneUpload(ReadOne):
    visible_to = staticmethod(uploads_visible_to)
    recorded_as = Action.UPLOAD_READ
    serializer_class = UploadOut
    parser_classes = [Bytes]

    @extend_schema(
        parameters=[OFFSET],
        request={("application/octet-stream"): OpenApiTypes.BINARY},
        responses=UploadOut,
    )
    def patch(self, request, pk):
        """The next part. With the last byte the file is whole, and judged. A wrong offset is a 409: ask and go on."""
        upload = find(uploads_visible_to, pk, by=request.user)
        require(request.user, "item.upload", upload.case.patient.site, obj=upload)
        if int(request.headers.get("Content-Length") or 0) > settings.UPLOAD_CHUNK_BYTES:
            problem = f"A part may have {settings.UPLOAD_CHUNK_BYTES} bytes."
            raise TooLarge("chunk_too_large", problem, "Send smaller parts.", place="Content-Length")
        offset = _offset(request)
        upload = services.append(upload=upload, offset=offset, chunks=request.data, by=request.user)
        return Response(UploadOut(upload).data)

    @extend_schema(request=None, responses={204: None})
    def delete(self, request, pk):
        """Give up an upload that is not yet an item."""
        services.cancel(upload=find(uploads_visible_to, pk, by=request.user), by=request.user)
        return Response(status=204)


class RetryUpload(APIView):
    @extend_schema(request=UploadRetryIn, responses=UploadOut)
    def post(self, request, pk):
        """Have a refused file judged once more, as the kind that you say it is. Its bytes are here already."""
        upload = find(uploads_visible_to, pk, by=request.user)
        services.retry(upload=upload, by=request.user, **checked(UploadRetryIn, request))
        upload.refresh_from_db()
        return Response(UploadOut(upload).data)


def _offset(request):
    said = request.headers.get("Upload-Offset", "")
    if not (said.isascii() and said.isdigit() and len(said) <= 15):
        problem = "The header Upload-Offset must be a number of bytes."
        raise InvalidInput("bad_header", problem, "Send a whole number.", place="Upload-Offset")
    return int(said)
