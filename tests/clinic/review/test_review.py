"""Comments, cells named anew, and the second reader."""

import json

import pytest
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.db import IntegrityError, transaction

from clinic.accounts.lockout import TooManyTries
from clinic.audit.models import Action
from clinic.audit.verification import verify
from clinic.cases.reports import draft_report, sign
from clinic.errors import Conflict, Denied, InvalidInput
from clinic.review import cells, services
from clinic.review.models import CellReview, Comment, SecondReading
from ml.differential import BLAST
from tests.factories import PASSWORD, CaseFactory, FindingFactory, member
from tests.portal_cases import events, finding, full_case

pytestmark = pytest.mark.django_db


@pytest.fixture
def seen(site):
    """A finding of fields with three cells."""
    labels = ("Lymphocyte", "Lymphocyte", BLAST)
    found = [
        {"id": f"x/0:{k}", "field": "x/0", "box": [0, 0, 9, 9], "label": label} for k, label in enumerate(labels, 1)
    ]
    said = finding("smear_field", "Pre-B", explanation={"images": [], "white_cells": {"cells": found}})
    return FindingFactory(analysis__case__patient__site=site, modality="smear_field", body=said.as_dict())


def test_a_comment_is_kept_with_its_author_and_an_event(site, technician):
    case = CaseFactory(patient__site=site)
    services.write_comment(case=case, text="  Look at field 3.  ", by=technician)
    assert (Comment.objects.get().text, Comment.objects.get().author) == ("Look at field 3.", technician.display_name)
    assert events(Action.COMMENT_WRITE, case_id=str(case.pk)).count() == 1
    with pytest.raises(InvalidInput, match="empty"):
        services.write_comment(case=case, text="   ", by=technician)
    with pytest.raises(InvalidInput, match="4000"):
        services.write_comment(case=case, text="x" * 4001, by=technician)


def test_a_comment_of_another_site_is_refused(other_site, technician):
    with pytest.raises(Denied):
        services.write_comment(case=CaseFactory(patient__site=other_site), text="Hello", by=technician)
    assert not Comment.objects.exists()


def test_a_cell_named_anew_changes_the_differential_and_not_the_finding(seen, clinician):
    before = json.dumps(seen.body, sort_keys=True)
    services.review_cell(finding=seen, cell="x/0:1", label=BLAST, by=clinician)
    seen.refresh_from_db()
    assert json.dumps(seen.body, sort_keys=True) == before
    reviews = cells.reviewed(seen)
    assert cells.differential(seen.body, reviews) == [(BLAST, 1, 2), ("Lymphocyte", 2, 1)]
    assert cells.blasts_now(seen.body, reviews)["blasts"] == 2
    said = json.loads(events(Action.CELL_REVIEW).get().body)["detail"]
    assert said == {"cell": "x/0:1", "model_label": "Lymphocyte", "label": BLAST, "number": 1}


def test_the_newest_name_counts_and_the_earlier_stay(seen, clinician, site):
    other = member(site, "clinician")
    services.review_cell(finding=seen, cell="x/0:3", label="Lymphocyte", by=clinician)
    services.review_cell(finding=seen, cell="x/0:3", label="", by=other)
    assert list(CellReview.objects.values_list("label", "number")) == [("Lymphocyte", 1), ("", 2)]
    assert cells.differential(seen.body, cells.reviewed(seen)) == [("Lymphocyte", 2, 2), (BLAST, 1, 0)]
    with pytest.raises(IntegrityError), transaction.atomic():
        CellReview.objects.create(finding=seen, cell="x/0:3", number=2, by=other, reviewer="x")


@pytest.mark.parametrize(
    ("cell", "label", "match"), [("x/0:9", BLAST, "no such cell"), ("x/0:1", "Cat", "no such class")]
)
def test_only_cells_and_classes_that_are_there(seen, clinician, cell, label, match):
    with pytest.raises(InvalidInput, match=match):
        services.review_cell(finding=seen, cell=cell, label=label, by=clinician)
    assert not CellReview.objects.exists()


def test_a_technician_names_no_cells(seen, technician):
    with pytest.raises(Denied):
        services.review_cell(finding=seen, cell="x/0:1", label=BLAST, by=technician)


@pytest.fixture
def signed(site, clinician):
    report = draft_report(assessment=full_case(site), by=clinician)
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    return report


def test_a_second_reader_agrees_or_objects_with_a_reason(signed, site):
    second = member(site, "clinician")
    with pytest.raises(InvalidInput, match="reason"):
        services.read_second(report=signed, by=second, password=PASSWORD, agrees=False)
    services.read_second(report=signed, by=second, password=PASSWORD, agrees=False, reason="Flow says T.")
    reading = SecondReading.objects.get()
    assert (reading.agrees, reading.reason, reading.report_digest) == (False, "Flow says T.", signed.digest)
    with pytest.raises(Conflict, match="already"):
        services.read_second(report=signed, by=member(site, "clinician"), password=PASSWORD, agrees=True)
    assert events(Action.REPORT_SECOND).count() == 1
    assert verify().ok


def test_nobody_is_their_own_second_reader(signed, clinician):
    with pytest.raises(Denied, match="yourself"):
        services.read_second(report=signed, by=clinician, password=PASSWORD, agrees=True)
    assert events(Action.DENIED).count() == 1
    with pytest.raises(IntegrityError, match="second_reader_is_another_person"), transaction.atomic():
        SecondReading.objects.create(
            sign_off=signed.sign_off, first_by=clinician, by=clinician, reader="x", at=signed.sign_off.at, agrees=True
        )


def test_a_second_reader_needs_the_password_and_a_signature(signed, site, clinician):
    second = member(site, "clinician")
    with pytest.raises(Denied, match="password"):
        services.read_second(report=signed, by=second, password="wrong", agrees=True)
    unsigned = draft_report(assessment=full_case_again(site), by=clinician)
    with pytest.raises(Conflict, match="not signed"):
        services.read_second(report=unsigned, by=second, password=PASSWORD, agrees=True)
    assert not SecondReading.objects.exists()


def test_a_second_reader_proves_again_with_the_second_factor_too(signed, site, clinician):
    second = member(site, "clinician")
    secret = generate_totp_secret()
    TOTP.activate(second, secret)
    with pytest.raises(Denied) as refused:
        services.read_second(report=signed, by=second, password=PASSWORD, agrees=True)
    assert refused.value.code == "code_needed"
    code = format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))
    services.read_second(report=signed, by=second, password=PASSWORD, code=code, agrees=True)
    assert json.loads(events(Action.REPORT_SECOND).get().body)["detail"]["factors"] == ["password", "totp"]


def test_guesses_at_a_second_reading_count_as_tries(signed, site):
    second = member(site, "clinician")
    for _ in range(10):
        with pytest.raises(Denied):
            services.read_second(report=signed, by=second, password="wrong", agrees=True)
    with pytest.raises(TooManyTries):
        services.read_second(report=signed, by=second, password=PASSWORD, agrees=True)


@pytest.mark.parametrize("change", ["update", "delete"])
def test_what_people_wrote_is_never_changed(site, technician, change):
    services.write_comment(case=CaseFactory(patient__site=site), text="Look.", by=technician)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Comment.objects.update(text="No.") if change == "update" else Comment.objects.all().delete()


def full_case_again(site):
    from tests.portal_cases import fused_case

    return fused_case(site, [finding("labs", "ALL")])
