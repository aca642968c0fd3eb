import json

import pytest

from clinic.audit.models import Action, AuditEvent
from clinic.audit.verification import verify
from clinic.canonical import digest
from clinic.cases.models import Report, SignOff
from clinic.cases.reports import amend, assessment_of, draft_report, sign
from clinic.errors import Conflict, Denied, InvalidInput
from tests.factories import (
    PASSWORD,
    AnalysisFactory,
    AssessmentFactory,
    BundleFactory,
    CaseFactory,
    FindingFactory,
    assessed_case,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def bundles(db):
    for name in ("labs", "fusion", "expression"):
        BundleFactory(name=name)


@pytest.fixture
def assessment(site, bundles):
    return assessed_case(site)


@pytest.fixture
def report(assessment, clinician):
    return draft_report(assessment=assessment, by=clinician)


def signed(report, by, **said):
    return sign(report=report, by=by, **{"password": PASSWORD, "decision": "agree"} | said)


@pytest.mark.requirement("M-7")
def test_a_report_freezes_all_that_it_says(report, assessment):
    patient = assessment.analysis.case.patient
    body = report.body
    assert body["patient"]["mrn"] == patient.mrn
    assert body["patient"]["birth_date"] == "1990-05-17"
    assert body["patient"]["synthetic"] is True
    assert body["assessment"] == assessment.body
    assert [finding["modality"] for finding in body["findings"]] == ["labs"]
    assert [item["filename"] for item in body["items"]] == ["labs.csv"]
    assert "clinician reviews and signs" in body["statement"]
    assert digest(body) == report.digest
    patient.name = "Renamed"
    patient.save()
    assert Report.objects.get(pk=report.pk).body["patient"]["name"] != "Renamed"


def test_a_report_names_the_bundles_that_spoke(report):
    assert [bundle["name"] for bundle in report.body["bundles"]] == ["fusion", "labs"]
    assert report.body["bundles"][1]["limits"] == ["None known"]


def test_one_unsigned_report_of_an_assessment(report, assessment, clinician):
    with pytest.raises(Conflict) as refusal:
        draft_report(assessment=assessment, by=clinician)
    assert refusal.value.code == "report_drafted"


def test_a_newer_assessment_takes_the_place_of_a_draft(report, clinician):
    analysis = AnalysisFactory(case=report.case)
    newer = draft_report(assessment=AssessmentFactory(analysis=analysis), by=clinician)
    assert newer.version == 2
    signed(newer, clinician)
    with pytest.raises(Conflict):
        signed(report, clinician)


def test_an_amended_version_is_not_signed_again(report, clinician):
    signed(report, clinician)
    amend(report=report, reason="New labs.", by=clinician)
    with pytest.raises(Conflict) as refusal:
        signed(Report.objects.get(pk=report.pk), clinician)
    assert refusal.value.code == "report_superseded"


@pytest.mark.requirement("M-6")
def test_to_agree_states_the_diagnosis_of_the_report(report, clinician):
    sign_off = signed(report, clinician)
    assert (sign_off.diagnosis, sign_off.report_digest) == ("aml", report.digest)
    assert sign_off.signer == clinician.display_name
    event = AuditEvent.objects.get(action=Action.REPORT_SIGN)
    assert json.loads(event.body)["detail"]["report_digest"] == report.digest
    assert verify().ok


def test_to_agree_with_an_abstention_states_no_diagnosis_and_says_so(site, bundles, clinician):
    sign_off = signed(draft_report(assessment=assessed_case(site, abstained=True), by=clinician), clinician)
    assert sign_off.diagnosis == ""
    assert "I state no diagnosis" in sign_off.meaning


def test_to_override_an_abstention_states_a_diagnosis_of_ones_own(site, bundles, clinician):
    report = draft_report(assessment=assessed_case(site, abstained=True), by=clinician)
    sign_off = signed(report, clinician, decision="override", diagnosis="apl", reason="Faggot cells, t(15;17) by FISH.")
    assert sign_off.diagnosis == "apl"
    assert "my own" in sign_off.meaning


@pytest.mark.parametrize(
    ("said", "code", "place"),
    [
        ({"decision": "perhaps"}, "unknown_decision", "decision"),
        ({"decision": "override", "diagnosis": "", "reason": "x"}, "missing", "diagnosis"),
        ({"decision": "override", "diagnosis": "apl", "reason": "  "}, "missing", "reason"),
        ({"decision": "override", "diagnosis": "measles", "reason": "x"}, "unknown_diagnosis", "diagnosis"),
        ({"decision": "agree", "diagnosis": "apl"}, "other_diagnosis", "diagnosis"),
    ],
)
def test_an_incomplete_signature_is_refused(report, clinician, said, code, place):
    with pytest.raises(InvalidInput) as refusal:
        signed(report, clinician, **said)
    assert (refusal.value.code, refusal.value.place) == (code, place)
    assert not SignOff.objects.exists()


@pytest.mark.requirement("M-6")
def test_a_signature_needs_the_password_and_the_attempt_is_recorded(report, clinician):
    with pytest.raises(Denied) as refusal:
        signed(report, clinician, password="not it")
    assert refusal.value.code == "wrong_password"
    event = AuditEvent.objects.get(action=Action.DENIED)
    assert json.loads(event.body)["detail"] == {"act": "report.sign", "why": "wrong password"}
    assert not SignOff.objects.exists()


@pytest.mark.requirement("U-2")
def test_only_a_clinician_of_the_site_signs(report, technician, integrator, admin_user, auditor, outsider):
    for by in (technician, integrator, admin_user, auditor, outsider):
        with pytest.raises(Denied) as refusal:
            signed(report, by)
        assert refusal.value.code == "not_allowed"


def test_a_report_is_signed_once(report, clinician):
    signed(report, clinician)
    with pytest.raises(Conflict) as refusal:
        signed(report, clinician)
    assert refusal.value.code == "report_signed"


@pytest.mark.requirement("M-6")
def test_a_changed_text_is_not_signed(report, clinician):
    report.body["patient"]["name"] = "Somebody else"
    with pytest.raises(Conflict) as refusal:
        signed(report, clinician)
    assert refusal.value.code == "report_changed"


@pytest.mark.requirement("M-7")
def test_a_signed_report_is_amended_not_drafted_anew(report, assessment, clinician):
    signed(report, clinician)
    with pytest.raises(Conflict) as refusal:
        draft_report(assessment=assessment, by=clinician)
    assert refusal.value.code == "report_signed"
    newer = AnalysisFactory(case=report.case)
    FindingFactory(analysis=newer)
    AssessmentFactory(analysis=newer, abstained=True)
    amendment = amend(report=report, reason="New labs.", by=clinician)
    assert (amendment.version, amendment.amends_id) == (2, report.pk)
    assert amendment.body["amendment"] == {"amends_version": 1, "reason": "New labs."}
    assert report.sign_off.report_digest == Report.objects.get(pk=report.pk).digest
    signed(amendment, clinician)


@pytest.mark.parametrize(("reason", "code"), [("  ", "missing"), ("New labs.", "report_unsigned")])
def test_an_amendment_needs_a_reason_and_a_signed_report(report, clinician, reason, code):
    with pytest.raises((InvalidInput, Conflict)) as refusal:
        amend(report=report, reason=reason, by=clinician)
    assert refusal.value.code == code


def test_a_report_is_amended_once(report, clinician):
    signed(report, clinician)
    amend(report=report, reason="New labs.", by=clinician)
    with pytest.raises(Conflict) as refusal:
        amend(report=Report.objects.get(pk=report.pk), reason="Again.", by=clinician)
    assert refusal.value.code == "report_amended"


def test_only_the_newest_assessment_is_reported_and_signed(report, assessment, site, clinician):
    case = assessment.analysis.case
    newer = AssessmentFactory(analysis=AnalysisFactory(case=case))
    assert assessment_of(case) == newer
    for act in (lambda: signed(report, clinician), lambda: draft_report(assessment=assessment, by=clinician)):
        with pytest.raises(Conflict) as refusal:
            act()
        assert refusal.value.code == "assessment_superseded"


def test_a_case_without_an_assessment_has_no_report(site):
    with pytest.raises(Conflict) as refusal:
        assessment_of(CaseFactory(patient__site=site))
    assert refusal.value.code == "no_assessment"


@pytest.mark.django_db(transaction=True)
def test_a_signature_anchors_the_log(site, bundles, clinician):
    report = draft_report(assessment=assessed_case(site), by=clinician)
    signed(report, clinician)
    result = verify()
    assert result.ok
    assert result.anchored_to == AuditEvent.objects.get(action=Action.REPORT_SIGN).seq


@pytest.mark.django_db(transaction=True)
def test_a_signature_stands_even_if_the_anchor_cannot_be_written(site, bundles, clinician, settings, tmp_path, caplog):
    settings.AUDIT_ANCHORS = tmp_path / "a file" / "anchors"
    (tmp_path / "a file").write_text("")
    report = draft_report(assessment=assessed_case(site), by=clinician)
    signed(report, clinician)
    assert SignOff.objects.filter(report=report).exists()
    assert "anchor_head" in caplog.text
