"""One method for each thing one does with a case. What fails half-way can be called again: nothing is done twice."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import httpx

from .errors import Problem, Unreachable
from .types import Analysis, Assessment, Case, Import, Item, Patient, Report, Site, Upload

TRIES = 5
BUSY = {429, 502, 503, 504}
ENDED = {"succeeded", "failed", "cancelled"}
Progress = Callable[[int], None]


class Client:
    def __init__(
        self, url: str, token: str, *, timeout: float = 60, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Token {token}", "User-Agent": "marrow-client/1"}
        base = f"{url.rstrip('/')}/api/v1/"
        self.http = httpx.Client(base_url=base, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.http.close()

    def request(self, method: str, path: str, **said: Any) -> httpx.Response:
        """One request, tried again where the server is busy or does not answer. Raises Problem or Unreachable.

        A POST carries an Idempotency-Key, so that to try it again is harmless.
        """
        headers = {**said.pop("headers", {}), **({"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {})}
        for last in (n == TRIES - 1 for n in range(TRIES)):
            try:
                response = self.http.request(method, path, headers=headers, **said)
            except httpx.TransportError as error:
                if last:
                    raise Unreachable(f"{self.http.base_url} does not answer: {error}") from error
                time.sleep(1)
                continue
            if last or not (response.status_code in BUSY or _in_flight(response)):
                break
            time.sleep(min(float(response.headers.get("Retry-After", 1)), 60))
        if response.is_error:
            raise Problem.of(response)
        return response

    def get(self, path: str, **query: Any) -> Any:
        return self.request("GET", path, params=query).json()

    def post(self, path: str, **said: Any) -> Any:
        return self.request("POST", path, json=said).json()

    def pages(self, path: str, **query: Any) -> Iterator[Any]:
        """Every row of a list, page after page."""
        page = self.get(path, **query)
        while True:
            yield from page["results"]
            if not page["next"]:
                return
            page = self.get(page["next"])

    def sites(self) -> list[Site]:
        return cast("list[Site]", self.get("sites"))

    def cases(self, **filters: Any) -> Iterator[Case]:
        """Cases, newest first; ``q``, ``mrn``, ``signed``, … as the API knows them."""
        return self.pages("cases", limit=200, **filters)

    def register_patient(self, *, site: str, mrn: str, name: str, **more: Any) -> Patient:
        """Known or new: the patient of this record number at this site."""
        found = self.get("patients", mrn=mrn, site=site)["results"]
        return cast("Patient", found[0] if found else self.post("patients", site=site, mrn=mrn, name=name, **more))

    def open_case(self, patient: Patient | str, *, title: str = "", history: str = "") -> Case:
        pk = patient if isinstance(patient, str) else patient["id"]
        return cast("Case", self.post("cases", patient=pk, title=title, history=history))

    def edit_case(self, case: str, **changes: str) -> Case:
        """Change title or history; raises Problem (412) where somebody else was quicker between reading and writing."""
        etag = self.request("GET", f"cases/{case}").headers["ETag"]
        return cast("Case", self.request("PATCH", f"cases/{case}", json=changes, headers={"If-Match": etag}).json())

    def upload(self, case: str, path: Path, *, kind: str = "", progress: Progress = lambda _: None) -> Upload:
        """Send one file in parts; where it was cut, the next call goes on from there. ``progress`` gets bytes sent."""
        said = {"filename": path.name, "size": path.stat().st_size, "sha256": _sha256(path)}
        upload = cast("Upload", self.post(f"cases/{case}/uploads", **said, **({"kind": kind} if kind else {})))
        with path.open("rb") as stream:
            sent = 0
            while upload["status"] == "receiving":
                progress(upload["received"] - sent)
                sent = upload["received"]
                stream.seek(sent)
                upload = self._part(upload, stream.read(upload["chunk_bytes"]))
        progress(upload["size"] - sent)
        return upload

    def _part(self, upload: Upload, part: bytes) -> Upload:
        headers = {"Upload-Offset": str(upload["received"]), "Content-Type": "application/octet-stream"}
        path = f"uploads/{upload['id']}"
        try:
            return cast("Upload", self.request("PATCH", path, content=part, headers=headers).json())
        except Problem as problem:
            if problem.code not in {"wrong_offset", "upload_ended"}:
                raise
            return cast("Upload", self.get(path))  # an earlier try had arrived: the server says how far it is

    def checked(self, case: str, uploads: list[Upload], *, every: float = 1) -> list[Upload | Item]:
        """Wait until each upload has its verdict. Returns the items made of them, or the upload that became none."""
        waiting = {upload["id"] for upload in uploads}
        while True:
            found = {row["id"]: row for row in self.pages(f"cases/{case}/uploads", limit=200) if row["id"] in waiting}
            items = {row["id"]: row for row in self.pages(f"cases/{case}/items", limit=200)}
            verdicts = [items.get(row["item"] or "", row) for row in (found[u["id"]] for u in uploads)]
            if not any(one["status"] in {"receiving", "checking", "received"} for one in verdicts):
                return verdicts
            time.sleep(every)

    def analyse(self, case: str) -> Analysis:
        return cast("Analysis", self.post(f"cases/{case}/analyses"))

    def watch(self, analysis: str, *, every: float = 1) -> Iterator[Analysis]:
        """The analysis, again and again, until it has ended."""
        while True:
            said = cast("Analysis", self.get(f"analyses/{analysis}"))
            yield said
            if said["status"] in ENDED:
                return
            time.sleep(every)

    def assessment(self, analysis: str) -> Assessment:
        return cast("Assessment", self.get(f"analyses/{analysis}/assessment"))

    def report(self, case: str) -> Report | None:
        """The newest version of the case's report."""
        return next(iter(self.pages(f"cases/{case}/reports", limit=1)), None)

    def draft_report(self, case: str) -> Report:
        return cast("Report", self.post(f"cases/{case}/reports"))

    def import_table(self, path: Path, *, kind: str, site: str) -> Import:
        """Send a table of many cases (or labs); its rows are then worked on: see ``import_``."""
        parts = {"file": (path.name, path.read_bytes())}
        return cast("Import", self.request("POST", "imports", data={"kind": kind, "site": site}, files=parts).json())

    def import_(self, pk: str) -> Import:
        return cast("Import", self.get(f"imports/{pk}"))


def _in_flight(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.CONFLICT and '"in_flight"' in response.text


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
