"""The worklist and the case page at a million cases on PostgreSQL.

    DATABASE_URL=postgres://user@host/empty_database python -m bench.worklist [--cases 1000000] [--keep]

Fills the database (a patient for each case, a fifth with an assessment, urgent one in two hundred), then asks
the real application for pages as a clinician of three sites would, and reads time, queries and bytes of each answer.
The database is emptied first: it must be one that nobody needs, and its name must say ``bench``.
"""

import argparse
import json
import os
import time
from statistics import median, quantiles

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings.testing")
if "DATABASE_URL" in os.environ:
    os.environ["TEST_DATABASE_URL"] = os.environ["DATABASE_URL"]

import django

django.setup()

from django.core.management import call_command
from django.db import connection
from django.test import Client

from clinic.accounts.models import Membership, Site, User
from clinic.canonical import digest
from clinic.cases.worklist import page_of, place

SITES = 3
ROUNDS = 40
TABLES = ("patients_patient", "cases_case", "cases_analysis", "cases_assessment")
PARTS = ["ber", "dal", "ek", "fors", "gran", "holm", "kov", "lind", "mar", "nor", "ost", "ros", "sand", "tor", "vik"]
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


# Row n of every table. Ids are spread as random ones are, names over the sites; one case in five is assessed, the
# newest tenth is unsigned.
SITE = f"n / 3375 %% {SITES} + 1"
ID = "md5('{} ' || n)::uuid"
FILL = f"""
INSERT INTO patients_patient (id, site_id, mrn, name, birth_date, sex, synthetic, created_at, created_by_id)
SELECT {ID.format("patient")}, (%(sites)s::uuid[])[{SITE}], 'M' || lpad(n::text, 7, '0'),
  (%(given)s::text[])[n %% 14 + 1] || ' ' || initcap((%(parts)s::text[])[n %% 15 + 1] ||
  (%(parts)s::text[])[n / 15 %% 15 + 1] || (%(parts)s::text[])[n / 225 %% 15 + 1]), '1970-05-17', 'unknown', TRUE,
  {{at}}, %(user)s
FROM generate_series(1, %(count)s) n;
INSERT INTO cases_case (id, patient_id, site_id, accession, title, history, stage, created_at, created_by_id, state,
  triage, answer, probability, urgent, discordant)
SELECT {ID.format("case")}, {ID.format("patient")}, (%(sites)s::uuid[])[{SITE}], 'A' || lpad(n::text, 7, '0'),
  'Blasts?', '', 'diagnosis', {{at}}, %(user)s,
  CASE WHEN n <= %(count)s * 0.9 THEN 'signed' WHEN n %% 10 < 2 THEN 'assessed' ELSE 'open' END,
  CASE WHEN n <= %(count)s * 0.9 THEN 3 WHEN n %% 200 = 0 THEN 0 WHEN n %% 100 = 1 THEN 1 ELSE 2 END,
  CASE WHEN n %% 10 < 2 THEN 'aml' ELSE '' END, CASE WHEN n %% 10 < 2 THEN 0.9 END, n %% 200 = 0, n %% 100 = 1
FROM generate_series(1, %(count)s) n;
INSERT INTO cases_analysis (id, case_id, status, bundles, requested_at, requested_by_id, finished_at, attempt, stage,
  done, total, failure_code, failure_message)
SELECT {ID.format("analysis")}, {ID.format("case")}, 'succeeded', '{{{{}}}}', {{at}}, %(user)s, {{at}}, 1, 'done',
  0, 0, '', ''
FROM generate_series(1, %(count)s) n WHERE n %% 10 < 2;
INSERT INTO cases_assessment (analysis_id, status, answer, probability, urgent, discordant, body, digest, created_at)
SELECT {ID.format("analysis")}, 'assessed', 'aml', 0.9, n %% 200 = 0, n %% 100 = 1, %(body)s, %(digest)s, {{at}}
FROM generate_series(1, %(count)s) n WHERE n %% 10 < 2;
""".format(at="timestamptz '2016-01-01' + n * interval '5 minutes'")
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND indexname NOT IN (
  SELECT conname FROM pg_constraint WHERE contype IN ('p', 'u'))
"""


def fill(count, sites, user):
    """All rows by four statements in the database, its secondary indexes built afterwards."""
    with connection.cursor() as cursor:
        cursor.execute(INDEXES, [list(TABLES)])
        indexes = cursor.fetchall()
        cursor.execute("; ".join(f'DROP INDEX "{name}"' for name, _ in indexes))
        cursor.execute("SET session_replication_role = replica")  # no look-up of every foreign key
        said = {"sites": sites, "given": GIVEN, "parts": PARTS, "user": user, "count": count}
        said |= {"body": json.dumps(BODY), "digest": digest(BODY)}
        for statement in FILL.split(";\n")[:-1]:
            cursor.execute(statement, said)
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("; ".join(definition for _, definition in indexes))
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
    """(median ms, 95th percentile ms, queries, kB) of one address; the first answer is not timed."""
    asked = []
    with connection.execute_wrapper(lambda run, sql, *said: (asked.append(sql), run(sql, *said))[1]):
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
