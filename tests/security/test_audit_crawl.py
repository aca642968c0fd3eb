"""Every endpoint that the URL resolver knows, tried: none shows a patient or acts without its event.

What cannot be written down is neither shown nor done: each is tried again while the database refuses the event.
"""

import importlib
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
from django.apps import apps
from django.core.cache import cache
from django.db import connection, transaction
from django.urls import NoReverseMatch, URLResolver, get_resolver, reverse

from clinic.audit.models import AuditEvent
from tests.security import world as worlds
from tests.security.audited.lines import Line

pytestmark = pytest.mark.django_db

METHODS = ("get", "post", "put", "patch", "delete")
OTHERS = ("clinician", "auditor", "admin_user")
HOW_TO = "Add a line to a file in tests/security/audited/ (its docstring in lines.py shows how)."
UNNAMED = {"clinic.urls.healthz": "healthz"}
UNTOUCHED = {"Session", "AccessToken", "UserSession", "LoginTries"}  # who asks, and how often, not what is asked
OURSELVES = {"site", *OTHERS}


def endpoints(resolver=None, namespace=""):
    """Every pattern's name with its namespace, and its callback."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from endpoints(pattern, inner)
        else:
            yield f"{namespace}{pattern.name or UNNAMED.get(pattern.lookup_str, pattern.lookup_str)}"


def lines():
    said = {}
    for path in sorted((Path(__file__).parent / "audited").glob("*.py")):
        if path.stem != "lines":
            said |= importlib.import_module(f"tests.security.audited.{path.stem}").LINES
    return {name: [line] if isinstance(line, Line) else line for name, line in said.items()}


LINES = lines()
NAMES = sorted(set(endpoints()))
EACH = [(name, line) for name, those in sorted(LINES.items()) for line in those if "*" not in name]


@pytest.fixture
def world(site, clinician, auditor, admin_user):
    made = worlds.made(site, clinician)
    return made | {"auditor": auditor, "admin_user": admin_user}


@pytest.fixture
def ask(client, world):
    """``ask(name, line)`` asks as the user of the line and undoes what that did. Returns what came of it."""
    client.raise_request_exception = False

    def asked(name, line, *, by=None, method=None, broken=False):
        cache.clear()
        with transaction.atomic():
            seq, before = newest(), rows()
            if broken:
                break_the_log()
            response = _call(client, world, name, line, by or line.by, method or line.method)
            said = Outcome(
                status=response.status_code,
                shown=worlds.shows_patient(response),
                events=list(AuditEvent.objects.filter(seq__gt=seq)),
                changed=[table for table, count in rows().items() if before[table] != count],
            )
            transaction.set_rollback(True)
        return said

    return asked


@dataclass(frozen=True)
class Outcome:
    status: int
    shown: bool
    events: list
    changed: list


def _call(client, world, name, line, by, method):
    client.logout()
    if by != "nobody":
        client.force_login(world[by])
    address = "/healthz" if name == "healthz" else reverse(name, args=[_id(arg, world) for arg in line.args])
    method = "get" if method == "any" else method
    query, more = _of(line.query, world), {"headers": line.headers}
    if query:
        more["query_params"] = query
    if method != "get":
        as_form = line.format == "multipart" and method == "post"
        more |= {"data": _of(line.body, world) or {}} | ({} if as_form else {"content_type": "application/json"})
    return getattr(client, method)(address, **more)


def _id(arg, world):
    return world[arg].pk if arg in world else arg


def _of(said, world):
    return said(world) if callable(said) else said


def newest():
    return AuditEvent.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


def rows():
    """How many rows each table has: what a refused act must leave as it was."""
    return {model.__name__: model.objects.count() for model in apps.get_models() if model.__name__ not in UNTOUCHED}


def break_the_log():
    """From now on the database takes no event."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "CREATE TRIGGER no_event BEFORE INSERT ON audit_auditevent BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
        else:
            cursor.execute("ALTER TABLE audit_auditevent ADD CONSTRAINT no_event CHECK (seq < 0) NOT VALID")


def names_whom(event, world):
    """Whether an event names an object of the world, or a patient who was made by the very act."""
    said = json.loads(event.body)
    ids = {str(thing.pk) for key, thing in world.items() if key not in OURSELVES}
    named = {said["patient"], said["case"], said["object"]["id"], *_strings(said["detail"])}
    return bool(ids & named) or said["action"] == "patient.create"


def _strings(value):
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [str(value)] if inside is None else [text for one in inside for text in _strings(one)]


def test_every_endpoint_is_known_here():
    patterns = [name for name in LINES if "*" in name]
    unknown = [name for name in NAMES if name not in LINES and not any(fnmatch(name, like) for like in patterns)]
    assert not unknown, f"The audit crawl does not know {unknown}. {HOW_TO}"


def test_every_line_is_of_an_endpoint():
    gone = [name for name in LINES if "*" not in name and name not in NAMES]
    assert not gone, f"These have a line and are no endpoints (any more): {gone}"


@pytest.mark.requirement("M-9")
def test_what_is_shown_or_done_has_its_event(ask, world):
    assert not [problem for name, line in EACH if (problem := _missing(name, line, ask(name, line), world))]


def _missing(name, line, said, world):
    """What is wrong with this answer; empty where nothing is."""
    own = [event for event in said.events if event.action == line.action]
    wrong = {
        f"answers {said.status}, not {line.answer}": line.answer and said.status != line.answer,
        "shows patient data": line.kind == "plain" and said.shown,
        f"answers {said.status} to what its line asks": said.status >= (500 if line.kind == "plain" else 400),
        "shows no patient of this world: make its line plain() or acts(), or the world richer": (
            line.kind == "shows" and not said.shown
        ),
        f"wrote {[event.action for event in said.events]}, not {line.action}": line.kind != "plain" and not own,
        "shows a patient, and its event does not say whom": (
            said.shown and not any(names_whom(event, world) for event in own)
        ),
    }
    return "; ".join(f"{line.method} {name} {problem}" for problem, found in wrong.items() if found)


@pytest.mark.requirement("M-9")
def test_what_cannot_be_written_down_is_not_shown_and_not_done(ask):
    bad = []
    for name, line in EACH:
        if line.kind != "plain":
            said = ask(name, line, broken=True)
            if said.status < 500 or said.shown or said.changed:
                bad.append((name, line.method, said))
    assert not bad


def test_nobody_sees_a_patient_unwritten_by_any_method(ask):
    """Also as another role, and by a method that no line names; one that does something needs a line."""
    bad = []
    for name, those in LINES.items():
        if "*" not in name:
            bad += _unwritten(name, {line.method: line for line in those}, those[0], ask)
    assert not bad, HOW_TO


def _unwritten(name, said, first, ask):
    for by, method in [*((by, "get") for by in OTHERS), *((first.by, method) for method in METHODS)]:
        line = said.get(method) or Line("plain", args=first.args)
        came = ask(name, line, by=by, method=method)
        if came.shown and not came.events:
            yield f"{name} shows patient data to {by} by {method} without an event"
        if method not in said and (came.changed or (came.shown and by == first.by)):
            yield f"{name} does something by {method}, of which no line speaks"


def test_a_pattern_stands_only_for_pages_without_patients(client, world):
    """Another library's pages, by their common name: none shows a patient, whoever is signed in."""
    for pattern, those in LINES.items():
        if "*" in pattern:
            assert all(line.kind == "plain" for line in those)
            for name in (name for name in NAMES if fnmatch(name, pattern) and name not in LINES):
                assert not _shown_to_any(client, world, name)


def _shown_to_any(client, world, name):
    try:
        address = reverse(name)
    except NoReverseMatch:  # it wants arguments that only that library knows
        return False
    for by in OTHERS:
        client.force_login(world[by])
        if worlds.shows_patient(client.get(address)):
            return True
    return False
