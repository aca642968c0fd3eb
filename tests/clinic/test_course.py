from datetime import timedelta

import pytest

from clinic.cases.course import course_of, difference
from clinic.cases.models import Case
from clinic.cases.services import open_case
from clinic.errors import InvalidInput
from tests.factories import (
    ABSTAINED,
    ASSESSED,
    FINDING,
    NOON,
    AnalysisFactory,
    AssessmentFactory,
    CaseFactory,
    FindingFactory,
    PatientFactory,
)

pytestmark = pytest.mark.django_db


def point(case, day, body, blasts=None):
    analysis = AnalysisFactory(case=case, finished_at=NOON + timedelta(days=day))
    AssessmentFactory(analysis=analysis, body=body)
    if blasts:
        FindingFactory(
            analysis=analysis,
            modality="smear_cell",
            body=FINDING | {"bundle_sha256": "0" * 64, "explanation": {"blast_share": blasts}},
        )


def of(blasts, counted):
    from clinic.monitoring.drift import wilson

    said = wilson(blasts, counted)
    return {"blasts": blasts, "counted": counted, "share": said["value"], "low": said["low"], "high": said["high"]}


def assessed_as(node, prediction_set):
    return ASSESSED | {"answer": {"node": node, "name": node, "probability": 0.9}, "prediction_set": prediction_set}


def test_newcombes_interval_of_a_difference():
    """His example: 56/70 against 48/80 gives 0.0524 to 0.3339."""
    said = difference(of(48, 80), of(56, 70))
    assert said["value"] == pytest.approx(0.2)
    assert (said["low"], said["high"]) == (pytest.approx(0.0524, abs=2e-4), pytest.approx(0.3339, abs=2e-4))


def test_points_of_all_cases_in_the_order_of_time_with_the_changes_between(site):
    patient = PatientFactory(site=site)
    first = CaseFactory(patient=patient)
    second = CaseFactory(patient=patient, stage="follow_up", follows=first)
    third = CaseFactory(patient=patient, stage="relapse", follows=first)
    point(third, 200, assessed_as("apl", ["apl"]), of(60, 100))
    point(first, 0, assessed_as("aml_npm1", ["aml_npm1", "aml_nos"]), of(70, 100))
    point(second, 60, ABSTAINED, of(2, 100))
    said = course_of(Case.objects.filter(patient=patient))
    assert [p["stage"] for p in said["points"]] == ["diagnosis", "follow_up", "relapse"]
    assert [(c["what"], c["direction"]) for c in said["changes"]] == [
        ("blasts", "down"),
        ("blasts", "up"),
        ("answer", "other"),
    ]


def test_a_hint_from_three_counts_on_says_that_it_is_simulated(site):
    case = CaseFactory(patient__site=site)
    for day, blasts in ((0, 140), (30, 4)):
        point(case, day, ABSTAINED, of(blasts, 200))
    cases = Case.objects.filter(pk=case.pk)
    assert course_of(cases)["hints"] == []
    point(case, 90, ABSTAINED, of(90, 200))
    [hint] = course_of(cases)["hints"]
    assert (hint["of"], hint["says"]) == ("smear_cell", "possible relapse")
    assert "2 % and are 45 % again" in hint["why"]
    assert hint["validation"]["data"] == "simulated"


def test_what_chance_or_the_set_allows_is_no_change(site):
    case = CaseFactory(patient__site=site)
    point(case, 0, assessed_as("aml", ["aml", "all"]), of(10, 100))
    point(case, 5, assessed_as("b_all", ["b_all"]), of(13, 100))
    assert course_of(Case.objects.filter(pk=case.pk))["changes"] == []


def test_a_follow_up_is_of_the_same_patient_and_no_diagnosis(site, clinician):
    earlier = CaseFactory(patient__site=site)
    case = open_case(patient=earlier.patient, stage="follow_up", follows=earlier, by=clinician)
    assert case.follows == earlier
    for said in (
        {"patient": PatientFactory(site=site), "stage": "follow_up"},
        {"patient": earlier.patient, "stage": "diagnosis"},
    ):
        with pytest.raises(InvalidInput):
            open_case(follows=earlier, by=clinician, **said)
    with pytest.raises(InvalidInput):
        open_case(patient=earlier.patient, stage="cured", by=clinician)


def test_over_the_api(client, clinician, site):
    patient = PatientFactory(site=site)
    client.force_login(clinician)
    first = client.post("/api/v1/cases", {"patient": str(patient.pk)}, "application/json").json()
    again = {"patient": str(patient.pk), "stage": "relapse", "follows": first["id"]}
    said = client.post("/api/v1/cases", again, "application/json").json()
    assert (said["stage"], said["follows"]) == ("relapse", first["id"])
    point(Case.objects.get(pk=said["id"]), 0, ASSESSED, of(5, 50))
    course = client.get(f"/api/v1/patients/{patient.pk}/course").json()
    assert course["points"][0]["blasts"]["counted"] == 50
