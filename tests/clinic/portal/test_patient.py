"""The patient page: cases over time, and each line of its drawings beside the same values in a table."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse

from clinic.audit.models import Action
from clinic.cases.models import Analysis
from clinic.portal.courses import HEIGHT, read_course
from clinic.portal.glossary import GLOSSARY
from tests.factories import NOON, CaseFactory, PatientFactory
from tests.portal_cases import assess, events, finding

pytestmark = pytest.mark.django_db


def panel(**values):
    rows = [
        {"name": name, "value": value, "unit": "10*9/L", "reference": [4.0, 11.0], "contribution": 0.1}
        for name, value in values.items()
    ]
    return {"answer": "ALL", "against": "AML", "log_odds": 0.7, "intercept": 0.0, "labs": rows}


def blasts(share, counted):
    count = round(share * counted)
    cells = [{"id": "x/0", "label": "Blast", "probabilities": {"Blast": 0.9}, "in_scope": 0.9, "attention": 1.0}]
    said = {"blasts": count, "counted": counted, "share": share, "low": max(share - 0.08, 0), "high": share + 0.08}
    return {"cells": cells, "differential": {"Blast": count or 1}, "blast_share": said}


@pytest.fixture
def patient(site):
    """Two cases, a month apart: blasts and white cells fall."""
    patient = PatientFactory(site=site, name="Synthia Course")
    for month, (share, white) in enumerate([(0.6, 38.5), (0.04, 5.25)]):
        case = CaseFactory(patient=patient, title=f"Month {month}")
        said = [
            finding("smear_cell", "AML", 0.9, explanation=blasts(share, 200)),
            finding("labs", "AML", 0.9, explanation=panel(Leukocytes=white, **({} if month else {"Platelets": 20.0}))),
        ]
        analysis = assess(case, said).analysis
        Analysis.objects.filter(pk=analysis.pk).update(finished_at=NOON + timedelta(days=30 * month))
    return patient


def test_the_page_shows_cases_and_course_and_is_recorded(client, clinician, patient):
    client.force_login(clinician)
    text = client.get(reverse("portal:patient", args=[patient.pk])).content.decode()
    assert text.index("Month 1") < text.index("Month 0")
    assert "blasts down by \N{MINUS SIGN}56 points" in text
    table = re.search(r'aria-label="Laboratory values as a table".*?</table>', text, re.DOTALL)[0]
    assert re.findall(r'<td class="number">([^<]+)</td>', table)[:3] == ["38.5", "5.25", "4 – 11"]
    assert text.count('<polyline class="course-line') >= 3
    assert events(Action.PATIENT_READ).get().patient_id == str(patient.pk)


def test_one_result_is_no_course_and_none_is_none(client, clinician, site, patient):
    client.force_login(clinician)
    alone = PatientFactory(site=site)
    assert "No case yet." in client.get(reverse("portal:patient", args=[alone.pk])).content.decode()
    assess(CaseFactory(patient=alone), [finding("labs", "AML", 0.9)])
    text = client.get(reverse("portal:patient", args=[alone.pk])).content.decode()
    assert "One result so far" in text
    assert "<polyline" not in text


def test_a_line_runs_through_its_values_in_time(client):
    at = [NOON, NOON + timedelta(days=10), NOON + timedelta(days=40)]
    points = [
        {"at": when, "analysis": str(n), "probabilities": {"aml": share}, "blasts": None}
        for n, (when, share) in enumerate(zip(at, (0.0, 1.0, 0.5), strict=True))
    ]
    course = read_course({"points": points, "changes": [], "hints": []}, {})
    (line,) = course["shares"]
    marks = [(mark["x"], mark["y"]) for mark in line["marks"]]
    assert marks == [(16, HEIGHT - 16), (16 + 968 / 4, 16), (984, HEIGHT / 2)]


# Help


def test_the_help_page_explains_every_term_in_a_sentence(client, clinician):
    client.force_login(clinician)
    text = client.get(reverse("portal:help")).content.decode()
    for name, (_, sentence) in GLOSSARY.items():
        assert f'id="term-{name}"' in text
        assert sentence.endswith(".")
        assert "." not in sentence[:-1], "one sentence"
    assert "synthetic=only" in text
    assert "For research use only." in text


def test_who_opens_no_case_is_not_sent_to_one(client, auditor):
    client.force_login(auditor)
    assert "synthetic=only" not in client.get(reverse("portal:help")).content.decode()


def test_a_term_on_a_page_leads_to_its_sentence(client, clinician):
    client.force_login(clinician)
    text = client.get(reverse("portal:worklist")).content.decode()
    assert f'href="{reverse("portal:help")}#term-discordance"' in text
    assert "contradict each other" in text
