"""What README's performance table is made with: each figure as a ratio to a named alternative, in one run.

python -m bench            all of them, as a Markdown table
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings.testing")

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction
from kombu import Connection

from clinic.audit.models import Action, AuditEvent
from clinic.audit.services import record
from clinic.audit.verification import verify
from clinic.celery import broker_options
from workers.sandbox import read_in_child

ROUNDS = 5
FRESH = "import numpy, pandas, PIL.Image, pydicom, ml.images"


def seconds(what, rounds=ROUNDS):
    """Median seconds of ``what()``."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        what()
        took.append(time.perf_counter() - began)
    return median(took)


def reader_child():
    """A capped child of the fork server against a fresh interpreter with the same libraries."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "file"
        source.write_text("x")

        def child():
            read_in_child("tests.workers.hostile:reads", source, Path(folder), {}, memory_bytes=3 * 1024**3, seconds=30)

        child()  # starts the fork server
        ours = seconds(child)
    other = seconds(lambda: subprocess.run([sys.executable, "-c", FRESH], check=True))
    return (
        "a capped reader process",
        f"{ours * 1000:.0f} ms",
        "a fresh interpreter",
        f"{other * 1000:.0f} ms",
        other / ours,
    )


def audit_append(count=300):
    """An audit event in its own transaction against a bare row of the same size."""

    def events():
        for _ in range(count):
            with transaction.atomic():
                record(Action.CASE_READ, detail={"n": 1})

    def rows():
        for _ in range(count):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("INSERT INTO bare (body) VALUES (%s)", ["x" * 600])

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, body TEXT)")
    ours, other = count / seconds(events), count / seconds(rows)
    return "audit events written", f"{ours:.0f}/s", "bare rows", f"{other:.0f}/s", ours / other


def audit_verify():
    """Verifying the chain against reading its rows."""

    def read():
        for _ in AuditEvent.objects.order_by("seq").iterator(chunk_size=2000):
            pass

    count = AuditEvent.objects.count()
    ours, other = count / seconds(verify), count / seconds(read)
    return "audit events verified", f"{ours:.0f}/s", "rows read", f"{other:.0f}/s", ours / other


def broker(count=50):
    """Messages through the folder broker against Redis, where one answers."""

    def pump(url, options):
        with Connection(url, transport_options=options) as link:
            queue = link.SimpleQueue("bench")

            def one_by_one():
                for n in range(count):
                    queue.put({"n": n})
                    queue.get(timeout=5).ack()

            took = seconds(one_by_one)
            queue.close()
        return count / took

    ours = pump("filesystem://", broker_options())
    try:
        other = pump(os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/9"), {})
    except Exception as error:  # noqa: BLE001 (no Redis here: said, not hidden)
        return "messages, folder broker", f"{ours:.0f}/s", f"Redis ({type(error).__name__})", "–", float("nan")
    return "messages, folder broker", f"{ours:.0f}/s", "Redis", f"{other:.0f}/s", ours / other


def main():
    call_command("migrate", verbosity=0)
    print("| what | Marrow | against | figure | ratio |\n|---|---|---|---|---|")
    for measure in (reader_child, audit_append, audit_verify, broker):
        what, ours, against, figure, ratio = measure()
        print(f"| {what} | {ours} | {against} | {figure} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
