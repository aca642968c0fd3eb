import math

import pytest

from clinic.portal import charts
from clinic.portal.templatetags.portal import percent, stage_text
from ml.fusion import fuse
from tests.ml.test_fusion import BUNDLE
from tests.portal_cases import finding

BODY = fuse([finding("labs", "ALL"), finding("expression", "B-ALL", 0.9)], BUNDLE).as_dict()


@pytest.mark.parametrize("node", ["b_all", "aml", "no_leukaemia"])
def test_a_waterfall_runs_from_the_prior_to_the_posterior(node):
    chart = charts.waterfall(BODY, node)
    pushes = sum(step["push"] for step in chart["steps"])
    before, after = (math.log(p / (1 - p)) for p in (BODY["prior"][node], BODY["probabilities"][node]))
    assert before + pushes == pytest.approx(after, abs=1e-6)
    assert [step["label"] for step in chart["steps"]] == ["Gene expression", "Laboratory values"]


def test_bars_stay_inside_the_chart_however_strong_the_evidence():
    body = {"prior": {"apl": 1e-9}, "probabilities": {"apl": 1 - 1e-15}, "evidence": {"labs": {"apl": 700.0}}}
    chart = charts.waterfall(body, "apl")
    for bar in (chart["before"], *chart["steps"], chart["after"]):
        assert bar["x"] >= 0
        assert bar["x"] + bar["width"] <= charts.WIDTH + 3


def test_the_answer_is_compared_with_what_stands_beside_its_path():
    assert BODY["answer"]["node"] == "b_all"
    first, *others = charts.candidates(BODY)
    assert first == "b_all"
    assert len(others) == 2
    assert not set(others) & {"any", "acute_leukaemia", "all", "b_all"}
    urgent = BODY | {"urgent": [{"code": "apl_not_excluded"}]}
    assert charts.candidates(urgent)[:2] == ["b_all", "apl"]


def test_bars_beyond_the_first_are_summed_and_nothing_is_lost():
    rows = charts.bars({str(n): n / 45 for n in range(10)}, keep=3)
    assert [row["label"] for row in rows] == ["9", "8", "7", "7 others together"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_the_longest_push_fills_its_half():
    up, down, none = charts.pushes([("a", 2.0, {}), ("b", -1.0, {}), ("c", 0.0, {})])
    assert (up["x"], up["width"], up["tone"]) == (500, 500, "for")
    assert (down["x"], down["width"], down["tone"]) == (250, 250, "against")
    assert none["width"] == 0


@pytest.mark.parametrize(
    ("push", "said"),
    [(0.01, "no change"), (math.log(2), "odds × 2.0"), (-math.log(30), "odds ÷ 30"), (700, "odds × > 9,999")],
)
def test_a_push_in_words(push, said):
    assert charts.factor(push) == said


@pytest.mark.parametrize(
    ("share", "said"), [(1.0, "> 99 %"), (0.0, "< 1 %"), (0.934, "93 %"), (0.9899, "99 %"), (None, "–")]
)
def test_no_page_says_certain_or_impossible(share, said):
    assert percent(share) == said


def test_stages_in_words():
    assert stage_text("smear_field: reading") == "Smear fields: reading"
    assert stage_text("") == "Starting"
