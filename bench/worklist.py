"""The worklist and the case page at a million cases on PostgreSQL.

    DATABASE_URL=postgres://user@host/empty_database python -m bench.worklist [--cases 1000000] [--keep]

Fills the database by COPY (a patient for each case, a fifth with an assessment, urgent one in two hundred), then asks
the real application for pages as a clinician of three sites would, and reads time, queries and bytes of each answer.
The database is emptied first: it must be one that nobody needs, and its name must say ``bench``.
"""

import argparse
import json
import os
import random
import time
import uuid
from datetime import UTC, datetime
from statistics import median, quantiles

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings.testing")
if "DATABASE_URL" in os.environ:
    os.environ["TEST_DATABASE_URL"] = os.environ["DATABASE_URL"]

import django

django.setup()

from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from clinic.accounts.models import Membership, Site, User
from clinic.canonical import digest
from clinic.cases.worklist import page_of, place

SITES = 3
ROUNDS = 60
START = datetime(2016, 1, 1, tzinfo=UTC)
GIVEN = [
    "Ada",
    "Björn",
    "Chloé",
    "Dora",
    "Emil",
    "Fatima",
    "Goran",
    "Hana",
    "Ivo",
    "Jana",
    "Kofi",
    "Lea",
    "Mai",
    "Nils",
]
SAID = {"status": "assessed", "answer": {"node": "aml", "name": "AML", "probability": 0.9}, "prediction_set": ["aml"]}
BODY = SAID | {"probabilities": {"aml": 0.9, "all": 0.1}, "urgent": [], "discordance": [], "reasons": []}


def surnames(count, rng):
    parts = [
        "ber",
        "dal",
        "ek",
        "fors",
        "gran",
        "holm",
        "kov",
        "lind",
        "mar",
        "nor",
        "ost",
        "ros",
        "sand",
        "tor",
        "vik",
    ]
    return sorted({"".join(rng.sample(parts, 3)).title() for _ in range(count * 2)})[:count]


def rows_of(count, sites, user, rng):
    """(patient, case, analysis, assessment) for each case; the last two None where there is none."""
    names, now = surnames(2000, rng), datetime.now(UTC)
    step = (now - START) / count
    for number in range(count):
        patient, case, analysis = (uuid.UUID(int=rng.getrandbits(128), version=4) for _ in range(3))
        at, site = START + step * number, sites[number % SITES]
        urgent, discordant = number % 200 == 0, number % 100 == 1
        unsigned = number > count * 0.9
        said = number % 10 < 2
        state = "open" if not said else "assessed" if unsigned else "signed"
        state = "signed" if not said and not unsigned else state
        triage = 3 if state == "signed" else 0 if urgent and said else 1 if discordant and said else 2
        name = f"{rng.choice(GIVEN)} {rng.choice(names)}"
        yield (
            (patient, site, f"M{number:07d}", name, "1970-05-17", "unknown", True, at, user),
            (case, patient, site, f"A{number:07d}", "Blasts?", "", at, user, state, triage, "aml" if said else "",
             0.9 if said else None, urgent and said, discordant and said),
            said and (analysis, case, "succeeded", "{}", at, user, at, 1, "done", 0, 0, "", ""),
            said and (analysis, "assessed", "aml", 0.9, urgent, discordant, json.dumps(BODY), digest(BODY), at),
        )  # fmt: skip


TABLES = {
    "patients_patient": "id, site_id, mrn, name, birth_date, sex, synthetic, created_at, created_by_id",
    "cases_case": "id, patient_id, site_id, accession, title, history, created_at, created_by_id, state, triage,"
    " answer, probability, urgent, discordant",
    "cases_analysis": "id, case_id, status, bundles, requested_at, requested_by_id, finished_at, attempt, stage, done,"
    " total, failure_code, failure_message",
    "cases_assessment": "analysis_id, status, answer, probability, urgent, discordant, body, digest, created_at",
}


def fill(count, sites, user, chunk=50_000):
    rng = random.Random(1)
    parts = {table: [] for table in TABLES}
    for number, rows in enumerate(rows_of(count, sites, user, rng), 1):
        for table, row in zip(TABLES, rows, strict=True):
            if row:
                parts[table].append(row)
        if number % chunk == 0 or number == count:
            with connection.cursor() as cursor:
                for table, columns in TABLES.items():
                    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                        for row in parts[table]:
                            copy.write_row(row)
                    parts[table].clear()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def emptied(count):
    name = connection.settings_dict["NAME"]
    if connection.vendor != "postgresql" or "bench" not in str(name):
        raise SystemExit(
            "DATABASE_URL must name a PostgreSQL database that is there to be emptied, with bench in its name."
        )
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    call_command("migrate", verbosity=0)
    sites = [Site.objects.create(code=f"s{n}", name=f"Laboratory {n}") for n in range(SITES)]
    user = User.objects.create(username="bench", first_name="Ada", last_name="Bench")
    for site in sites:
        Membership.objects.create(user=user, site=site, role="clinician")
    began = time.perf_counter()
    fill(count, [site.pk for site in sites], user.pk)
    print(f"{count:,} cases in {time.perf_counter() - began:.0f} s\n")
    return user


def measured(client, address, rounds=ROUNDS):
    """(median ms, 95th percentile ms, queries, kB) of one address; the first answer is not counted."""
    with CaptureQueriesContext(connection) as asked:
        first = client.get(address)
    if first.status_code not in (200, 204):
        raise SystemExit(f"{address} answered {first.status_code}")
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        client.get(address)
        took.append((time.perf_counter() - began) * 1000)
    return median(took), quantiles(took, n=20)[18], len(asked), len(first.content) / 1000


def deep(user, view, sort, pages=200):
    """The address of a page far down a list."""
    asked = {"view": view, "sort": sort, "q": "", "days": 0, "synthetic": "", "after": ""}
    for _ in range(pages):
        rows, _ = page_of(user, list(user.sites.all()), asked, size=200)
        asked["after"] = place(rows[-1], view, sort)
    return f"/worklist/?view={view}&sort={sort}&after={asked['after'].replace('+', '%2B')}"


def addresses(user):
    with connection.cursor() as cursor:
        cursor.execute("SELECT c.id, c.patient_id FROM cases_case c WHERE state = 'assessed' LIMIT 1")
        case, _ = cursor.fetchone()
        cursor.execute("SELECT name FROM patients_patient LIMIT 1")
        name = cursor.fetchone()[0]
    return {
        "worklist, what is to do": "/worklist/",
        "worklist, all": "/worklist/?view=all",
        "worklist, by name": "/worklist/?view=all&sort=name",
        "worklist, 40,000 cases down": deep(user, "all", "newest"),
        "worklist, 40,000 cases down in triage": deep(user, "todo", "triage"),
        "search, a record number": "/worklist/?view=all&q=M0123456",
        "search, an accession number": "/worklist/?view=all&q=a0123456",
        "search, a full name": f"/worklist/?view=all&q={name}",
        "search, a given name (1 in 14)": "/worklist/?view=all&q=hana",
        "search, two letters": "/worklist/?view=all&q=to",
        "search, nobody": "/worklist/?view=all&q=zzyzx",
        "the poll": "/worklist/pulse/",
        "case page": f"/cases/{case}/",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--keep", action="store_true", help="the rows of the last run")
    said = parser.parse_args()
    user = User.objects.get(username="bench") if said.keep else emptied(said.cases)
    client = Client()
    client.force_login(user)
    print("| page | median | 95th percentile | queries | size |\n|---|---|---|---|---|")
    for what, address in addresses(user).items():
        middle, late, queries, size = measured(client, address)
        print(f"| {what} | {middle:.0f} ms | {late:.0f} ms | {queries} | {size:.0f} kB |", flush=True)


if __name__ == "__main__":
    main()
