"""The audit log on PostgreSQL: how fast it is written by one and by many, how fast and in how little memory verified.

    python -m bench.audit --events 1000000 --json docs/measured/audit.json

Needs a PostgreSQL server (BENCH_POSTGRES_URL); makes a database of its own there and drops it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SERVER = os.environ.get("BENCH_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")
NAME = f"audit_bench_{os.getpid()}"
HOME = tempfile.mkdtemp(prefix="marrow-bench-")
os.environ |= {"DATABASE_URL": f"{SERVER.rpartition('/')[0]}/{NAME}", "MARROW_HOME": HOME}
os.environ["DJANGO_SETTINGS_MODULE"] = "clinic.settings.development"

import django
import psycopg

django.setup()

from django.core.management import call_command
from django.db import connection, transaction

from clinic.audit.anchors import anchor_head
from clinic.audit.chain import columns_of, hash_of
from clinic.audit.models import Action, AuditEvent
from clinic.audit.services import record
from clinic.canonical import canonical_json

COLUMNS = [
    "seq",
    "at",
    "actor_id",
    "actor",
    "action",
    "outcome",
    "object_type",
    "object_id",
    "patient_id",
    "case_id",
    "site_id",
    "prev_hash",
]


def appended(writers, each):
    """Events a second, each in a transaction of its own, by so many writers at once; and whether one was lost."""
    before = AuditEvent.objects.count()

    def write(writer):
        try:
            for n in range(each):
                with transaction.atomic():
                    record(Action.CASE_READ, detail={"writer": writer, "n": n})
        finally:
            connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    took = time.perf_counter() - began
    return {
        "writers": writers,
        "events": writers * each,
        "per_second": round(writers * each / took),
        "lost": before + writers * each - AuditEvent.objects.count(),
    }


def bare_rows(count=300):
    """What the server itself takes: one row of that size a transaction."""
    began = time.perf_counter()
    for _ in range(count):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO bare (body) VALUES (%s)", ["x" * 600])
    return round(count / (time.perf_counter() - began))


def filled(total):
    """Go on with the chain to ``total`` events, by COPY: the rows are those that ``record`` writes."""
    last = AuditEvent.objects.order_by("-seq").first()
    said, prev = json.loads(last.body), last.hash
    with connection.cursor() as cursor:
        names = ", ".join([*COLUMNS, "body", "hash"])
        with cursor.copy(f"COPY audit_auditevent ({names}) FROM STDIN") as copy:
            for seq in range(last.seq + 1, total + 1):
                body = canonical_json(said | {"seq": seq, "prev_hash": prev}).decode()
                columns = columns_of(json.loads(body))
                prev = hash_of(body)
                copy.write_row([*(columns[name] for name in COLUMNS), body, prev])
        cursor.execute("ANALYZE audit_auditevent")
    anchor_head()


def verified(*words):
    """``manage.py verify_audit`` in a process of its own: seconds by the clock and of the processor, MB at the most."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, "manage.py", "verify_audit", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "events": json.loads(done.stdout)["count"],
        "ok": json.loads(done.stdout)["ok"],
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "megabytes": round(after.ru_maxrss / 1024),
    }


def measured(events):
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bare (id SERIAL PRIMARY KEY, body TEXT)")
    said = {"bare_rows_per_second": bare_rows(), "append": [appended(1, 300), appended(50, 40)]}
    filled(events)
    said["verify"] = verified("--full")
    said["verify_again"] = verified()
    said["load_average"] = os.getloadavg()[0]
    return said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {NAME}")
        try:
            said = measured(asked.events)
        finally:
            connection.close()
            server.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
    text = json.dumps(said, indent=1)
    if asked.json:
        asked.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
