"""What the API tells, as far as this client uses it; every answer has more."""

from typing import Any, TypedDict


class Site(TypedDict):
    id: str
    code: str
    name: str


class Patient(TypedDict):
    id: str
    site: str
    mrn: str
    name: str
    birth_date: str | None
    sex: str
    synthetic: bool


class Case(TypedDict):
    id: str
    patient: str
    title: str
    history: str
    created_at: str


class Rejection(TypedDict):
    code: str
    place: str
    problem: str
    remedy: str


class Item(TypedDict):
    id: str
    case: str
    kind: str
    filename: str
    status: str
    rejection: Rejection | None


class Upload(TypedDict):
    id: str
    case: str
    filename: str
    size: int
    received: int
    status: str
    item: str | None
    rejection: Rejection | None
    chunk_bytes: int


class Analysis(TypedDict):
    id: str
    case: str
    status: str
    stage: str
    done: int
    total: int
    queue_place: int | None
    failure: dict[str, str] | None


class Assessment(TypedDict):
    analysis: str
    status: str
    answer: str
    probability: float | None
    urgent: bool
    discordant: bool
    body: dict[str, Any]


class Report(TypedDict):
    id: str
    case: str
    version: int
    sign_off: dict[str, Any] | None
    body: dict[str, Any]


class Import(TypedDict):
    id: str
    kind: str
    status: str
    total: int
    rows: dict[str, int]
