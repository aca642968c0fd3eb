"""What the portal's pages show and do."""

import json
import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from clinic.audit.models import Action
from clinic.cases.models import AnalysisStatus, Case, SignOff, StudyItem
from clinic.patients.models import Patient
from tests.factories import (
    PASSWORD,
    AnalysisFactory,
    BundleFactory,
    CaseFactory,
    ItemFactory,
    PatientFactory,
)
from tests.portal_cases import address, events, finding, fused_case

pytestmark = pytest.mark.django_db

# A new case


def test_new_case_registers_the_patient_and_opens_it(client, technician, site):
    client.force_login(technician)
    form = {"site": str(site.pk), "mrn": "77", "name": "Nora New", "sex": "female", "birth_date": "2019-05-01"}
    response = client.post(reverse("portal:new_case"), form | {"title": "Blasts?", "history": "Tired."})
    case = Case.objects.get()
    assert response.url == reverse("portal:case", args=[case.pk])
    assert (case.patient.name, case.title, case.history) == ("Nora New", "Blasts?", "Tired.")
    assert (events(Action.PATIENT_CREATE).count(), events(Action.CASE_CREATE).count()) == (1, 1)


def test_new_case_refuses_a_number_that_is_taken_and_keeps_what_was_typed(client, technician, site):
    PatientFactory(site=site, mrn="77")
    client.force_login(technician)
    form = {"site": str(site.pk), "mrn": "77", "name": "Nora New", "sex": "female"}
    text = client.post(reverse("portal:new_case"), form).content.decode()
    assert "A patient with this number is known" in text
    assert "Nora New" in text
    assert not Case.objects.exists()
    assert Patient.objects.count() == 1


def test_new_case_for_a_known_patient(client, technician, site, other_site):
    patient = PatientFactory(site=site, name="Known One")
    client.force_login(technician)
    found = client.get(reverse("portal:new_case"), {"q": "known"}).content.decode()
    assert f"?patient={patient.pk}" in found
    assert json.loads(events(Action.PATIENT_SEARCH).get().body)["detail"]["hits"] == [str(patient.pk)]
    client.post(reverse("portal:new_case") + f"?patient={patient.pk}", {"title": "Again", "history": ""})
    assert Case.objects.get().patient == patient
    foreign = PatientFactory(site=other_site)
    assert client.get(reverse("portal:new_case"), {"patient": str(foreign.pk)}).status_code == 404
    assert client.get(reverse("portal:new_case"), {"patient": "not-an-id"}).status_code == 404


# Files


def test_several_files_at_once_each_with_its_own_verdict(client, technician, site, monkeypatch):
    monkeypatch.setattr("clinic.cases.services.send", lambda *args: None)
    case = CaseFactory(patient__site=site)
    client.force_login(technician)
    files = [
        SimpleUploadedFile("one.png", b"first"),
        SimpleUploadedFile("two.png", b"second"),
        SimpleUploadedFile("copy of one.png", b"first"),
        SimpleUploadedFile("nothing.png", b""),
    ]
    form = {"kind": "smear_field", "file": files, "sample": ""}
    text = client.post(reverse("portal:upload", args=[case.pk]), form, follow=True).content.decode()
    assert sorted(case.items.values_list("filename", flat=True)) == ["one.png", "two.png"]
    assert "2 files received" in text
    assert "copy of one.png: This file is already in the case" in text
    assert "nothing.png: The file is empty" in text
    assert "Being checked" in text


def test_the_sample_goes_with_the_file(client, technician, site, monkeypatch):
    monkeypatch.setattr("clinic.cases.services.send", lambda *args: None)
    case = CaseFactory(patient__site=site)
    client.force_login(technician)
    form = {"kind": "expression", "file": SimpleUploadedFile("many.csv", b"a,b"), "sample": " P7 "}
    client.post(reverse("portal:upload", args=[case.pk]), form)
    assert StudyItem.objects.get().options == {"sample": "P7"}


def test_a_refused_file_says_where_what_and_what_to_do(client, technician, site):
    refusal = {"code": "truncated", "place": "x.png", "problem": "It ends early.", "remedy": "Export it again."}
    item = ItemFactory(case__patient__site=site, filename="<b>x.png", status="rejected", rejection=refusal)
    client.force_login(technician)
    text = client.get(reverse("portal:case", args=[item.case_id])).content.decode()
    assert "Refused" in text
    assert "It ends early." in text
    assert "Export it again." in text
    assert "&lt;b&gt;x.png" in text
    assert "<b>x.png" not in text


# The run


def test_a_case_without_files_cannot_be_analysed(client, technician, site):
    case = CaseFactory(patient__site=site)
    client.force_login(technician)
    page = client.get(reverse("portal:case", args=[case.pk])).content.decode()
    assert reverse("portal:analyse", args=[case.pk]) not in page
    text = client.post(reverse("portal:analyse", args=[case.pk]), follow=True).content.decode()
    assert "no usable image" in text
    assert not case.analyses.exists()


def test_the_pulse_tells_stage_and_progress_and_no_patient_data(client, technician, site):
    run = AnalysisFactory(
        case=CaseFactory(patient__site=site, patient__name="Secret Person"),
        status=AnalysisStatus.RUNNING,
        finished_at=None,
        lease_until=datetime(2100, 1, 1, tzinfo=UTC),
        stage="smear_field: reading",
        done=3,
        total=10,
    )
    ItemFactory(case=run.case, filename="secret.png")
    client.force_login(technician)
    page = client.get(reverse("portal:case", args=[run.case_id])).content.decode()
    assert reverse("portal:cancel", args=[run.pk]) in page
    address = re.search(r'hx-get="(/cases/[^"]+pulse[^"]+)"', page)[1].replace("&amp;", "&")
    beat = client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "Smear fields: reading" in beat
    assert "(3 of 10)" in beat
    assert "ecret" not in beat
    assert events(Action.CASE_READ).count() == 1
    client.post(reverse("portal:cancel", args=[run.pk]))
    ended = client.get(address, headers={"HX-Request": "true"})
    assert (ended.status_code, ended["HX-Trigger"]) == (204, "case-changed")
    assert "was cancelled" in client.get(reverse("portal:case", args=[run.case_id])).content.decode()


def test_a_failed_run_says_why_and_can_be_started_again(client, technician, site):
    run = AnalysisFactory(
        case=ItemFactory(case__patient__site=site).case,
        status=AnalysisStatus.FAILED,
        failure_code="worker_lost",
        failure_message="The worker was lost 3 times.",
    )
    client.force_login(technician)
    text = client.get(reverse("portal:case", args=[run.case_id])).content.decode()
    assert "The worker was lost 3 times." in text
    assert reverse("portal:analyse", args=[run.case_id]) in text


# The assessment


def test_an_assessment_shows_its_parts(client, clinician, case):
    client.force_login(clinician)
    text = client.get(reverse("portal:case", args=[case.pk])).content.decode()
    assert "Synthetic patient" in text
    for part in ("B-ALL", "Prediction set", "What speaks for and against", "Limits and intended use", "Maturation"):
        assert part in text
    assert "smear_field.png: It is blurred." in text
    assert f"{case.items.get(kind='smear_field').pk}/0:" not in text
    assert address("item_frame", case) in client.get(address("case_images", case)).content.decode()
    assert address("artefact", case) in client.get(address("viewer", case)).content.decode()
    text = client.get(address("case_expression", case)).content.decode()
    assert "B-ALL rather than AML: together +2.00" in text
    for row in ("CD19", "B lineage", "+1.50", "−0.50", "All others", "+0.75", "Before any value", "+0.25"):
        assert row in text
    text = client.get(address("case_labs", case)).content.decode()
    assert "ALL rather than AML: together +0.70" in text
    for row in ("12.4 × 10⁹/L", "4 to 11", "not measured", "+0.80", "−0.20"):
        assert row in text


def test_urgent_and_discordance_stand_before_the_answer(client, clinician, site):
    said = fused_case(site, [finding("expression", "T-ALL", 0.99), finding("labs", "APL", 0.99)])
    assert said.urgent
    assert said.discordant
    client.force_login(clinician)
    text = client.get(reverse("portal:case", args=[said.analysis.case_id])).content.decode()
    assert text.index("Acute promyelocytic leukaemia is not excluded") < text.index('id="answer"')
    assert text.index("contradict each other") < text.index('id="answer"')


def test_an_abstention_is_a_result_with_its_reason(client, clinician, site):
    said = fused_case(site, [finding("labs", "ALL", in_scope=0.01, reasons=("Unlike every training case.",))])
    assert said.status == "abstained"
    client.force_login(clinician)
    text = client.get(reverse("portal:case", args=[said.analysis.case_id])).content.decode()
    assert "These results do not support an answer." in text
    assert "Unlike every training case." in text
    assert "Draft the report" in text


def test_files_newer_than_the_assessment_are_named(client, clinician, case):
    ItemFactory(case=case, filename="later.csv", content=b"later")
    client.force_login(clinician)
    text = client.get(reverse("portal:case", args=[case.pk])).content.decode()
    assert "1 accepted file came after the assessment" in text


# The report


def test_draft_sign_amend(client, clinician, case):
    client.force_login(clinician)
    report_address = client.post(reverse("portal:draft", args=[case.pk])).url
    report = case.reports.get()
    sign = reverse("portal:sign", args=[report.pk])
    wrong = client.post(sign, {"decision": "agree", "password": "not it"})
    assert wrong.status_code == 400
    assert "The password is not right." in wrong.content.decode()
    assert not SignOff.objects.exists()
    client.post(sign, {"decision": "agree", "diagnosis": "", "reason": "", "password": PASSWORD})
    assert SignOff.objects.get().diagnosis == report.assessment.answer
    text = client.get(report_address).content.decode()
    assert "I have reviewed this report and agree" in text
    assert report.digest in text
    assert sign not in text
    amendment = client.post(reverse("portal:amend", args=[report.pk]), {"reason": "New karyotype."}, follow=True)
    assert "New karyotype." in amendment.content.decode()
    assert "Version 2 has taken the place" in client.get(report_address).content.decode()


def test_an_override_needs_a_diagnosis_and_a_reason(client, clinician, report):
    client.force_login(clinician)
    sign = reverse("portal:sign", args=[report.pk])
    bare = client.post(sign, {"decision": "override", "diagnosis": "", "reason": "", "password": PASSWORD})
    assert bare.status_code == 400
    assert not SignOff.objects.exists()
    form = {"decision": "override", "diagnosis": "t_all", "reason": "Flow says T.", "password": PASSWORD}
    assert client.post(sign, form).status_code == 302
    assert SignOff.objects.get().diagnosis == "t_all"


def test_a_report_shows_what_was_frozen_not_the_rows_of_today(client, clinician, report):
    Patient.objects.update(name="Renamed Later", synthetic=False)
    client.force_login(clinician)
    text = client.get(reverse("portal:report", args=[report.pk])).content.decode()
    assert "Synthia Test" in text
    assert "Renamed Later" not in text
    assert "Synthetic patient" in text


def test_a_technician_reads_but_cannot_sign(client, technician, report):
    client.force_login(technician)
    text = client.get(reverse("portal:report", args=[report.pk])).content.decode()
    assert reverse("portal:sign", args=[report.pk]) not in text
    assert "A clinician of Home laboratory reviews and signs" in text


# Oversight


def test_the_audit_page_filters_by_who_whom_what_and_when(client, auditor, clinician, case, monkeypatch):
    client.force_login(clinician)
    client.get(reverse("portal:case", args=[case.pk]))
    client.get(reverse("portal:worklist"))
    client.force_login(auditor)

    def acts(**query):
        text = client.get(reverse("portal:audit"), query).content.decode()
        return re.findall(r'<span class="mono quiet nowrap">([a-z.]+)</span>', text)

    assert acts(actor="doctor") == ["case.search", "case.read"]
    assert acts(patient=case.patient.mrn, actor="doctor") == ["case.search", "case.read"]  # found in a list, and read
    assert acts(patient="no such number") == []
    assert acts(action="case.search") == ["case.search"]
    assert acts(case=str(case.pk)) == ["case.read"]
    assert acts(until="2001-01-01T00:00") == []
    assert "audit.read" in acts(since="2001-01-01T00:00")
    assert events(Action.AUDIT_READ, actor_id=str(auditor.pk)).count() == 7


def test_a_filter_that_cannot_be_read_shows_nothing_but_says_so(client, auditor):
    client.force_login(auditor)
    assert client.get(reverse("portal:audit")).status_code == 200
    assert "audit.read</span>" in client.get(reverse("portal:audit")).content.decode()
    text = client.get(reverse("portal:audit"), {"case": "not-an-id"}).content.decode()
    assert "Enter a valid UUID." in text
    assert "No event matches." in text


def test_the_audit_page_says_when_the_chain_is_broken(client, auditor, monkeypatch):
    client.force_login(auditor)
    assert "The chain is whole" in client.get(reverse("portal:audit")).content.decode()
    monkeypatch.setattr("clinic.audit.verification.fault_in", lambda *args, **kwargs: "its text was changed")
    assert "The chain is broken at number 1" in client.get(reverse("portal:audit")).content.decode()


def test_the_models_page_gives_figures_with_data_split_and_interval(client, technician):
    figures = {"accuracy": {"value": 0.7912, "low": 0.7601, "high": 0.8203}}
    metrics = {"leave one centre out": {"n": 679, "data": "Two centres", "split": "by centre", "figures": figures}}
    BundleFactory(manifest={"name": "labs", "limits": ["Never saw a healthy person."], "metrics": metrics})
    client.force_login(technician)
    text = client.get(reverse("portal:models")).content.decode()
    for part in ("Leave one centre out", "n = 679", "Two centres", "by centre", "0.791", "0.760", "0.820", "healthy"):
        assert part in text


def test_pages_that_are_not_there_are_friendly(client, clinician):
    client.force_login(clinician)
    response = client.get(reverse("portal:case", args=[uuid4()]))
    assert response.status_code == 404
    assert "Nothing here for you" in response.content.decode()
