"""The demo: synthetic patients and their logins, put in as any client would, through the API of a running server."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from clinic.accounts.models import Membership, Role, Site, User
from clinic.accounts.services import create_site, create_user, grant_role

SITE_CODE = "demo"
PEOPLE = (
    ("demo", Role.CLINICIAN, "Dana", "Demo"),
    ("demo-technician", Role.TECHNICIAN, "Tessa", "Demo"),
    ("demo-auditor", Role.AUDITOR, "Auden", "Demo"),
    ("demo-admin", Role.ADMIN, "Ada", "Demo"),
)


@dataclass(frozen=True)
class DemoCase:
    """One synthetic patient: what is asked, and which files are made for it (kind → what to draw, and how often)."""

    mrn: str
    name: str
    birth_date: str
    sex: str
    title: str
    history: str
    smear_field: tuple[str, int] | None = None
    smear_cell: dict[str, int] = field(default_factory=dict)
    expression: str = ""
    labs: str = ""


def seed_people(home: Path) -> str:
    """Make the demo's site and users once. Returns their password, which is made up and kept in ``home``."""
    kept = home / "demo_password"
    if not kept.exists():
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(12))
    password = kept.read_text()
    site = Site.objects.filter(code=SITE_CODE).first() or create_site(code=SITE_CODE, name="Demo laboratory")
    for username, role, first, last in PEOPLE:
        user = User.objects.filter(username=username).first()
        user = user or create_user(username=username, password=password, first_name=first, last_name=last)
        if not Membership.objects.filter(user=user, site=site).exists():
            grant_role(user=user, site=site, role=role)
    return password


class Client:
    """The few calls of the REST API that the demo needs. A refusal is raised with the problem's own words."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.http = httpx.Client(base_url=f"{url}/api/v1/", timeout=60)
        token = self.post("auth/token", {"username": username, "password": password})["token"]
        self.http.headers["Authorization"] = f"Token {token}"

    def get(self, path: str, **query: str) -> Any:
        return self._said(self.http.get(path, params=query))

    def post(self, path: str, data: dict[str, Any] | None = None) -> Any:
        return self._said(self.http.post(path, json=data or {}))

    def upload(self, path: str, kind: str, files: list[Path]) -> Any:
        parts = [("file", (file.name, file.read_bytes())) for file in files]
        return self._said(self.http.post(path, data={"kind": kind, "options": json.dumps({})}, files=parts))

    @staticmethod
    def _said(response: httpx.Response) -> Any:
        if response.is_error:
            asked = f"{response.request.method} {response.request.url}"
            raise RuntimeError(f"{asked}: {response.status_code} {response.text}")
        return response.json() if response.content else None


def wait_for(what: Callable[[], Any], *, seconds: float, every: float = 0.3) -> Any:
    """Call ``what`` until it says something true. Raises TimeoutError."""
    for _ in _ticks(seconds, every):
        if said := what():
            return said
    raise TimeoutError(f"Nothing came within {seconds:.0f} s; the logs say why.")


def _ticks(seconds: float, every: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(every)
