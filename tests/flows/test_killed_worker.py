"""`kill -9` of the worker in the middle of an analysis: the analysis still ends, once, and the log holds."""

import os
import signal

import pytest

from genomics import synthetic as tables
from ml import synthetic as smears
from tests.flows.conftest import until
from workers import demo

pytestmark = pytest.mark.timeout(400)


def open_case(client, mrn):
    site = client.get("sites")[0]["id"]
    patient = client.post("patients", {"site": site, "mrn": mrn, "name": "Synthetic, Flow", "synthetic": True})
    return client.post("cases", {"patient": patient["id"], "title": "flow"})["id"]


def analysis_in(client, analysis, statuses):
    said = client.get(f"analyses/{analysis}")
    return said if said["status"] in statuses else None


def test_the_analysis_ends_once(service, tmp_path):
    client = service.client("clinician")
    case = open_case(client, "KILL-1")
    client.upload(f"cases/{case}/items", "smear_field", smears.write_case(tmp_path / "fields", "Pre-B", 40, 7))
    tables.write_labs(tmp_path / "SYNTHETIC-labs.csv", "ALL", 7)
    client.upload(f"cases/{case}/items", "labs", [tmp_path / "SYNTHETIC-labs.csv"])
    analysis = demo.analyse(client, case)
    until(lambda: analysis_in(client, analysis, {"running"}), 60)

    doomed = service.processes("celery")
    assert doomed
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    assert analysis_in(client, analysis, {"running", "queued"}), "it ended before the worker was killed"

    ended, _ = until(lambda: analysis_in(client, analysis, {"succeeded", "failed", "cancelled"}), 180)
    assert ended["status"] == "succeeded", ended
    assert ended["attempt"] == 2
    assert set(service.processes("celery")).isdisjoint(doomed)
    assert client.get(f"analyses/{analysis}/assessment")["body"]["used"]

    log = service.client("auditor")
    acts = [event["action"] for event in log.get("audit/events", case=case)["results"]]
    assert acts.count("analysis.complete") == 1
    assert acts.count("analysis.requeue") == 1
    assert acts.count("finding.save") == 2
    verified = service.manage("verify_audit")
    assert verified.returncode == 0, verified.stdout + verified.stderr
