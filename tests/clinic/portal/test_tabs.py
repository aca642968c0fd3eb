"""The tabs of a case, the viewer, and what a case page says at a glance."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from clinic.audit.models import Action
from clinic.cases import files
from clinic.cases.models import AnalysisStatus
from clinic.portal import expression_view, glance, labs_view
from clinic.review.models import CellReview
from tests.factories import PASSWORD, AnalysisFactory, ArtefactFactory, AssessmentFactory, ItemFactory, member
from tests.portal_cases import address, assess, events, finding, fused_case, image_said

pytestmark = pytest.mark.django_db
TABS = ("case_images", "case_expression", "case_labs", "case_history", "case_audit")


def text_of(client, name, case, **query):
    return client.get(address(name, case), query).content.decode()


@pytest.mark.parametrize("name", TABS)
def test_each_tab_is_an_address_that_is_noted_once(client, clinician, case, name):
    client.force_login(clinician)
    text = text_of(client, name, case)
    assert f'<a href="{address(name, case)}" aria-current="page">' in text
    event = events(Action.CASE_READ).get()
    assert json.loads(event.body)["detail"] == {"tab": name}


def test_the_overview_says_what_is_present_and_what_is_missing(client, clinician, site):
    said = fused_case(site, [finding("labs", "ALL")])
    client.force_login(clinician)
    text = text_of(client, "case", said.analysis.case)
    assert text.count('data-state="missing"') == 4
    assert text.count('data-state="counts"') == 1
    assert "Next best:" in text
    assert "chance to change the answer" in text
    assert "labs@1.0.0" in text


def test_an_alert_says_what_would_exclude_it(client, clinician, site):
    said = fused_case(site, [finding("labs", "APL", 0.99)])
    client.force_login(clinician)
    text = text_of(client, "case", said.analysis.case)
    assert "Excluded by:" in text
    assert "PML::RARA" in text
    assert text.index("Urgent: APL is not excluded") < text.index('id="answer"')


def test_an_older_assessment_without_the_newer_keys_is_drawn(client, clinician, case, assessment):
    newer = ("next_tests", "counterfactual", "prediction_sets", "not_assessed", "trace", "waterfall")
    body = {key: value for key, value in assessment.body.items() if key not in newer}
    AssessmentFactory(analysis=AnalysisFactory(case=case), body=body)
    client.force_login(clinician)
    assert "What speaks for and against" in text_of(client, "case", case)
    assert glance.next_tests(body) == []
    assert len(glance.counterfactuals(body)) == 4


def test_a_run_shows_its_stages_and_a_failed_one_its_reason_and_a_way_on(client, clinician, case):
    lease = {"lease_until": "2100-01-01T00:00Z", "finished_at": None}
    run = AnalysisFactory(case=case, status=AnalysisStatus.RUNNING, stage="labs: reading", **lease)
    client.force_login(clinician)
    text = text_of(client, "case", case)
    assert '<li data-state="now" aria-current="step">Laboratory values' in text
    assert text.count('data-state="to come"') == 4
    type(run).objects.filter(pk=run.pk).update(
        status="failed", failure_code="worker_lost", failure_message="The worker was lost.", lease_until=None,
        finished_at="2026-01-01T00:00Z",
    )  # fmt: skip
    text = text_of(client, "case", case)
    assert "The worker was lost." in text
    assert "Try again" in text


def test_images_sort_by_influence_and_filter_by_class(client, clinician, case):
    client.force_login(clinician)
    text = text_of(client, "case_images", case)
    assert "Promyelocyte (1)" in text
    assert 'class="crop"' in text
    assert "No cell of this class" in text_of(client, "case_images", case, **{"class": "Monocyte"})


def test_the_viewer_shows_overlay_boxes_and_a_way_to_name_a_cell_anew(client, clinician, case):
    client.force_login(clinician)
    field = case.items.get(kind="smear_field")
    cell = {"id": f"{field.pk}/0:1", "field": f"{field.pk}/0", "box": [10.0, 20.0, 30.0, 50.0], "label": "Lymphocyte"}
    cells = [cell | {"share": 0.8, "blast": 0.1, "in_scope": 0.9}]
    white_cells = {"cells": cells, "bundle_sha256": "0" * 64, "cut_off": 0, "differential": {"Lymphocyte": 1}}
    explanation = {"images": [image_said(field, "Pre-B")], "white_cells": white_cells | {"blast_share": {"counted": 0}}}
    run = assess(case, [finding("smear_field", "Pre-B", explanation=explanation)]).analysis
    said = run.findings.get()
    ArtefactFactory(finding=said, kind="grad_cam", name=f"{field.pk}/0")
    text = text_of(client, "viewer", case, cell="1")
    assert 'class="overlay"' in text
    assert 'x="20.00" y="10.00" width="30.00" height="20.00"' in text
    assert "Cell 1: Lymphocyte" in text
    form = {"cell": cell["id"], "label": ""}
    back = client.post(reverse("portal:review_cell", args=[said.pk]), form)
    assert back.url == f"{address('viewer', case)}?cell=1"
    assert CellReview.objects.get().model_label == "Lymphocyte"
    assert "Not to be counted" in text_of(client, "viewer", case, cell="1")


def test_no_viewer_for_what_is_no_image_or_no_frame(client, clinician, case):
    client.force_login(clinician)
    labs, field = case.items.get(kind="labs"), case.items.get(kind="smear_field")
    assert client.get(reverse("portal:viewer", args=[labs.pk, 0])).status_code == 404
    assert client.get(reverse("portal:viewer", args=[field.pk, 3])).status_code == 404


@pytest.mark.parametrize(
    ("key", "age", "sex", "wanted"),
    [
        ("haemoglobin", 30, "male", (140, 170)),
        ("haemoglobin", 30, "female", (120, 160)),
        ("haemoglobin", 4, "male", (115, 135)),
        ("wbc", 1, "unknown", (6.0, 17.5)),
        ("wbc", 54, "unknown", (4.5, 11.0)),
        ("haemoglobin", 30, "unknown", None),
        ("wbc", None, "male", None),
        ("fibrinogen", 30, "male", None),
    ],
)
def test_ranges_are_of_age_and_sex(key, age, sex, wanted):
    found = labs_view.reference_of(key, age, sex)
    assert (found and found[:2]) == wanted


def test_labs_of_several_panels_make_a_course(client, clinician, case):
    for k, wbc in enumerate((3.0, 40.0)):
        item = ItemFactory(case=case, kind="labs", filename=f"labs{k}.csv")
        said = {"ids": ["1"], "values": [{"wbc": wbc, "age": 54}]}
        with files.workplace() as folder:
            (folder / "labs.json").write_text(json.dumps(said))
            files.keep_canonical(item, folder)
    client.force_login(clinician)
    text = text_of(client, "case_labs", case)
    assert "Over time" in text
    assert "40 (high)" in text
    assert "3 (low)" in text


def test_a_map_draws_the_case_among_the_classes_and_says_the_same_as_a_table():
    cohort = {"ETV6::RUNX1": [[1.0, 1.0], [1.2, 1.1]], "Ph": [[-3.0, -2.0]], "none": []}
    drawn = expression_view.drawn({"head": "b_all", "axes": ["a", "b"], "x": 1.0, "y": 1.0, "cohort": cohort})
    assert [one["name"] for one in drawn["classes"]] == ["ETV6::RUNX1", "Ph"]
    assert drawn["classes"][0]["away"] < 0.2 < drawn["classes"][1]["away"]
    assert 0 <= drawn["case"]["x"] <= drawn["side"]
    assert expression_view.thinned([[0, 0]] * 10_000) == [[0, 0]] * 400


def test_the_history_tab_shows_a_letter_as_text(client, clinician, case):
    ItemFactory(case=case, kind="history", filename="letter.txt", content=b"Tired <script>alert(1)</script>")
    client.force_login(clinician)
    text = text_of(client, "case_history", case)
    assert "Tired &lt;script&gt;" in text
    assert "<script>alert" not in text


def test_the_audit_tab_tells_the_life_of_this_case_alone(client, clinician, case, site):
    client.force_login(clinician)
    client.get(address("case", fused_case(site, [finding("labs", "ALL")]).analysis.case))
    client.get(address("case", case))
    text = text_of(client, "case_audit", case)
    assert text.count("read the case") == 1  # the overview and this tab, one line
    assert "2 times" in text
    assert events(Action.AUDIT_READ, case_id=str(case.pk)).count() == 1


def test_a_second_reader_where_the_site_wants_one(client, clinician, report, site):
    client.force_login(clinician)
    sign = reverse("portal:sign", args=[report.pk])
    client.post(sign, {"decision": "agree", "password": PASSWORD})
    assert "second reader is wanted" not in text_of(client, "report", report.case)
    site.second_reader = True
    site.save()
    own = text_of(client, "report", report.case)
    assert "second reader is wanted" in own
    assert reverse("portal:second", args=[report.pk]) not in own
    client.force_login(member(site, "clinician"))
    assert reverse("portal:second", args=[report.pk]) in text_of(client, "report", report.case)
    wrong = client.post(reverse("portal:second", args=[report.pk]), {"agrees": "no", "password": PASSWORD})
    assert wrong.status_code == 400
    assert "needs a reason" in wrong.content.decode()
    client.post(reverse("portal:second", args=[report.pk]), {"agrees": "yes", "password": PASSWORD})
    assert "I have read this report a second time" in text_of(client, "report", report.case)


def test_a_comment_is_text(client, clinician, case):
    client.force_login(clinician)
    client.post(reverse("portal:comment", args=[case.pk]), {"text": "<b>Look</b>"})
    assert "&lt;b&gt;Look&lt;/b&gt;" in text_of(client, "case", case)


@pytest.mark.parametrize("name", ["case", *TABS, "viewer"])
def test_a_page_of_a_case_asks_the_database_little_whatever_its_size(client, clinician, case, name):
    for k in range(30):
        ItemFactory(case=case, kind="labs", filename=f"{k}.csv", content=f"{k}".encode())
    client.force_login(clinician)
    page = address(name, case)
    client.get(page)
    with CaptureQueriesContext(connection) as asked:
        client.get(page)
    acts = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT", "ROLLBACK")
    queries = [one["sql"] for one in asked if not one["sql"].startswith(acts)]
    assert len(queries) <= 20, "\n".join(query[:150] for query in queries)
