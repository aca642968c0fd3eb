"""What ``make run`` ends with: a synthetic case, put through the API and the worker of the running server."""

import argparse
from datetime import datetime
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ml.findings import percent
from workers import demo

READY_SECONDS, RESULT_SECONDS = 90, 180


class Command(BaseCommand):
    help = "Put the synthetic demo cases into a running server and print the assessment of the first."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000")

    def handle(self, *, url: str, **said: Any) -> None:
        password = demo.seed_people(settings.HOME)
        demo.wait_for(lambda: _is_up(url), seconds=READY_SECONDS)
        client = demo.Client(url, "demo", password)
        first, *others = demo.CASES
        analysis = demo.analyse(client, demo.put_in(client, first, settings.HOME))
        ended = demo.wait_for(lambda: _ended(client, analysis), seconds=RESULT_SECONDS)
        if ended["status"] != "succeeded":
            raise CommandError(f"The demo case ended as {ended['status']}: {ended['failure_message']}")
        self._say(first, ended, client.get(f"analyses/{analysis}/assessment"))
        self.stdout.write(f"\nMarrow is ready: {url}\n")
        names = ", ".join(name for name, *_ in demo.PEOPLE)
        self.stdout.write(f"Log in as demo with the password {password} (also: {names}; same password)\n")
        self.stdout.flush()
        for case in others:
            demo.analyse(client, demo.put_in(client, case, settings.HOME))

    def _say(self, case: demo.DemoCase, analysis: dict[str, Any], assessment: dict[str, Any]) -> None:
        body = assessment["body"]
        asked, ended = (datetime.fromisoformat(analysis[key]) for key in ("requested_at", "finished_at"))
        answer = body["answer"]
        said = f"{answer['name']}, probability {percent(answer['probability'])}" if answer else "abstained: no answer"
        self.stdout.write(
            f"\nSynthetic case {case.mrn} ({case.title}), analysed in {(ended - asked).total_seconds():.1f} s"
        )
        self.stdout.write(f"  assessment      {said}")
        self.stdout.write(f"  prediction set  {', '.join(body['prediction_set'])} (coverage {body['coverage']:.0%})")
        for line in [*body["urgent"], *body["discordance"], *body["reasons"]]:
            self.stdout.write(f"  note            {line['message']}")
        self.stdout.write("  Decision support. A clinician reviews and signs.")


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).is_success
    except httpx.TransportError:
        return False


def _ended(client: demo.Client, analysis: str) -> dict[str, Any] | None:
    said: dict[str, Any] = client.get(f"analyses/{analysis}")
    return said if said["status"] not in {"queued", "running"} else None
