"""List and detail of the REST API at many cases, behind gunicorn on one core, beside a bare list in the same run.

python -m bench.rest --cases 100000 [--database postgres://…]

The bare list is REST framework alone: no login, no permissions, no log; 20 rows of the same table.
Each figure is requests per second over all connections, requests per second of processor time of the server (what
a core of its own would give, whatever else this machine does), and the 50th and 99th percentile of one request.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).resolve().parent.parent
PORT = 8765
FILL = """
import sys, uuid
from datetime import timedelta
from django.utils import timezone
from clinic.accounts.models import Membership, Site, User
from clinic.patients.models import Patient
from clinic.cases.models import Case
from clinic.tokens.services import issue_for_login
count = int(sys.argv[1])
site = Site.objects.create(code="bench", name="Bench laboratory")
user = User.objects.create(username="bench", first_name="Ben", last_name="Bench")
Membership.objects.create(user=user, site=site, role="clinician")
now = timezone.now()
for start in range(0, count, 5000):
    patients = Patient.objects.bulk_create(
        Patient(site=site, mrn=f"B{n:07d}", name=f"Person {n}", sex="female", synthetic=True, created_by=user)
        for n in range(start, min(start + 5000, count)))
    Case.objects.bulk_create(Case(patient=p, site=site, title="Blasts in the count", created_by=user) for p in patients)
print(issue_for_login(user=user)[1], *Case.objects.order_by("?").values_list("pk", flat=True)[:500])
"""


def main():
    args = _arguments()
    with tempfile.TemporaryDirectory() as home:
        env = os.environ | {
            "MARROW_HOME": home,
            "MARROW_API_RATE": "1000000/s",
            "DJANGO_SETTINGS_MODULE": "clinic.settings.development",
        }
        if args.database:
            env["DATABASE_URL"] = args.database
        token, cases = _filled(env, args.cases)
        with Server(env, args.core) as server:
            rows = list(_measured(token, cases, args, server))
    _tell(rows, args)


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--database", default="")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _filled(env, count):
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=env, check=True)
    shell = [sys.executable, "-c", "import django; django.setup()\n" + FILL, str(count)]
    said = subprocess.run(shell, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout.split()
    return said[0], said[1:]


class Server:
    """gunicorn as in production but one process, held on one core."""

    def __init__(self, env, core):
        command = ["-m", "gunicorn", "bench.rest_bare:application", "--config", "python:clinic.gunicorn_conf"]
        more = ["--workers", "1", "--bind", f"127.0.0.1:{PORT}", "--access-logfile", "/dev/null"]
        self.command, self.env = ["taskset", "-c", str(core), sys.executable, *command, *more], env

    def __enter__(self):
        self.process = subprocess.Popen(self.command, cwd=ROOT, env=self.env, stderr=subprocess.DEVNULL)
        for _ in range(300):
            try:
                _get(HTTPConnection("127.0.0.1", PORT), "/healthz", {})
            except OSError:
                time.sleep(0.2)
            else:
                return self
        raise SystemExit("gunicorn did not come up")

    def processor_seconds(self):
        """What gunicorn and its worker have used so far."""
        pids = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout
        ticks = 0
        for pid in [self.process.pid, *map(int, pids.split())]:
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


def _measured(token, cases, args, server):
    """Rounds in turn, so that what else the machine does falls on all alike; the best round of each counts."""
    asked = {
        "bare list of 20": (lambda _: "/bare", {}),
        "list of 20 cases": (lambda _: "/api/v1/cases?limit=20", {"Authorization": f"Token {token}"}),
        "one case": (lambda n: f"/api/v1/cases/{cases[n % len(cases)]}", {"Authorization": f"Token {token}"}),
    }
    best = {}
    for _ in range(args.rounds):
        for name, (path, headers) in asked.items():
            before = server.processor_seconds()
            rate, times = _load(path, headers, args)
            used = server.processor_seconds() - before
            if name not in best or rate > best[name]["rate"]:
                cuts = quantiles(times, n=100)
                best[name] = {
                    "what": name,
                    "rate": rate,
                    "per_core": len(times) / used,
                    "p50": cuts[49] * 1000,
                    "p99": cuts[98] * 1000,
                }
    yield from best.values()


def _load(path, headers, args):
    end, times = time.perf_counter() + args.seconds, []

    def ask(seed):
        connection, n = HTTPConnection("127.0.0.1", PORT), seed
        while (began := time.perf_counter()) < end:
            _get(connection, path(n), headers)
            times.append(time.perf_counter() - began)
            n += 7

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(args.connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(times) / (time.perf_counter() - began), times


def _get(connection, path, headers):
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {body[:300]}")


def _tell(rows, args):
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    bare = rows[0]["per_core"]
    print(f"{args.cases} cases, {args.connections} connections, one process on one core")
    print("| what | requests/s | per core second | of the bare list | p50 ms | p99 ms |\n|---|---|---|---|---|---|")
    for row in rows:
        share, ends = row["per_core"] / bare, f"{row['p50']:.1f} | {row['p99']:.1f}"
        print(f"| {row['what']} | {row['rate']:.0f} | {row['per_core']:.0f} | {share:.2f} | {ends} |")


if __name__ == "__main__":
    main()
