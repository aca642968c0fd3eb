"""The report as PDF: the same bytes for the same report, all that its page says, and nothing that could harm."""

import hashlib
import re
from io import BytesIO

import pytest
from django.urls import reverse
from pypdf import PdfReader

from clinic.cases.reports import draft_report, sign
from clinic.cases.visibility import reports_visible_to
from clinic.portal.pdf import clean, report_pdf
from clinic.review.services import read_second
from tests.factories import PASSWORD, member
from tests.portal_cases import finding, full_case, fused_case

pytestmark = pytest.mark.django_db


def text_of(data):
    return " ".join(" ".join(page.extract_text() for page in PdfReader(BytesIO(data)).pages).split())


def again(report, user):
    return reports_visible_to(user).get(pk=report.pk)


def test_the_same_report_gives_the_same_bytes(report, clinician):
    first = hashlib.sha256(report_pdf(again(report, clinician))).hexdigest()
    assert hashlib.sha256(report_pdf(again(report, clinician))).hexdigest() == first
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    signed = hashlib.sha256(report_pdf(again(report, clinician))).hexdigest()
    assert signed != first
    assert hashlib.sha256(report_pdf(again(report, clinician))).hexdigest() == signed


def test_it_says_what_the_page_says(report, clinician, site):
    text = text_of(report_pdf(again(report, clinician)))
    assert "DRAFT, NOT SIGNED" in text
    sign(report=report, by=clinician, password=PASSWORD, decision="override", diagnosis="t_all", reason="Flow says T.")
    second = member(site, "clinician")
    read_second(report=report, by=second, password=PASSWORD, agrees=False, reason="I see B cells.")
    text = text_of(report_pdf(again(report, clinician)))
    body = report.body
    for part in (
        "SYNTHETIC PATIENT",
        body["patient"]["name"],
        body["patient"]["mrn"],
        body["assessment"]["answer"]["name"],
        "Prediction set",
        "What speaks for and against",
        "smear_field.png",
        body["items"][0]["sha256"][:16],
        "Where the model looked",
        "None known",
        clinician.display_name,
        "Diagnosis stated: T-ALL",
        "Flow says T.",
        second.display_name,
        "I see B cells.",
        report.digest,
        "Decision support. A clinician reviews and signs.",
    ):
        assert part in text
    assert "DRAFT" not in text


@pytest.mark.parametrize(
    "nasty", ["<script>alert(1)</script>", "a\x00b\x07c", "\u202eevil\u2066", "**bold** __x__", "(\\)"]
)
def test_what_people_typed_is_only_ever_text(site, clinician, nasty):
    said = full_case(site)
    patient, case = said.analysis.case.patient, said.analysis.case
    patient.name = f"N{nasty}"
    patient.save()
    case.history = nasty * 20
    case.save()
    data = report_pdf(again(draft_report(assessment=said, by=clinician), clinician))
    assert not re.search(rb"/JavaScript|/JS |/Launch|/URI|/EmbeddedFile", data)
    assert not set("\x00\x07\u202e\u2066") & set(text_of(data))


def test_clean_keeps_lines_and_letters():
    assert clean("Müde\nseit\u202e drei\x00 Wochen – κ") == "Müde\nseit  drei  Wochen – κ"


def test_a_coloured_note_colours_no_table(site, clinician):
    urgent = fused_case(site, [finding("expression", "T-ALL", 0.99), finding("labs", "APL", 0.99)])
    report = draft_report(assessment=urgent, by=clinician)
    body = report.body["assessment"]
    pages = PdfReader(BytesIO(report_pdf(report))).pages
    filled = sum(len(re.findall(rb"re\s+f\b", page.get_contents().get_data())) for page in pages)
    assert filled <= len(body["urgent"]) + len(body["discordance"])


def test_it_is_downloaded_and_noted(client, clinician, report):
    client.force_login(clinician)
    answer = client.get(reverse("portal:report_pdf", args=[report.pk]))
    assert answer["Content-Type"] == "application/pdf"
    assert "attachment" in answer["Content-Disposition"]
    assert "sandbox" in answer["Content-Security-Policy"]
    assert answer.getvalue().startswith(b"%PDF")
