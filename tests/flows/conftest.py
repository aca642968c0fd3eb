"""A real service: web and worker under their supervisor, in a folder of its own, spoken to over HTTP."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from workers.demo import Client, wait_for

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a-long-password-for-tests"


@dataclass
class Service:
    url: str
    home: Path
    env: dict
    opened: list = field(default_factory=list)

    def manage(self, *words, stdin=""):
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.env, input=stdin, capture_output=True, text=True, check=False, timeout=120
        )

    def client(self, username):
        made = Client(self.url, username, PASSWORD)
        self.opened.append(made.http)
        return made

    def processes(self, word):
        """The ids of this service's processes whose command line has ``word``."""
        mine = f"MARROW_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if word.encode() in (folder / "cmdline").read_bytes() and mine in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MARROW_", "DJANGO_", "DATABASE_", "CELERY_"))}
    running = Service("", home, env | {"MARROW_HOME": str(home), "PYTHONUNBUFFERED": "1"})
    for words in (["migrate", "-v", "0"], ["sync_bundles"]):
        done = running.manage(*words)
        assert done.returncode == 0, done.stderr
    for name, role in (("clinician", "clinician"), ("auditor", "auditor")):
        done = running.manage("create_user", name, "--site", "home", "--role", role, stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
    command = [sys.executable, "manage.py", "up", "--no-demo", "--port", "18000"]
    with subprocess.Popen(command, cwd=ROOT, env=running.env, stdout=subprocess.PIPE, text=True) as supervisor:
        running.url = re.search(r"http://\S+", supervisor.stdout.readline()).group()
        drain = threading.Thread(target=supervisor.stdout.read, daemon=True)
        drain.start()
        wait_for(lambda: _answers(running.url), seconds=90)
        yield running
        for client in running.opened:
            client.close()
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(60)
        drain.join(10)
    wait_for(lambda: not running.processes("celery") and not running.processes("gunicorn"), seconds=30)


def _answers(url):
    try:
        return httpx.get(f"{url}/healthz", timeout=2).is_success
    except httpx.TransportError:
        return False


def until(what, seconds):
    """Like wait_for, and says how long it took."""
    began = time.monotonic()
    return wait_for(what, seconds=seconds, every=0.1), time.monotonic() - began
