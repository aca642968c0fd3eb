"""What the views share: input checked, output made, and reading written down before it is answered."""

from contextlib import nullcontext
from functools import wraps
from threading import RLock

from django.db import connection, transaction
from rest_framework.generics import ListAPIView
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import require
from clinic.api.etags import check_match, etag_of
from clinic.audit.services import record
from clinic.cases.visibility import find

TURN = RLock()


def reading(method):
    """In a transaction, and one thread at a time: SQLite lets one in alone, and has the others sleep up to 100 ms."""

    @wraps(method)
    def read(*args, **said):
        with TURN if connection.vendor == "sqlite" else nullcontext(), transaction.atomic():
            return method(*args, **said)

    return read


def checked(serializer_class, request, **said):
    """The request's data as the serializer wants it; raises REST framework's ValidationError."""
    serializer = serializer_class(data=request.data, **said)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


class ReadOne(APIView):
    """One object that the user may see; the reading is recorded in the transaction in which it is read."""

    visible_to = None
    recorded_as = None
    serializer_class = None

    @reading
    def get(self, request, pk):
        found = find(self.visible_to, pk, by=request.user)
        record(self.recorded_as, by=request.user, obj=found)
        return self.tell(found)

    def tell(self, found):
        data = self.serializer_class(found).data
        return Response(data, headers={"ETag": etag_of(data)})


class EditOne(ReadOne):
    """As above; and ``edit(found, by, changes)`` changes it, for who names the state that is changed (If-Match)."""

    edit_serializer_class = None

    @transaction.atomic
    def patch(self, request, pk):
        found = find(self._locked, pk, by=request.user)
        check_match(request, etag_of(self.serializer_class(found).data))
        changes = checked(self.edit_serializer_class, request, partial=True)
        return self.tell(self.edit(found, request.user, changes))

    def _locked(self, user):
        return self.visible_to(user).select_for_update(of=("self",))

    def edit(self, found, by, changes):
        raise NotImplementedError


class ReadList(ListAPIView):
    """A list of what the user may see; the reading is recorded, with what was asked and what was found.

    ``queryset`` is empty and only tells the schema what is listed; ``rows()`` gives what is.
    """

    act = "case.view"
    recorded_as = None
    ordering = ("-created_at", "-id")
    sortable = ()

    def get_queryset(self):
        return self.queryset if getattr(self, "swagger_fake_view", False) else self.rows()

    def about(self):
        """What the list belongs to, for the log: ``obj``."""
        return {}

    @reading
    def list(self, request, *args, **kwargs):
        require(request.user, self.act)
        about = self.about()
        response = super().list(request, *args, **kwargs)
        hits = [row.get("id") or row.get("seq") for row in response.data["results"]]
        said = {"query": request.query_params.dict(), "hits": hits}
        record(self.recorded_as, by=request.user, detail=said, **about)
        return response


class ReadListOf(ReadList):
    """A list that belongs to one object, ``parent``, which the user must be able to see."""

    parent_visible_to = None

    def about(self):
        self.parent = find(self.parent_visible_to, self.kwargs["pk"], by=self.request.user)
        return {"obj": self.parent}
