"""Runs a reader of foreign bytes in a child process of its own, capped in memory, time and file size.

A fork server keeps the readers' libraries imported, so that a child costs milliseconds. Whatever happens to the child,
the caller gets a summary or an InputRejected; only a fault of ours is raised as ReaderFailed.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import multiprocessing.process
import os
import resource
import traceback
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ml.findings import InputRejected

logger = logging.getLogger(__name__)

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["genomics.expression", "genomics.labs", "workers.preloaded"])

OUTPUT_BYTES = 4 * 1024**3
SMALLER = "Send a smaller file, or the same data in another format."


class ReaderFailed(Exception):
    """The reader itself is at fault."""


def allow_children() -> None:
    """In a process of Celery's pool, once, before anything is read there.

    Celery marks these processes as daemons, and Python lets no daemon start a child lest one be left behind; ours never
    is: it is killed before its task goes on, and the fork server ends with us. Their key is of another library's type,
    which does not travel to a fork server.
    """
    own = multiprocessing.process.AuthenticationString(os.urandom(32))  # type: ignore[attr-defined]
    multiprocessing.current_process()._config |= {"daemon": False, "authkey": own}  # type: ignore[attr-defined]  # noqa: SLF001


def begin() -> None:
    """Start the fork server, which imports the readers' libraries while the models are loaded."""
    forkserver.ensure_running()


def wait() -> None:
    """Until it has: the first reader then starts as quickly as the others."""
    child = _CONTEXT.Process(target=os.getpid)
    child.start()
    child.join()


def read_in_child(
    reader: str, source: Path, target: Path, options: dict[str, Any], *, memory_bytes: int, seconds: int
) -> dict[str, Any]:
    """Call ``module:function(source, target, options)`` in a capped child and return its summary.

    Raises InputRejected as the reader raised it, or with ``reader_memory`` / ``reader_time`` where the file asked for
    more than its share; ReaderFailed where the reader has a bug.
    """
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    child = _CONTEXT.Process(target=_read, args=(theirs, reader, source, target, options, memory_bytes, seconds))
    child.start()
    theirs.close()
    try:
        said = ours.recv() if ours.poll(seconds) else ("time", None)
    except EOFError:
        child.join(5)
        said = ("died", child.exitcode)
    finally:
        ours.close()
        child.kill()
        child.join()
    return _verdict(said, source, memory_bytes, seconds)


def _verdict(said: tuple[str, Any], source: Path, memory_bytes: int, seconds: int) -> dict[str, Any]:
    kind, what = said
    if kind == "summary":
        return dict(what)
    if kind == "rejected":
        raise InputRejected(what.pop("code"), **what)
    if kind == "bug":
        raise ReaderFailed(what)
    if kind == "time":
        problem = f"Reading it took longer than the {seconds} s allowed."
        raise InputRejected("reader_time", place=source.name, problem=problem, remedy=SMALLER)
    if kind == "memory":
        problem = f"Reading it needs more than the {memory_bytes // 1024**2} MiB of memory allowed."
        raise InputRejected("reader_memory", place=source.name, problem=problem, remedy=SMALLER)
    logger.error("reader of %s died with exit code %s", source.name, what)
    problem, remedy = "The file made its reader stop, as damaged files can.", "Export it again from its source."
    raise InputRejected("reader_died", place=source.name, problem=problem, remedy=remedy)


def _read(
    out: Connection, reader: str, source: Path, target: Path, options: dict[str, Any], memory_bytes: int, seconds: int
) -> None:
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, OUTPUT_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    try:
        module, function = reader.split(":")
        said: tuple[str, Any] = ("summary", getattr(importlib.import_module(module), function)(source, target, options))
    except InputRejected as rejection:
        said = ("rejected", rejection.as_dict())
    except MemoryError:
        said = ("memory", None)
    except Exception:  # noqa: BLE001 (reported to the parent, which raises it)
        said = ("bug", traceback.format_exc())
    out.send(said)
