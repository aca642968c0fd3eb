"""Web and worker under one supervisor, on a free port, with the demo's cases: what ``make run`` ends in."""

import argparse
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

CONFIG = """\
[supervisord]
nodaemon=true
silent=true
logfile={log}/supervisord.log
pidfile={home}/supervisord.pid
childlogdir={log}
{user}

[program:web]
command={python} -m gunicorn clinic.wsgi --config python:clinic.gunicorn_conf --bind 127.0.0.1:{port}
directory={base}
autorestart=true
stopwaitsecs=15
startretries=100
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={log}/web.log

[program:worker]
command={python} -m celery --app workers.celery worker --concurrency 2 --loglevel INFO
directory={base}
autorestart=true
stopwaitsecs=30
startretries=100
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={log}/worker.log

{hl7}
[program:demo]
command={python} manage.py demo --url http://127.0.0.1:{port}
directory={base}
autostart={demo}
autorestart=false
startsecs=0
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
stderr_logfile=/dev/fd/2
stderr_logfile_maxbytes=0
"""

HL7 = """\
[program:hl7]
command={python} manage.py listen_hl7 --site {site} --user {person} --port {hl7_port}
directory={base}
autorestart=true
startsecs=5
startretries=100
stopwaitsecs=15
redirect_stderr=true
stdout_logfile={log}/hl7.log
"""
NAME = re.compile(r"[\w.@+-]+")  # what may stand in a command line


class Command(BaseCommand):
    help = "Start web and worker, restart what dies, stop both on Ctrl-C."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="the first port to try")
        parser.add_argument("--no-demo", action="store_true", help="no demo users and cases")
        parser.add_argument("--hl7", metavar="SITE:USER", help="also take HL7 v2 results for this site, as this user")
        parser.add_argument("--hl7-port", type=int, default=2575)

    def handle(self, *, port: int, no_demo: bool, **said: Any) -> None:
        log = settings.HOME / "log"
        log.mkdir(exist_ok=True, mode=0o700)
        config = settings.HOME / "supervisord.conf"
        free = free_port(port)
        config.write_text(
            CONFIG.format(
                home=settings.HOME,
                base=settings.BASE_DIR,
                log=log,
                python=sys.executable,
                port=free,
                user="user=root" if os.geteuid() == 0 else "",
                demo="false" if no_demo else "true",
                hl7=listener(said["hl7"], said["hl7_port"], log),
            ).replace("%", "%%")
        )
        self.stdout.write(f"Marrow is starting on http://127.0.0.1:{free} (logs in {log}; Ctrl-C stops it)")
        self.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)])  # noqa: S606


def listener(whose: str | None, port: int, log: Path) -> str:
    """The supervisor's lines for the HL7 listener, which is started again until its site and user are there."""
    if not whose:
        return ""
    site, _, person = whose.partition(":")
    if not NAME.fullmatch(site) or not NAME.fullmatch(person):
        raise CommandError("--hl7 names a site's code and a user, for example --hl7 home:lis.")
    said = {"site": site, "person": person, "hl7_port": port}
    return HL7.format(python=sys.executable, base=settings.BASE_DIR, log=log, **said)


def free_port(first: int, tries: int = 100) -> int:
    """The first port from ``first`` on that nobody listens on."""
    for port in range(first, first + tries):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CommandError(f"No free port from {first} to {first + tries - 1}.")
