"""The demo: synthetic patients and their logins, put in as any client would, through the API of a running server."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
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
    """One synthetic patient, and what to make up for it: images (diagnosis drawn, how many), expression and labs."""

    mrn: str
    name: str
    birth_date: str
    sex: str
    title: str
    history: str
    seed: int
    smear_field: tuple[str, int] | None = None
    smear_cell: tuple[str, int] | None = None
    expression: str = ""
    labs: str = ""


CASES = (
    DemoCase(
        "SYN-0001",
        "Synthetic, Beth",
        "2019-05-11",
        "female",
        "New leukocytosis with blasts",
        "SYNTHETIC. Three weeks of fatigue and bruising. White count 38 with blasts on the film.",
        1,
        smear_field=("Pre-B", 6),
        expression="ETV6::RUNX1",
    ),
    DemoCase(
        "SYN-0002",
        "Synthetic, Paul",
        "1979-02-03",
        "male",
        "Pancytopenia and bleeding gums",
        "SYNTHETIC. Bleeding gums for four days; low fibrinogen.",
        2,
        smear_cell=("APL", 24),
        expression="PML::RARA",
        labs="APL",
    ),
    DemoCase(
        "SYN-0003",
        "Synthetic, Tom",
        "1988-09-21",
        "male",
        "Mediastinal mass, raised LDH",
        "SYNTHETIC. Cough; a mediastinal mass on the radiograph.",
        3,
        expression="T-ALL",
        labs="ALL",
    ),
    DemoCase(
        "SYN-0004",
        "Synthetic, Hana",
        "2021-07-30",
        "female",
        "Follow-up after infection: haematogones?",
        "SYNTHETIC. Lymphocytes of unusual look after a viral infection.",
        4,
        smear_field=("haematogones", 6),
    ),
    DemoCase(
        "SYN-0005",
        "Synthetic, Max",
        "1950-12-01",
        "male",
        "Two results that do not fit together",
        "SYNTHETIC. Expression and labs of different make: were the tubes swapped?",
        5,
        expression="T-ALL",
        labs="AML",
    ),
)


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


def make_files(case: DemoCase, folder: Path) -> dict[str, list[Path]]:
    """Draw and compute the case's files. Returns item kind → files."""
    from genomics import synthetic as tables  # noqa: PLC0415 (slow to import, and needed once)
    from ml import synthetic as smears  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, list[Path]] = {}
    for kind in ("smear_field", "smear_cell"):
        if wanted := getattr(case, kind):
            diagnosis, count = wanted
            made[kind] = smears.write_case(folder / kind, diagnosis, count, case.seed, style="gan")
    if case.expression:
        made["expression"] = [folder / "SYNTHETIC-counts.tsv"]
        tables.write_expression(made["expression"][0], case.expression, case.seed)
    if case.labs:
        made["labs"] = [folder / "SYNTHETIC-labs.csv"]
        tables.write_labs(made["labs"][0], case.labs, case.seed, age=_age(case))
    return made


def _age(case: DemoCase) -> float:
    return (date.today() - date.fromisoformat(case.birth_date)).days // 365.25  # noqa: DTZ011 (a day more or less)


def put_in(client: Client, case: DemoCase, home: Path) -> str:
    """The case's id at the server: found by its record number, or registered with its files."""
    found = client.get("cases", q=case.mrn)["results"]
    if found:
        return str(found[0]["id"])
    site = client.get("sites")[0]["id"]
    person = {key: getattr(case, key) for key in ("mrn", "name", "birth_date", "sex")}
    patient = client.post("patients", {"site": site, "synthetic": True, **person})
    opened = client.post("cases", {"patient": patient["id"], "title": case.title, "history": case.history})
    for kind, files in make_files(case, home / "demo" / case.mrn).items():
        client.upload(f"cases/{opened['id']}/items", kind, files)
    return str(opened["id"])


def analyse(client: Client, case_id: str) -> str:
    """Ask for an analysis as soon as every item is checked. Returns its id.

    One that is under way, or that the active bundles have done already, is not asked for again.
    """
    wait_for(lambda: all(i["status"] != "received" for i in client.items(case_id)), seconds=120)
    active = {said["name"]: said["sha256"] for said in client.get("bundles") if said["status"] == "active"}
    for said in client.get(f"cases/{case_id}/analyses")["results"]:
        done = said["status"] == "succeeded" and all(active.get(n) == sha for n, sha in said["bundles"].items())
        if done or said["status"] in {"queued", "running"}:
            return str(said["id"])
    return str(client.post(f"cases/{case_id}/analyses")["id"])


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

    def items(self, case_id: str) -> list[dict[str, Any]]:
        page = self.get(f"cases/{case_id}/items")
        items = list(page["results"])
        while page["next"]:
            page = self._said(self.http.get(page["next"]))
            items += page["results"]
        return items

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
