"""FHIR search: parameters as filters of what the user may see, and pages by position.

One resource type may come from several tables (an Observation is a laboratory value, a differential or a subtype): each
is a Source. A page holds the newest rows of all sources; the next one goes on after the last row shown.
"""

import base64
import binascii
import heapq
import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from clinic.interop.fhir.outcome import NotUnderstood

EVERY = Q(pk__isnull=False)  # an empty Q would vanish from an "or"
COUNT, MOST = 50, 200
CONTROLS = {"_count", "_page", "_format", "_total", "_pretty", "_include"}
PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le)?(\d{4}.*)")
PARTIAL = re.compile(r"(\d{4})(?:-(\d{2}))?")


@dataclass(frozen=True)
class Source:
    """``rows(user)``: what may be seen; ``at``: the time field it is ordered by; ``prefix``: of its resources' ids.

    ``filters``: parameter → function (one alternative's text) → Q, or None where no row of this source can match.
    ``resource(row)``: the FHIR resource; ``key``: the field behind the id.
    """

    rows: object
    resource: object
    at: str
    filters: dict
    prefix: str = ""
    key: str = "pk"
    numbered: bool = False
    recorded_as: str = ""

    def pk_of(self, id_):
        """The key that an id of this source names; None where it is none."""
        if not id_.startswith(self.prefix):
            return None
        said = id_[len(self.prefix) :]
        if self.numbered:
            return int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None
        try:
            return uuid.UUID(said) if len(said) == 36 else None
        except ValueError:
            return None

    def find(self, user, id_):
        pk = self.pk_of(id_)
        return self.rows(user).filter(**{self.key: pk}).first() if pk is not None else None


@dataclass
class Page:
    rows: list = field(default_factory=list)  # of (source, row)
    cursor: str = ""


def find_page(sources, user, params):
    """The rows that ``params`` (name → list of texts) ask for. Raises NotUnderstood."""
    limit = _count(params.get("_count", [str(COUNT)])[-1])
    after = _read_cursor(params["_page"][-1]) if "_page" in params else None
    streams = [_stream(n, source, user, params, after, limit + 1) for n, source in enumerate(sources)]
    found = list(islice(heapq.merge(*streams, key=lambda one: one[0]), limit + 1))
    page = Page([(source, row) for _, source, row in found[:limit]])
    if len(found) > limit:
        _, source, row = found[limit - 1]
        page.cursor = _write_cursor(sources.index(source), source, row)
    return page


def known_parameters(sources):
    return {name for source in sources for name in source.filters} | {"_id"}


def _stream(number, source, user, params, after, limit):
    rows = filtered(source, user, params)
    if after:
        rows = rows.filter(_behind(number, source, after))
    rows = rows.order_by(f"-{source.at}", f"-{source.key}")[:limit]
    return [((-_value(row, source.at).timestamp(), number, n), source, row) for n, row in enumerate(rows)]


def filtered(source, user, params):
    rows = source.rows(user)
    for name, texts in params.items():
        if name in CONTROLS:
            continue
        for text in texts:
            rows = rows.filter(_alternatives(source, name, text))
    return rows


def _alternatives(source, name, text):
    """Commas are 'or'."""
    found = Q(pk__in=[])
    for one in filter(None, text.split(",")):
        if name == "_id":
            pk = source.pk_of(one)
            said = Q(**{source.key: pk}) if pk is not None else None
        else:
            said = source.filters[name](one) if name in source.filters else None
        if said is not None:
            found |= said
    return found


def _behind(number, source, after):
    at, in_source, key = after
    older = Q(**{f"{source.at}__lt": at})
    if number < in_source:
        return older
    same_time = Q(**{source.at: at})
    if number > in_source:
        return older | same_time
    return older | (same_time & Q(**{f"{source.key}__lt": key}))


def _value(row, path):
    for name in path.split("__"):
        row = getattr(row, name)
    return row


def _write_cursor(number, source, row):
    said = [_value(row, source.at).isoformat(), number, str(_value(row, source.key))]
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def _read_cursor(text):
    try:
        at, number, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        moment = datetime.fromisoformat(at)
        key = int(key) if key.isdigit() else str(uuid.UUID(key))
        if moment.tzinfo is None or not isinstance(number, int):
            raise ValueError
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError):
        raise NotUnderstood("bad_page", "This page address is none of this server.", "Start the search anew.") from None
    return moment, number, key


def _count(text):
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise NotUnderstood("bad_count", "_count must be a whole number.", f"Use 1 to {MOST}.", place="_count")
    return max(1, min(int(text), MOST))


# --- what parameters say ----------------


def token(text):
    """``system|code`` → (system or None, code)."""
    system, bar, code = text.rpartition("|")
    return (system if bar else None), code


def by_token(name, known):
    """A filter over fixed words: ``known`` maps each word to a Q."""

    def say(text):
        word = token(text)[1]
        if word not in known:
            words = ", ".join(sorted(known))
            raise NotUnderstood("unknown_value", f"{name} has no value {word[:40]!r}.", f"Use {words}.", place=name)
        return known[word]

    return say


def by_reference(kind, field_):
    def say(text):
        pk = text.rsplit("/", 1)[-1] if text.startswith((f"{kind}/", "http://", "https://")) else text
        try:
            return Q(**{field_: uuid.UUID(pk)})
        except ValueError:
            return None

    return say


def by_date(field_, *, whole_days=False, written=""):
    """``ge2026-01``, ``2026-03-02``, ``lt2026-03-02T12:00:00Z``: FHIR's prefixes over FHIR's partial dates.

    ``whole_days``: of a column of days; ``written``: how they are written where it is one of text.
    """

    def say(text):
        match = PREFIXED.fullmatch(text)
        start, end = _span(match[2]) if match else (None, None)
        if start is None:
            raise NotUnderstood(
                "bad_date", f"{text[:40]!r} is no date.", "Use, for example, ge2026-03-02.", place=field_
            )
        if whole_days:
            start, end = start.date(), (end - timedelta(microseconds=1)).date() + timedelta(days=1)
        if written:
            start, end = start.strftime(written), end.strftime(written)
        inside = Q(**{f"{field_}__gte": start, f"{field_}__lt": end})
        return {
            "eq": inside,
            "ne": ~inside,
            "gt": Q(**{f"{field_}__gte": end}),
            "ge": Q(**{f"{field_}__gte": start}),
            "lt": Q(**{f"{field_}__lt": start}),
            "le": Q(**{f"{field_}__lt": end}),
        }[match[1] or "eq"]

    return say


def _span(text):
    """The time that a partial date covers: from, and before."""
    try:
        if match := PARTIAL.fullmatch(text):
            year, month = int(match[1]), int(match[2] or 1)
            first = date(year, month, 1)
            last = date(year + 1, 1, 1) if not match[2] else (first + timedelta(days=32)).replace(day=1)
            return _midnight(first), _midnight(last)
        if day := parse_date(text):
            return _midnight(day), _midnight(day + timedelta(days=1))
        moment = parse_datetime(text)
    except (ValueError, OverflowError):
        return None, None
    if moment is None:
        return None, None
    moment = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return moment, moment + timedelta(seconds=0 if moment.microsecond else 1)


def _midnight(day):
    return timezone.make_aware(datetime(day.year, day.month, day.day))  # noqa: DTZ001 (made aware here)
