"""The standards under load and under nonsense, against a server that is started for it. python -m bench.interop

CDS Hooks at 50 requests a second, beside a bare page at the same rate; 1,000 mutated HL7 messages and
1,000 mutated DICOM instances: how each was answered, the slowest answer, and whether the server still answers after it.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(tempfile.mkdtemp(prefix="marrow-bench-interop-"))
os.environ |= {"DJANGO_SETTINGS_MODULE": "clinic.settings.development", "MARROW_HOME": str(HOME)}
os.environ["MARROW_CDS_CLIENTS"] = str(HOME / "cds.json")
sys.path.insert(0, str(ROOT))

from tests.clinic.interop.cds import VIEW, call, client_settings, token

(HOME / "cds.json").write_text(json.dumps(client_settings("lis")))

import django

django.setup()

import httpx
from django.core.management import call_command
from django.db import connection

from clinic.accounts.services import create_site, create_user, grant_role, issue_token
from clinic.interop.hl7.listener import END, START, Listener
from tests.clinic.interop import test_dicomweb, test_hl7
from tests.clinic.interop.dicom import dicom as made
from tests.clinic.interop.dicom import multipart
from tests.clinic.interop.messages import PANEL, fields, oru
from tests.factories import PASSWORD, PatientFactory, assessed_case

RATE, SECONDS, SLOWEST = 50, 20, 10


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def at_rate(client, requests, rate):
    """Send ``requests`` (functions) at a fixed rate, whether the ones before are answered or not. Seconds each took."""
    took, bad, start = [], collections.Counter(), time.perf_counter()

    async def one(n, make):
        await asyncio.sleep(max(0, start + n / rate - time.perf_counter()))
        began = time.perf_counter()
        answer = await client.send(make())
        took.append(time.perf_counter() - began)
        bad[answer.status_code] += 1

    await asyncio.gather(*(one(n, make) for n, make in enumerate(requests)))
    return took, dict(bad)


async def cds(url, patients, seconds):
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:

        def hook(patient):
            bearer = {"Authorization": f"Bearer {token(VIEW, base=url)}"}
            return lambda: client.build_request("POST", VIEW, json=call(patient), headers=bearer)

        def bare(_):
            return lambda: client.build_request("GET", "/healthz")

        chosen = [patients[n % len(patients)] for n in range(RATE * seconds)]
        for name, make in (("a bare page", bare), ("CDS Hooks", hook)):
            took, codes = await at_rate(client, [make(patient) for patient in chosen], RATE)
            p50, p95 = (percentile(took, share) * 1000 for share in (0.5, 0.95))
            print(f"{name} at {RATE}/s for {seconds} s: p50 {p50:.0f} ms, p95 {p95:.0f} ms, answers {codes}")


def hl7(site, user, count):

    async def main():
        rng, codes, slowest, closed = random.Random(2026), collections.Counter(), 0.0, 0
        async with Listener(site=site, by=user, port=0) as listener:
            for n in range(count):
                began = time.perf_counter()
                reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
                writer.write(START + test_hl7.mutated(oru(*PANEL, control=f"M{n}"), rng) + END)
                try:
                    said = await asyncio.wait_for(reader.readuntil(END), 30)
                    codes[fields(said.strip(START + END))["MSA"][1]] += 1
                except (asyncio.IncompleteReadError, ConnectionError):
                    closed += 1
                writer.close()
                slowest = max(slowest, time.perf_counter() - began)
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(START + oru(*PANEL, control="ALIVE", order="LAST") + END)
            alive = fields((await asyncio.wait_for(reader.readuntil(END), 30)).strip(START + END))["MSA"][1]
            writer.close()
        said = f"answers {dict(codes)}, {closed} closed, slowest {slowest:.2f} s, alive afterwards: {alive}"
        print(f"{count} mutated HL7 messages: {said}")

    asyncio.run(main())


def dicom(url, bearer, count):

    rng, codes, slowest = random.Random(2026), collections.Counter(), 0.0
    with httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Token {bearer}"}) as client:
        for n in range(count):
            body, kind = multipart(test_dicomweb.mutated(made(n + 1, side=16), rng))
            began = time.perf_counter()
            codes[client.post("/dicomweb/studies", content=body, headers={"Content-Type": kind}).status_code] += 1
            slowest = max(slowest, time.perf_counter() - began)
        alive = client.get("/dicomweb/studies").status_code
    print(f"{count} mutated DICOM: answers {dict(codes)}, slowest {slowest:.2f} s, alive afterwards: {alive}")


def world(patients):

    call_command("migrate", verbosity=0)
    site = create_site(code="home", name="Home")
    user = create_user(username="lis", password=PASSWORD)
    grant_role(user=user, site=site, role="integrator")
    PatientFactory(site=site, mrn="M1", birth_date="1980-04-01")
    ids = [str(assessed_case(site).analysis.case.patient_id) for _ in range(patients)]
    bearer, _ = issue_token(request=None, username="lis", password=PASSWORD)
    connection.close()
    return site, user, ids, bearer


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=1000)
    asked.add_argument("--seconds", type=int, default=SECONDS)
    asked.add_argument("--only", choices=("cds", "dicom", "hl7"))
    said = asked.parse_args()
    site, user, patients, bearer = world(100)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "clinic.wsgi", "--config", "python:clinic.gunicorn_conf"]
    server = subprocess.Popen([*command, "--bind", f"127.0.0.1:{port}"], cwd=ROOT, stdout=-3, stderr=-3)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{url}/healthz", timeout=5).raise_for_status()
                httpx.get(f"{url}/cds-services", timeout=5)
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        if said.only in (None, "cds"):
            asyncio.run(cds(url, patients, said.seconds))
        if said.only in (None, "dicom"):
            dicom(url, bearer, said.count)
        if said.only in (None, "hl7"):
            hl7(site, user, said.count)
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
