"""Pages by position, not by number: page 1000 costs what page 1 does, and a new row shifts nobody's page."""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db.models import Q
from rest_framework.pagination import BasePagination
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from clinic.errors import InvalidInput

DEFAULT, MOST = 50, 200
LIMIT = f"How many on a page: 1 to {MOST}; {DEFAULT} unless told."
CURSOR = "Where to go on: taken from `next` or `previous` of the page before."


@dataclass(frozen=True)
class Position:
    """Beyond the row with these values of the order's fields, forwards or ``back``."""

    order: str
    values: tuple
    back: bool = False

    def encoded(self):
        return urlsafe_b64encode(json.dumps([self.order, self.values, self.back], default=_plain).encode()).decode()


class KeysetPagination(BasePagination):
    """The order is the view's ``ordering``, or one of its ``sortable`` fields; the id decides between equals."""

    def paginate_queryset(self, queryset, request, view=None):
        self.url, self.limit = request.build_absolute_uri(), _limit(request)
        order = _order(request, view)
        at = _position(request, order, queryset.model)
        back = at is not None and at.back
        if at:
            queryset = queryset.filter(_beyond(order, at))
        names = [_flip(name) for name in order] if back else order
        rows = _first(queryset, view.sites() if hasattr(view, "sites") else None, names, self.limit + 1)
        more, rows = len(rows) > self.limit, rows[: self.limit]
        rows = rows[::-1] if back else rows
        self.next = _at(rows, -1, order) if rows and (more or back) else None
        self.previous = _at(rows, 0, order, back=True) if rows and (more if back else at) else None
        return rows

    def get_paginated_response(self, data):
        return Response({"next": self._link(self.next), "previous": self._link(self.previous), "results": data})

    def _link(self, position):
        return replace_query_param(self.url, "cursor", position.encoded()) if position else None

    def get_paginated_response_schema(self, schema):
        link = {"type": ["string", "null"], "format": "uri"}
        properties = {"next": link, "previous": link, "results": schema}
        return {"type": "object", "required": ["next", "previous", "results"], "properties": properties}

    def get_schema_operation_parameters(self, view):
        said = [
            ("cursor", CURSOR, {"type": "string", "minLength": 1}),
            ("limit", LIMIT, {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT}),
        ]
        if sortable := getattr(view, "sortable", ()):
            names = [sign + name for name in sortable for sign in ("", "-")]
            said.append(("ordering", "By what to sort; `-`: the last first.", {"type": "string", "enum": names}))
        return [{"name": n, "in": "query", "required": False, "description": d, "schema": s} for n, d, s in said]


def _plain(value):
    """Times to the microsecond, which is where they differ."""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _limit(request):
    said = request.query_params.get("limit")
    if said is None:
        return DEFAULT
    if not (said.isascii() and said.isdigit() and len(said) < 6 and 1 <= int(said) <= MOST):
        raise InvalidInput("invalid_limit", f"The limit is a number from 1 to {MOST}.", place="limit")
    return int(said)


def _order(request, view):
    said = request.query_params.get("ordering")
    if said is None:
        return tuple(view.ordering)
    sortable = getattr(view, "sortable", ())
    if said.lstrip("-") not in sortable or said.startswith("--"):
        known = ", ".join(sortable) or "nothing: this list has one order"
        raise InvalidInput("invalid_ordering", f"One sorts by {known}.", place="ordering")
    return said, "-id" if said.startswith("-") else "id"


def _first(queryset, sites, names, count):
    """The first rows; of each of ``sites`` by itself where they are told, for an index has the order of one site."""
    if sites is None:
        return list(queryset.order_by(*names)[:count])
    firsts = [queryset.filter(site=site).order_by(*names)[:count] for site in sites]
    if len(firsts) == 1:
        return list(firsts[0])
    keys = [pk for rows in firsts for pk in rows.values_list("pk", flat=True)]
    return list(queryset.filter(pk__in=keys).order_by(*names)[:count])  # the database's order: its letters' is not ours


def _position(request, order, model):
    said = request.query_params.get("cursor")
    if said is None:
        return None
    try:
        of_order, values, back = json.loads(urlsafe_b64decode(said.encode()))
        if of_order != ",".join(order) or not isinstance(back, bool):
            raise ValueError("a cursor of another list")
        fields = [model._meta.get_field(name.lstrip("-")) for name in order]  # noqa: SLF001 (Django's public name)
        return Position(of_order, tuple(_value(f, v) for f, v in zip(fields, values, strict=True)), back)
    except (ValueError, TypeError, binascii.Error, ValidationError, OverflowError):
        problem = "This is no cursor of this list in this order."
        raise InvalidInput("invalid_cursor", problem, "Take it from `next` or `previous`.", place="cursor") from None


def _value(field, said):
    if said is None or isinstance(said, (bool, list, dict)) or "\0" in str(said):
        raise ValueError("no value of a field")
    return field.to_python(said)


def _beyond(order, at):
    """Rows after ``at``. The first condition alone finds the place in the index; the second decides between equals."""
    (first, *rest), (value, *values) = order, at.values
    down = first.startswith("-") != at.back
    name, beyond = first.lstrip("-"), "lt" if down else "gt"
    if not rest:
        return Q((f"{name}__{beyond}", value))
    tie = _beyond(tuple(rest), Position(at.order, tuple(values), at.back))
    return Q((f"{name}__{beyond}e", value)) & (Q((f"{name}__{beyond}", value)) | tie)


def _at(rows, number, order, *, back=False):
    values = tuple(getattr(rows[number], name.lstrip("-")) for name in order)
    return Position(",".join(order), values, back)


def _flip(name):
    return name[1:] if name.startswith("-") else f"-{name}"
