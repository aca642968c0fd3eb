"""Tables of cases and laboratory values: taken whole or refused, and then a verdict for every row."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import Case, StudyItem
from clinic.imports import services, tables
from clinic.imports.models import Import, ImportRow
from clinic.patients.models import Patient
from tests.factories import CaseFactory, PatientFactory

pytestmark = pytest.mark.django_db
CASES = "mrn,name,birth_date,sex,title\n1,Anna A,1980-01-02,female,Blasts\n2,Berta B,,male,\n"


@pytest.fixture(autouse=True)
def by_hand(monkeypatch):
    """The tests say when the worker works."""
    sent = []
    monkeypatch.setattr("clinic.imports.services.send", lambda name, pk: sent.append(pk))
    monkeypatch.setattr("clinic.cases.services.send", lambda *_: None)
    return sent


@pytest.fixture
def send(api, clinician, site):
    def sent(table, kind="cases", name="table.csv", client=None):
        table = table if isinstance(table, bytes) else table.encode()
        said = {"file": SimpleUploadedFile(name, table), "kind": kind, "site": str(site.pk)}
        return (client or api(clinician)).post(reverse("api:imports"), said, format="multipart")

    return sent


@pytest.fixture
def worked(send, api, clinician):
    """Send, work, and give (the job, its rows) as the API tells them."""

    def done(table, **said):
        answer = send(table, **said)
        assert answer.status_code == 202, answer.content
        services.run(answer.json()["id"])
        client = api(clinician)
        job = client.get(answer.headers["Location"]).json()
        rows = client.get(reverse("api:import_rows", args=[job["id"]])).json()["results"]
        return job, rows

    return done


def test_every_row_opens_a_case(worked, by_hand, site):
    job, rows = worked(CASES)
    assert by_hand == [job["id"]]
    assert (job["status"], job["total"]) == ("done", 2)
    assert job["rows"] == {"pending": 0, "created": 2, "unchanged": 0, "rejected": 0}
    assert [row["number"] for row in rows] == [2, 3]
    assert {str(pk) for pk in Case.objects.values_list("pk", flat=True)} == {row["case"] for row in rows}
    anna = Patient.objects.get(mrn="1")
    assert (anna.name, str(anna.birth_date), anna.sex, anna.site) == ("Anna A", "1980-01-02", "female", site)
    acts = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"import.request", "import.complete", "patient.create", "case.create", "import.read"} <= acts


def test_bad_rows_are_named_and_the_others_go_through(worked, site):
    PatientFactory(site=site, mrn="9", name="Somebody Else")
    table = (
        'mrn;name;birth_date;sex\n1;Anna;1980-13-01;female\n2;Berta;;unsure\n;Carla;;\n9;Dora;;\n"5";"Emil; E.";;male'
        "\n6;too;many;cells;here\n7;Fritz\n"
    )
    job, rows = worked(table)
    said = [(row["number"], row["status"], (row["problem"] or {}).get("code")) for row in rows]
    assert said == [
        (2, "rejected", "no_date"),
        (3, "rejected", "unknown_value"),
        (4, "rejected", "missing"),
        (5, "rejected", "other_patient"),
        (6, "created", None),
        (7, "rejected", "wrong_length"),
        (8, "rejected", "wrong_length"),
    ]
    assert [row["problem"]["place"] for row in rows[:4]] == ["birth_date", "sex", "mrn", "mrn"]
    assert all(row["problem"]["remedy"] for row in rows if row["problem"])
    assert job["rows"]["rejected"] + job["rows"]["created"] == job["total"] == 7
    assert Patient.objects.filter(name="Emil; E.").exists()


def test_ndjson_is_taken_as_well(worked):
    lines = [{"mrn": 1, "name": "Anna", "synthetic": True}, {"mrn": "2", "name": ["x"]}]
    table = "\n".join(map(json.dumps, lines)) + '\n\n{"mrn": \n'
    _, rows = worked(table, name="cases.ndjson")
    said = [(row["number"], row["status"], (row["problem"] or {}).get("code")) for row in rows]
    assert said == [(1, "created", None), (2, "rejected", "not_json"), (4, "rejected", "not_json")]
    assert Patient.objects.get().synthetic


def test_rows_of_values_become_labs_of_their_case(worked, site):
    case, other = (CaseFactory(patient__site=site, patient__mrn=mrn) for mrn in "ab")
    twice = CaseFactory(patient=other.patient)
    table = f'mrn,case,wbc_10e9_l,note\na,,12,"x, y"\nb,,3,\n,{twice.pk},4,\nz,,5,\na,,,\n,nothing,6,\n'
    _, rows = worked(table, kind="labs")
    said = [(row["status"], (row["problem"] or {}).get("code")) for row in rows]
    assert said == [
        ("created", None),
        ("rejected", "several_cases"),
        ("created", None),
        ("rejected", "no_case"),
        ("rejected", "no_values"),
        ("rejected", "unknown_case"),
    ]
    assert [row["case"] for row in rows if row["item"]] == [str(case.pk), str(twice.pk)]
    item = StudyItem.objects.get(case=case)
    assert (item.kind, item.filename, rows[0]["item_status"]) == ("labs", "table.csv line 2.csv", "received")


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("", "no_header"),
        ("mrn,name\n", "no_rows"),
        ("mrn,title\n1,x\n", "column_missing"),
        ("mrn,name,colour\n1,x,red\n", "unknown_column"),
        ("mrn,name,name\n1,x,y\n", "column_twice"),
        ('mrn,name\n1,"x\n', "not_csv"),
        (b"mrn,name\n1,\xff\n", "not_utf8"),
        (b"mrn,name\n1,a\0b\n", "not_text"),
    ],
)
def test_what_is_no_table_of_cases_is_refused_whole(send, table, code):
    answer = send(table)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not Import.objects.exists()


def test_too_much_is_refused(send, monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 1)
    assert send(CASES).status_code == 413


def test_the_same_table_is_not_taken_twice_and_the_same_case_not_opened_twice(worked, send):
    worked(CASES)
    assert send(CASES).json()["code"] == "imported_before"
    job, _ = worked(CASES + "3,Carla C,,,\n")
    assert job["rows"] == {"pending": 0, "created": 1, "unchanged": 2, "rejected": 0}


def test_a_lost_worker_s_rows_are_done_by_the_next(send, by_hand, monkeypatch):
    pk = send(CASES).json()["id"]
    with monkeypatch.context() as broken:
        broken.setattr("clinic.imports.services._finish", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            services.run(pk)
    services.run(pk)  # its lease is not over: nothing
    assert Import.objects.get().status == "running"
    ImportRow.objects.filter(number=3).update(status="pending")
    Import.objects.update(touched_at=timezone.now() - timedelta(minutes=5))
    services.sweep()
    assert by_hand == [pk, pk]
    services.run(pk)
    assert services.counts(Import.objects.get())["pending"] == 0
    assert Case.objects.count() == 2
    assert AuditEvent.objects.filter(action=Action.IMPORT_COMPLETE).count() == 1


def test_the_report_is_a_table_of_all_verdicts_without_formulae(api, clinician, worked):
    job, _ = worked("mrn,name,birth_date\n1,Anna,=1+1\n2,Berta,\n")
    answer = api(clinician).get(reverse("api:import_report", args=[job["id"]]))
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [(row["line"], row["status"], row["code"]) for row in rows] == [
        ("2", "rejected", "no_date"),
        ("3", "created", ""),
    ]
    assert not any(cell.startswith("=") for row in rows for cell in row.values())


def test_who_may_not_open_cases_there_imports_none(api, auditor, outsider, send):
    assert send(CASES, client=api(auditor)).status_code == 404
    assert send(CASES, client=api(outsider)).status_code == 404
