"""How the table of permissions is written. Its rows lie in ``rows/``, a file a room: to add an endpoint, add its line.

A row is ``"METHOD route"`` → the nine answers of ``answers(...)``. The route is the URL's name with its namespace, or
the path where it has none. ``OBJECTS`` says what stands in the URL, ``BODIES`` what is sent.
"""

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from allauth.usersessions.models import UserSession
from django.urls import URLPattern, get_resolver, reverse

from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import AnalysisStatus
from clinic.cases.reports import draft_report, sign
from clinic.imports.services import request_import
from clinic.safeguards.emergency import break_glass
from clinic.safeguards.models import Halt
from clinic.tokens.services import create_service_token, issue_for_login
from clinic.uploads import services as uploads
from tests.clinic.interop.conftest import microscope_image
from tests.factories import (
    PASSWORD,
    AnalysisFactory,
    BundleFactory,
    CaseFactory,
    ItemFactory,
    UserFactory,
    assessed_case,
    member,
)
from tests.portal_cases import full_case, png

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
LOGIN = 302  # to the login page: a page's answer to nobody
USERS = {
    "nobody": lambda w: None,
    "technician": lambda w: member(w.site, "technician"),
    "clinician": lambda w: w.clinician,
    "integrator": lambda w: member(w.site, "integrator"),
    "auditor": lambda w: member(w.site, "auditor"),
    "admin": lambda w: member(w.site, "admin"),
    "clinician elsewhere": lambda w: member(w.other_site, "clinician"),
    "admin elsewhere": lambda w: member(w.other_site, "admin"),
    "without a role": lambda w: UserFactory(is_superuser=True, is_staff=True),
}


def answers(*said):
    """The statuses that each kind of user gets, in the order of ``USERS``."""
    return dict(zip(USERS, said, strict=True))


def staff(ok, *, nobody=401, others=404, elsewhere=404):
    """``ok`` to the three roles that work on cases here; ``others``: auditor, admins and who has no role."""
    return answers(nobody, ok, ok, ok, others, others, elsewhere, others, others)


def clinicians(ok, *, nobody=401, here=403, others=404, elsewhere=404):
    """``ok`` to clinicians of the site alone; ``here``: the two other roles that work on its cases."""
    return answers(nobody, here, ok, here, others, others, elsewhere, others, others)


def overseers(ok, *, nobody=401, elsewhere=None):
    """``ok`` to auditors and admins of the site; ``elsewhere``: to an admin of another (the same, unless said)."""
    return answers(nobody, 403, 403, 403, ok, ok, 403, ok if elsewhere is None else elsewhere, 403)


def admins(ok, *, nobody=401, elsewhere=None):
    return answers(nobody, 403, 403, 403, 403, ok, 403, ok if elsewhere is None else elsewhere, 403)


def everyone(ok, *, nobody=401):
    """``ok`` to whoever is signed in."""
    return answers(nobody, *[ok] * 8)


@dataclass
class World:
    """The objects of one site that the table is about, each made when a row first asks for it."""

    site: object
    other_site: object

    @cached_property
    def clinician(self):
        return member(self.site, "clinician", username="doctor")

    @cached_property
    def assessment(self):
        return full_case(self.site)

    @cached_property
    def analysis(self):
        return self.assessment.analysis

    @cached_property
    def case(self):
        """With files of every kind, an assessment and no report."""
        return self.analysis.case

    @cached_property
    def bundle(self):
        return BundleFactory(name="smear-cell", status="imported")

    @cached_property
    def patient(self):
        return self.case.patient

    @cached_property
    def image(self):
        return self.case.items.get(kind="smear_field")

    @cached_property
    def microscope(self):
        return microscope_image(self.ready_case, png(80))

    @cached_property
    def artefact(self):
        return self.analysis.findings.get(modality="smear_field").artefacts.get()

    @cached_property
    def ready_case(self):
        """With an accepted file, not analysed yet."""
        BundleFactory._meta.model.objects.filter(name="labs").exists() or BundleFactory(name="labs")
        BundleFactory._meta.model.objects.filter(name="fusion").exists() or BundleFactory(name="fusion")
        return ItemFactory(case=CaseFactory(patient__site=self.site)).case

    @cached_property
    def item(self):
        return self.ready_case.items.get()

    @cached_property
    def upload(self):
        """Announced, nothing sent yet."""
        return uploads.start(case=self.ready_case, filename="a", size=100, by=self.clinician)

    @cached_property
    def live_analysis(self):
        return AnalysisFactory(case=self.ready_case, status=AnalysisStatus.QUEUED, finished_at=None)

    @cached_property
    def service_token(self):
        boss = member(self.site, "admin")
        return create_service_token(name="LIS", scopes=["case.view"], site=self.site, days=7, by=boss)[0]

    @cached_property
    def bulk_import(self):
        table = b"mrn,name\n77,Some Person\n"
        return request_import(site=self.site, kind="cases", data=table, filename="cases.csv", by=self.clinician)

    @cached_property
    def foreign_session(self):
        """One of somebody who is none of the users of the table."""
        somebody = member(self.site, "clinician")
        return UserSession.objects.create(user=somebody, ip="192.0.2.1", session_key="x" * 32, user_agent="")

    @cached_property
    def halt(self):
        return Halt.objects.create(bundle="labs", reason="It answers the same to everything.")

    @cached_property
    def emergency_access(self):
        somebody = member(self.other_site, "clinician")
        said = {"site": self.site, "mrn": self.patient.mrn, "birth_date": self.patient.birth_date}
        return break_glass(**said, reason="Unconscious in our emergency room.", by=somebody)

    @cached_property
    def draft(self):
        return draft_report(assessment=self.assessment, by=self.clinician)

    @cached_property
    def signed(self):
        report = draft_report(assessment=assessed_case(self.site), by=self.clinician)
        sign(report=report, by=self.clinician, password=PASSWORD, decision="agree")
        return report


@dataclass(frozen=True)
class Row:
    """``tokens``: whether the endpoint takes the API's tokens; where not, who brings one is nobody."""

    route: str
    method: str
    answers: dict
    objects: object
    body: object
    tokens: bool

    def __str__(self):
        return f"{self.method} {self.route}"

    def url(self, world):
        if self.route.startswith("/"):
            return self.route
        found = self.objects(world) if self.objects else []
        found = found if isinstance(found, (list, tuple)) else [found]
        return reverse(self.route, args=[getattr(one, "pk", one) for one in found])


def _rooms():
    for file in sorted((Path(__file__).parent / "rows").glob("[a-z]*.py")):
        yield importlib.import_module(f"tests.security.rows.{file.stem}")


def rows():
    for room in _rooms():
        for key, said in room.ROWS.items():
            method, route = key.split()
            body = getattr(room, "BODIES", {}).get(key)
            objects = getattr(room, "OBJECTS", {}).get(route)
            yield Row(route, method, said, objects, body, getattr(room, "TOKENS", True))


def elsewhere():
    """Endpoints that no person's role opens: route → the file that tests who may."""
    return {route: file for room in _rooms() for route, file in getattr(room, "ELSEWHERE", {}).items()}


def routes(resolver=None, namespace="", prefix="/"):
    """Every endpoint that the URL resolver knows, by name (or path, where it has none)."""
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern).lstrip("^").rstrip("$")
        if isinstance(entry, URLPattern):
            yield f"{namespace}{entry.name}" if entry.name else path
        else:
            inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from routes(entry, inner, path)


def token_for(user):
    return issue_for_login(user=user)[1]


def denials():
    return AuditEvent.objects.filter(action=Action.DENIED).order_by("seq")
