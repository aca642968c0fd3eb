"""Files over HTTP: resumed where they were cut off, checked before they get their name, never fetched twice.

A file that is being fetched is called ``.part``; only what has passed its checks is renamed. SHA256SUMS beside the
files (as ``sha256sum -c`` reads it) says what was fetched, and what has changed since is fetched again.
"""

from __future__ import annotations

import gzip
import hashlib
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tqdm import tqdm

from ml.findings import InputRejected

ATTEMPTS = 5
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds
BUSY = {408, 429, 500, 502, 503, 504}
SUMS = "SHA256SUMS"
TIMEOUT = httpx.Timeout(60.0, connect=30.0)


T = TypeVar("T")


@dataclass(frozen=True)
class Remote:
    """A file to fetch, to be kept under ``path`` (relative); ``size`` (bytes) and ``md5`` where the source says so."""

    url: str
    path: str
    size: int | None = None
    md5: str | None = None


class Again(Exception):
    """It may go well another time; ``wait`` is what the server asks for, in seconds."""

    def __init__(self, problem: str, wait: float = 0.0) -> None:
        super().__init__(problem)
        self.wait = wait


def open_client(**options: Any) -> httpx.Client:
    """A client for ``fetch_all``; ``identity`` because a range of a packed answer means nothing."""
    headers = {"User-Agent": "marrow (expression data for research)", "Accept-Encoding": "identity"}
    return httpx.Client(headers=headers, timeout=TIMEOUT, follow_redirects=True, **options)


def fetch_all(
    client: httpx.Client, remotes: list[Remote], folder: Path, *, what: str, sleep: Callable[[float], None] = time.sleep
) -> list[Path]:
    """The files of ``remotes`` in ``folder``, in their order. Those that are whole already are not asked for again.

    Raises InputRejected: ``checksum``, ``truncated``, ``not_found``, ``no_access``, ``unreachable``, ``unsafe_name``.
    What was fetched until then stays, and the next call goes on from there.
    """
    paths = [_safe(folder, remote) for remote in remotes]
    known = read_sums(folder)
    total = sum(remote.size or 0 for remote in remotes) or None
    with tqdm(total=total, desc=what, unit="B", unit_scale=True) as bar:
        for remote, path in zip(remotes, paths, strict=True):
            if _is_whole(path, remote, known.get(remote.path)):
                bar.update(path.stat().st_size)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            known[remote.path] = _fetch(client, remote, path, bar, sleep)
            write_sums(folder, known)
    return paths


def ask(
    client: httpx.Client, url: str, *, body: dict[str, Any] | None = None, sleep: Callable[[float], None] = time.sleep
) -> httpx.Response:
    """The answer to GET, or to POST of a JSON ``body``; patient as ``fetch_all`` and with its errors."""

    def once() -> httpx.Response:
        response = client.get(url) if body is None else client.post(url, json=body)
        _check_status(response, url)
        return response

    return _patiently(once, url, sleep)


def _safe(folder: Path, remote: Remote) -> Path:
    """A name from a server may not lead out of ``folder``."""
    path = folder / remote.path
    hidden = any(part.startswith(".") for part in Path(remote.path).parts)
    if hidden or not path.resolve().is_relative_to(folder.resolve()) or path.resolve() == folder.resolve():
        raise InputRejected(
            "unsafe_name",
            place=remote.url,
            problem=f"The server names the file {remote.path!r}.",
            remedy="Fetch it by hand, if you trust it.",
        )
    return path


def _is_whole(path: Path, remote: Remote, sha256: str | None) -> bool:
    if not path.is_file() or (remote.size is not None and path.stat().st_size != remote.size):
        return False
    if remote.md5:
        return digest(path, "md5") == remote.md5.lower()
    return sha256 is not None and digest(path, "sha256") == sha256


def _fetch(client: httpx.Client, remote: Remote, path: Path, bar: Any, sleep: Callable[[float], None]) -> str:
    """Fetch and check one file; its SHA-256."""
    part = path.with_name(f"{path.name}.part")
    bar.update(part.stat().st_size if part.is_file() else 0)

    def once() -> None:
        _go_on(client, remote, part, bar)
        _check(remote, part, path.name)

    _patiently(once, remote.url, sleep)
    part.replace(path)
    _discard(part)
    return digest(path, "sha256")


def _patiently(once: Callable[[], T], url: str, sleep: Callable[[float], None]) -> T:
    for attempt in range(ATTEMPTS):
        try:
            return once()
        except (Again, httpx.TransportError) as fault:
            last = fault
            if attempt + 1 < ATTEMPTS:
                sleep(min(max(getattr(fault, "wait", 0.0), FIRST_WAIT * 2**attempt), LONGEST_WAIT))
    if isinstance(last.__cause__, InputRejected):
        raise last.__cause__
    raise InputRejected(
        "unreachable",
        place=url,
        problem=f"No answer after {ATTEMPTS} attempts ({str(last) or type(last).__name__}).",
        remedy="Check the network and run the same command again: it goes on from where it stopped.",
    ) from last


def _go_on(client: httpx.Client, remote: Remote, part: Path, bar: Any) -> None:
    """Append to ``part`` what is missing, or start anew where the server has another file by now."""
    start = part.stat().st_size if part.is_file() else 0
    if start and start == remote.size:
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and _validator(part).is_file():
        headers["If-Range"] = _validator(part).read_text("utf-8")
    with client.stream("GET", remote.url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if response.headers.get("Content-Range") == f"bytes */{start}":
                return
            _discard(part)
            raise Again("the part does not fit the file")
        _check_status(response, remote.url)
        appended = response.status_code == httpx.codes.PARTIAL_CONTENT
        if appended and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            _discard(part)
            raise Again("the server sent another range")
        if start and not appended:
            bar.update(-start)
        left = None if remote.size is None else remote.size - start * appended
        _write(response, part, bar, left, append=appended)


def _write(response: httpx.Response, part: Path, bar: Any, limit: int | None, *, append: bool) -> None:
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):  # If-Range takes no weak one
        _validator(part).write_text(tag, "utf-8")
    expected, written = response.headers.get("Content-Length"), 0
    with part.open("ab" if append else "wb") as stream:
        for piece in response.iter_raw():
            stream.write(piece)
            written += len(piece)
            bar.update(len(piece))
            if limit is not None and written > limit:
                raise Again("more bytes came than the file has")
    if expected is not None and written != int(expected):
        raise Again(f"{written} of {expected} bytes came")


def _validator(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _discard(part: Path) -> None:
    for path in (part, _validator(part)):
        path.unlink(missing_ok=True)


def _check_status(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status in BUSY:
        after = response.headers.get("Retry-After", "")
        raise Again(f"status {status}", float(after) if after.isdigit() else 0.0)
    if status in (401, 403):
        raise InputRejected(
            "no_access",
            place=url,
            problem=f"The server refuses it (status {status}): it is not open to everyone.",
            remedy="Fetch open files only; controlled ones need the source's own tool and your authorisation.",
        )
    if status >= 400:
        raise InputRejected(
            "not_found",
            place=url,
            problem=f"The server does not have it (status {status}).",
            remedy="Check the accession or the project's name.",
        )


def _check(remote: Remote, part: Path, name: str) -> None:
    """Raises Again, after which it is fetched anew; after the last attempt the InputRejected that is its cause."""
    problem = _fault(remote, part, name)
    if problem:
        _discard(part)
        raise Again(problem) from InputRejected(
            "checksum" if "MD5" in problem else "truncated",
            place=remote.url,
            problem=problem,
            remedy="Run the command again; if it stays so, tell the source.",
        )


def _fault(remote: Remote, part: Path, name: str) -> str:
    size = part.stat().st_size
    if remote.size is not None and size != remote.size:
        return f"The file has {size:,} bytes where {remote.size:,} are stated."
    if remote.md5:
        found = digest(part, "md5")
        return "" if found == remote.md5.lower() else f"Its MD5 is {found}, and {remote.md5} is stated."
    return "" if not name.endswith(".gz") or _unpacks(part) else "The gzip file is damaged."


def _unpacks(path: Path) -> bool:
    """Every gzip file ends in a CRC: the check where the source states no sum."""
    try:
        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True


# --- sums -------------------------------------------------------------------------------------------------------------


def digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def read_sums(folder: Path) -> dict[str, str]:
    """Path → SHA-256 of what was fetched to ``folder`` before."""
    sums = folder / SUMS
    lines = sums.read_text("utf-8").splitlines() if sums.is_file() else []
    return {path: sha256 for sha256, _, path in (line.partition("  ") for line in lines)}


def write_sums(folder: Path, sums: dict[str, str]) -> None:
    new = folder / f"{SUMS}.new"
    new.write_text("".join(f"{sha256}  {path}\n" for path, sha256 in sorted(sums.items())), "utf-8")
    new.replace(folder / SUMS)
