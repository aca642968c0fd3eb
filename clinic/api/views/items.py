from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.api.base import ReadListOf, ReadOne, checked
from clinic.api.filters import ItemFilter
from clinic.api.problems import of_error
from clinic.api.serializers import ItemOut, ItemsIn, ItemsReceivedOut
from clinic.audit.models import Action
from clinic.cases import downloads, files
from clinic.cases.models import StudyItem
from clinic.cases.services import receive_item
from clinic.cases.visibility import cases_visible_to, find, items_visible_to
from clinic.errors import MarrowError, TooLarge

FORM_OVERHEAD_BYTES = 1024**2


class Items(ReadListOf):
    serializer_class = ItemOut
    queryset = StudyItem.objects.none()
    parent_visible_to = staticmethod(cases_visible_to)
    recorded_as = Action.ITEM_READ
    filterset_class = ItemFilter
    ordering = ("received_at", "id")
    sortable = ("received_at", "filename")
    parser_classes = [MultiPartParser]

    def initial(self, request, *args, **kwargs):
        """Refuse what is too large before a byte of it is kept."""
        sent = request.headers.get("Content-Length", "")
        if sent.isdigit() and int(sent) > settings.UPLOAD_MAX_BYTES + FORM_OVERHEAD_BYTES:
            limit = f"{settings.UPLOAD_MAX_BYTES // 1024**2} MiB"
            raise TooLarge("too_large", f"One request may carry {limit}.", "Send fewer or smaller files.", place="file")
        super().initial(request, *args, **kwargs)

    def rows(self):
        return items_visible_to(self.request.user).filter(case=self.parent)

    @extend_schema(request=ItemsIn, responses={201: ItemsReceivedOut, 207: ItemsReceivedOut})
    def post(self, request, pk):
        """Add one or several files of one kind. 201: all were taken; 207: some were, each with its own verdict.

        A file that is taken is then checked by its reader: see its `status`, and `rejection` where it cannot be used.
        """
        case = find(cases_visible_to, pk, by=request.user)
        said = checked(ItemsIn, request)
        results = [self._receive(request, case, file, said) for file in said["file"]]
        return Response({"results": results}, status=207 if any(r["problem"] for r in results) else 201)

    def _receive(self, request, case, file, said):
        """One file; where it is the only one, its refusal is that of the request."""
        verdict = {"filename": files.display_name(file.name), "item": None, "problem": None}
        try:
            item = receive_item(
                case=case,
                file=file.chunks(),
                filename=file.name,
                kind=said["kind"],
                options=said["options"],
                by=request.user,
            )
        except MarrowError as error:
            if len(said["file"]) == 1:
                raise
            return verdict | {"problem": of_error(error, request.path)}
        return verdict | {"item": ItemOut(item).data}


class OneItem(ReadOne):
    visible_to = staticmethod(items_visible_to)
    recorded_as = Action.ITEM_READ
    serializer_class = ItemOut


class ItemContent(APIView):
    @extend_schema(operation_id="item_content", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request, pk):
        """The file exactly as it was received."""
        return downloads.item_content(pk, by=request.user)


class ArtefactContent(APIView):
    @extend_schema(operation_id="artefact_content", responses={(200, "image/png"): OpenApiTypes.BINARY})
    def get(self, request, pk):
        """A picture that belongs to a finding."""
        return downloads.artefact_content(pk, by=request.user)
