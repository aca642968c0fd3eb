"""The worklist: one page of the cases that somebody may see, in the order of an index, however many there are."""

import heapq
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from uuid import UUID

from django.db import connection
from django.db.models import CharField, F, Func, Q, Value
from django.db.models.functions import Concat
from django.db.models.lookups import Contains, GreaterThan, LessThan
from django.utils import timezone

from clinic.cases.models import Case, CaseState, Triage
from clinic.cases.visibility import cases_visible_to
from clinic.errors import InvalidInput
from clinic.patients.models import Patient
from clinic.patients.services import search_patients, wanted_in

UNSIGNED = Q(triage__lt=Triage.SIGNED)
VIEWS = {
    "todo": ("To do", UNSIGNED),
    "urgent": ("Urgent", Q(triage=Triage.URGENT)),
    "discordant": ("Discordant", Q(triage__in=[Triage.URGENT, Triage.DISCORDANT], discordant=True)),
    "tosign": ("To sign", Q(state__in=[CaseState.ASSESSED, CaseState.ABSTAINED])),
    "working": ("In progress", Q(state__in=[CaseState.CHECKING, CaseState.ANALYSING])),
    "failed": ("Failed", Q(state=CaseState.FAILED)),
    "open": ("Not analysed", Q(state=CaseState.OPEN)),
    "signed": ("Signed", Q(state=CaseState.SIGNED)),
    "all": ("All", Q()),
}
SORTS = {
    "triage": ("Urgent first, then discordant, then the longest waiting", ("triage", "created_at", "id")),
    "newest": ("Newest first", ("-created_at", "-id")),
    "oldest": ("Oldest first", ("created_at", "id")),
    "name": ("By name", ("patient__name", "id")),
}
NEWEST_BY_ITSELF = {"signed", "all"}
KINDS = {"triage": int, "created_at": datetime.fromisoformat, "id": UUID}
NAME = "patient__name"
MERGED = 6  # sites that are read one by one, each in the order of its index
FEW = 2000  # patients that a search may find to be looked up by themselves; more are met soon in the list's own order
COUNTED = 1000  # beyond this a count says "more than"


# The same text, as no index has it: what many patients have is to be met on the way, whatever the planner thinks of it.
WALKED = Concat("patient__search", Value(""))


class Row(Func):
    """A row of SQL values: (a, b) > (x, y) is what an index of (a, b) answers at once."""

    template = "(%(expressions)s)"
    output_field = CharField()


def sort_of(view, sort):
    return sort if sort in SORTS else "newest" if view in NEWEST_BY_ITSELF else "triage"


def page_of(user, sites, asked, *, size):
    """One page as (cases, whether there are more). ``asked``: view, sort, q, days, synthetic, after (see ``place``)."""
    order = SORTS[sort_of(asked["view"], asked["sort"])][1]
    cases = _matching(user, sites, asked).select_related(None).select_related("patient").defer("history")
    if asked["after"]:
        cases = cases.filter(_after(order, asked["after"], cases_visible_to(user)))
    cases = cases.order_by(*order)
    if 1 < len(sites) <= MERGED and NAME not in order:
        rows = _merged(cases, sites, order, size + 1)
    else:
        rows = list(cases.filter(site__in=sites)[: size + 1])
    known = {site.pk: site for site in sites}
    for row in rows:
        row.site = known[row.site_id]
    return rows[:size], len(rows) > size


def place(row, view, sort):
    """Where ``row`` stands in its list, for the address of the next page: a row that moves on shifts nobody's page.

    A name is not written into an address: the id stands for it.
    """
    order = SORTS[sort_of(view, sort)][1]
    return "~".join(_text(_value(row, name)) for name in order if name != NAME)


def counts_of(sites):
    """View → how many cases at ``sites``, which who asks may see; one query; None where there are more than COUNTED."""
    sql, params = _counting(tuple(site.pk for site in sites), connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        found = cursor.fetchone()
    return {name: count if count <= COUNTED else None for name, count in zip(VIEWS, found, strict=True)}


@lru_cache(maxsize=256)
def _counting(sites, _vendor):
    """(SQL, its values) of all counts: the same for the same sites, and as slow to write as to run."""
    parts, params = [], []
    for _, wanted in VIEWS.values():
        cases = Case.objects.filter(wanted, site__in=sites).order_by().values_list(Value(1))
        sql, said = cases[: COUNTED + 1].query.sql_with_params()
        parts.append(f"(SELECT count(*) FROM ({sql}) counted)")  # noqa: S608 (the ORM's own SQL, its values apart)
        params += said
    return f"SELECT {', '.join(parts)}", params


def _matching(user, sites, asked):
    cases = cases_visible_to(user).filter(VIEWS[asked["view"]][1])
    if asked["days"]:
        cases = cases.filter(created_at__gte=timezone.now() - timedelta(days=asked["days"]))
    if asked["synthetic"]:
        cases = cases.filter(patient__synthetic=asked["synthetic"] == "only")
    return cases.filter(_found(sites, asked["q"])) if asked["q"] else cases


def _found(sites, text):
    """By name, record number, or any part of an accession number; who asks sees ``sites``.

    What few patients have is looked up from them. What many have turns up soon on the way through the list, and would
    be slow to collect first.
    """
    patients = search_patients(Patient.objects.filter(site__in=sites), text)
    ids = list(patients.order_by().values_list("pk", flat=True)[: FEW + 1])
    if len(ids) > FEW:
        return Q(Contains(WALKED, wanted_in(text)))
    orders = Case.objects.filter(site__in=sites, accession__icontains=text) if len(text) > 2 else Case.objects.none()
    return Q(patient__in=ids) | Q(pk__in=list(orders.values_list("pk", flat=True)[:FEW]))


def _after(order, text, cases):
    """The rows behind the place that ``text`` says, by a comparison that an index answers."""
    names = [name.lstrip("-") for name in order]
    kept = [name for name in names if name != NAME]
    try:
        said = {name: KINDS[name](part) for name, part in zip(kept, text.split("~"), strict=True)}
        if NAME in names:
            said[NAME] = cases.values_list(NAME, flat=True).get(pk=said["id"])
    except (ValueError, Case.DoesNotExist):
        raise InvalidInput(
            "bad_place", "This page of the list cannot be found.", "Open the worklist again.", place="after"
        ) from None
    values = [Value(said[name], output_field=_field(name)) for name in names]
    compare = LessThan if order[0].startswith("-") else GreaterThan
    behind = Q(compare(Row(*map(F, names)), Row(*values)))
    return behind & Q(patient__name__gte=said[NAME]) if NAME in names else behind


def _field(name):
    return Patient._meta.get_field("name") if name == NAME else Case._meta.get_field(name)  # noqa: SLF001 (public)


def _merged(cases, sites, order, size):
    """The first of all sites' lists: places first, then only the rows that a page shows."""
    places = [cases.filter(site=site).values_list("pk", *(name.lstrip("-") for name in order))[:size] for site in sites]
    first = islice(heapq.merge(*places, key=lambda place: place[1:], reverse=order[0].startswith("-")), size)
    keys = [place[0] for place in first]
    rows = {row.pk: row for row in cases.order_by().filter(pk__in=keys)}
    return [rows[key] for key in keys if key in rows]


def _value(row, name):
    return getattr(row, name.lstrip("-"))


def _text(value):
    return value.isoformat() if isinstance(value, datetime) else str(value)
