from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import conformal
from ml import evidence as ev
from ml.bundle import Bundle
from ml.diagnosis_tree import load_tree
from ml.findings import MODALITIES, Finding, QualityFlag
from ml.fusion import fuse

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

TREE = load_tree()
UNDER = TREE.leaves_under
OTHER_AML = tuple(leaf for leaf in UNDER("aml") if leaf != "apl")
REST = tuple(
    leaf for leaf in TREE.leaves if leaf not in {"b_all_etv6_runx1", "apl", *UNDER("t_all"), *UNDER("no_leukaemia")}
)
LEAVES = {
    "smear_field": {
        "haematogones": ("haematogones",),
        "Early Pre-B": UNDER("b_all"),
        "Pre-B": UNDER("b_all"),
        "Pro-B": UNDER("b_all"),
    },
    "smear_cell": {"APL": ("apl",), "AML": OTHER_AML},
    "labs": {"ALL": UNDER("all"), "AML": OTHER_AML, "APL": ("apl",)},
    "expression": {
        "Normal": UNDER("no_leukaemia"),
        "T-ALL": UNDER("t_all"),
        "ETV6::RUNX1": ("b_all_etv6_runx1",),
        "B-ALL other": tuple(leaf for leaf in REST if leaf.startswith("b_all")),
        "PML::RARA": ("apl",),
        "AML other": OTHER_AML,
    },
}
SHARES = {
    "smear_field": (0.16, 0.3, 0.3, 0.24),
    "smear_cell": (0.27, 0.73),
    "labs": (0.35, 0.58, 0.07),
    "expression": (0.12, 0.18, 0.1, 0.45, 0.05, 0.1),
}
RULES = {
    "name": "fusion",
    "version": "0.0.0",
    "labels": {},
    "tree_version": TREE.version,
    "weights": dict.fromkeys(MODALITIES, 1.0),
    "scope_cap": 0.99,
    "thresholds": {
        "level": {"otherwise": {"1": 0.75, "2": 0.75, "3": 0.7, "4": 0.7, "5": 0.7}},
        "in_scope": dict.fromkeys(MODALITIES, 0.1),
        "discordance": 2.0,
        "urgent_apl": {"otherwise": 0.1},
        "urgent_apl_own": 0.5,
        "maturation": 0.2,
        "rare_sibling": 0.1,
    },
    "conformal": {
        "promises": [
            {"coverage": 0.9, "by": {"otherwise": None}},
            {"coverage": 0.95, "by": {"otherwise": None}},
        ]
    },
    "next_test": {
        m: {
            "bundle": f"{m}@1.0.0",
            "leaves": leaves,
            "share": SHARES[m],
            "reads": (0.9 * np.eye(len(leaves)) + 0.1 * np.array(SHARES[m])).tolist(),
            "usable": 0.95,
        }
        for m, leaves in LEAVES.items()
    },
}
BUNDLE = Bundle(Path("nowhere"), "0" * 64, RULES)


def finding(modality, *p, in_scope=1.0, **more):
    labels = list(LEAVES[modality])
    p = np.array(p or SHARES[modality], dtype=float)
    probabilities = dict(zip(labels, (p / p.sum()).tolist(), strict=True))
    return Finding(
        modality=modality,
        bundle=f"{modality}@1.0.0",
        bundle_sha256="1" * 64,
        label=labels[int(p.argmax())],
        probabilities=probabilities,
        in_scope=in_scope,
        leaves=LEAVES[modality],
        training_share=dict(zip(labels, SHARES[modality], strict=True)),
        **more,
    )


def certain(modality, label, **more):
    return finding(modality, *[0.98 if said == label else 0.002 for said in LEAVES[modality]], **more)


def answer_of(*findings, **more):
    answer = fuse(findings, BUNDLE, **more).answer
    return answer and answer["node"]


def codes(assessment):
    return {reason["code"] for reason in assessment.reasons}


@st.composite
def findings(draw):
    chosen = draw(st.lists(st.sampled_from(MODALITIES), unique=True, max_size=4))
    return [
        finding(
            modality,
            *draw(st.lists(st.floats(0, 1), min_size=n, max_size=n).filter(lambda p: sum(p) > 1e-6)),
            in_scope=draw(st.floats(0, 1)),
        )
        for modality in chosen
        for n in [len(LEAVES[modality])]
    ]


@given(findings())
def test_whatever_is_missing_the_result_is_finite_adds_up_and_is_consistent(given_):
    said = fuse(given_, BUNDLE)
    p = said.probabilities
    assert all(0 <= x <= 1 + 1e-12 for x in p.values())
    assert sum(p[leaf] for leaf in TREE.leaves) == pytest.approx(1, abs=1e-9)
    for node in TREE.nodes:
        assert p[node] == pytest.approx(sum(p[leaf] for leaf in UNDER(node)), abs=1e-9)
    assert (said.status == "assessed") == (said.answer is not None)
    assert said.prediction_set
    if said.answer:
        path = TREE.path(said.answer["node"])
        assert len(path) > 1
        assert all(p[node] >= RULES["thresholds"]["level"]["otherwise"][str(TREE.depth(node))] for node in path[1:])
    else:
        assert codes(said)
    json.dumps(said.as_dict(), allow_nan=False)


@settings(max_examples=25)
@given(findings())
def test_order_changes_no_byte(given_):
    said = {json.dumps(fuse(order, BUNDLE).as_dict(), sort_keys=True) for order in permutations(given_)}
    assert len(said) == 1


@given(findings(), st.sampled_from(MODALITIES), st.booleans())
def test_who_says_nothing_changes_nothing(given_, modality, is_out_of_scope):
    given_ = [f for f in given_ if f.modality != modality]
    silent = certain(modality, next(iter(LEAVES[modality])), in_scope=0.0) if is_out_of_scope else finding(modality)
    without, with_ = fuse(given_, BUNDLE).probabilities, fuse([*given_, silent], BUNDLE).probabilities
    assert with_ == pytest.approx(without, abs=1e-9)


@given(findings(), st.sampled_from(MODALITIES), st.data())
def test_a_modality_moves_only_what_it_tells_apart(given_, modality, data):
    given_ = [f for f in given_ if f.modality != modality]
    n = len(LEAVES[modality])
    added = finding(modality, *data.draw(st.lists(st.floats(0.01, 1), min_size=n, max_size=n)))
    before, after = (fuse(fs, BUNDLE).probabilities for fs in (given_, [*given_, added]))
    kinds = {leaf: tuple(leaf in ids for ids in LEAVES[modality].values()) for leaf in TREE.leaves}
    by_kind = {kind: [leaf for leaf in TREE.leaves if kinds[leaf] == kind] for kind in kinds.values()}
    for alike in by_kind.values():
        for one, other in pairwise(alike):
            assert after[one] * before[other] == pytest.approx(after[other] * before[one], rel=1e-9, abs=1e-300)


@given(findings())
def test_shares_of_the_modalities_add_up_to_the_whole_change(given_):
    said = fuse(given_, BUNDLE)
    for node in list(TREE.nodes)[1:]:
        p, q = said.probabilities[node], said.prior[node]
        if min(p, 1 - p) > 1e-9:
            change = np.log(p / (1 - p)) - np.log(q / (1 - q))
            assert sum(shares[node] for shares in said.evidence.values()) == pytest.approx(change, abs=1e-6)


def test_evidence_is_the_formula():
    labs = finding("labs", 0.7, 0.2, 0.1, in_scope=0.8)
    reading = ev.read(labs, RULES)
    at = dict(zip(TREE.leaves, reading.evidence, strict=True))
    assert at["b_all_nos"] == at["t_all_etp"] == pytest.approx(np.log(0.8 * 0.7 / 0.35 + 0.2))
    assert at["aml_npm1"] == pytest.approx(np.log(0.8 * 0.2 / 0.58 + 0.2))
    assert at["apl"] == pytest.approx(np.log(0.8 * 0.1 / 0.07 + 0.2))
    assert at["mpal_nos"] == at["haematogones"] == 0


def test_labels_that_mean_the_same_leaves_are_summed():
    one, spread = certain("smear_field", "Pro-B"), finding("smear_field", 0.002, 0.3, 0.3, 0.384)
    assert fuse([one], BUNDLE).probabilities["aml"] < TREE.nodes["aml"].prior
    at_b_all = [ev.read(f, RULES).evidence[ev.columns("b_all")[0]] for f in (one, spread)]
    assert at_b_all == pytest.approx([np.log(0.99 * p / 0.84 + 0.01) for p in (0.984 / 0.986, 0.984 / 0.986)], abs=1e-4)


@pytest.mark.requirement("M-1")
@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([certain("expression", "ETV6::RUNX1")], "b_all_etv6_runx1"),
        ([certain("expression", "ETV6::RUNX1"), certain("labs", "ALL")], "b_all_etv6_runx1"),
        ([certain("expression", "PML::RARA"), certain("smear_cell", "APL")], "apl"),
        ([certain("expression", "Normal")], "no_leukaemia"),
        ([certain("expression", "T-ALL")], "t_all"),
        ([certain("expression", "B-ALL other"), certain("labs", "ALL")], "b_all"),
        ([certain("labs", "ALL")], "all"),
        ([certain("smear_field", "Pro-B")], "acute_leukaemia"),
        ([certain("smear_cell", "AML")], None),
        ([certain("smear_cell", "AML"), certain("labs", "AML")], "aml"),
        ([certain("smear_field", "haematogones")], None),
    ],
)
def test_the_answer_goes_as_deep_as_results_reach_and_no_deeper(given_, expected):
    assert answer_of(*given_) == expected


def test_a_prior_never_answers_what_no_result_tells_apart():
    sure_of_b = dict.fromkeys(TREE.leaves, 1e-6) | {"b_all_nos": 1.0}
    total = sum(sure_of_b.values())
    prior = {leaf: share / total for leaf, share in sure_of_b.items()}
    said = fuse([certain("labs", "ALL")], BUNDLE, prior=prior)
    assert said.probabilities["b_all_nos"] > 0.99
    assert said.answer["node"] == "all"
    assert "leukaemia_presumed" in codes(said)


def test_leukaemia_is_not_called_presumed_where_a_result_has_seen_its_absence():
    assert "leukaemia_presumed" not in codes(fuse([certain("expression", "T-ALL")], BUNDLE))


BLOCKED = QualityFlag("blurred", "The image is out of focus.", blocking=True)


@pytest.mark.requirement("M-1")
@pytest.mark.parametrize(
    ("given_", "code"),
    [
        ([], "no_modality"),
        ([replace(certain("smear_field", "Pro-B", in_scope=0.0), label=None, quality=(BLOCKED,))], "low_quality"),
        ([certain("smear_field", "Pro-B", in_scope=0.05)], "all_out_of_scope"),
        ([finding("labs", 0.3, 0.35, 0.35)], "no_node_passes"),
        ([certain("expression", "Normal"), certain("smear_field", "Pre-B")], "conflicting"),
    ],
)
def test_every_abstention_gives_its_reason(given_, code):
    said = fuse(given_, BUNDLE)
    assert said.status == "abstained"
    assert said.answer is None
    assert said.reasons[0]["code"] == code
    assert len(said.reasons[0]["message"]) > 20


def test_one_unusable_finding_is_named_and_the_rest_still_answers():
    blurred = replace(certain("smear_field", "Pro-B", in_scope=0.0), label=None, quality=(BLOCKED,))
    said = fuse([blurred, certain("expression", "T-ALL")], BUNDLE)
    assert said.used == ["expression"]
    assert said.answer["node"] == "t_all"
    left_out = next(r for r in said.reasons if r["code"] == "smear_field_low_quality")
    assert "out of focus" in left_out["message"]


@pytest.mark.requirement("M-3")
def test_contradiction_is_named_and_holds_the_answer_where_it_starts():
    said = fuse([certain("labs", "APL"), certain("expression", "T-ALL")], BUNDLE)
    (found,) = said.discordance
    assert found["modalities"] == ["expression", "labs"]
    assert found["node"] == "acute_leukaemia"
    assert found["strength"] > 2
    assert "ALL" in found["message"]
    assert said.answer is None or said.answer["node"] == "acute_leukaemia"
    assert said.without["labs"]["node"] == "t_all"


def test_a_contradiction_never_names_one_of_several_that_nobody_told_apart():
    (found,) = fuse([certain("labs", "AML"), certain("smear_cell", "APL")], BUNDLE).discordance
    assert found["node"] == "aml"
    assert "(APL) against Acute myeloid leukaemia (AML) other than Acute promyelocytic" in found["message"]


def test_agreement_is_no_contradiction():
    assert fuse([certain("labs", "ALL"), certain("expression", "T-ALL")], BUNDLE).discordance == []


@pytest.mark.requirement("M-2")
@pytest.mark.parametrize(
    ("given_", "alerts"),
    [
        ([certain("smear_cell", "APL")], True),
        ([finding("labs", 0.1, 0.6, 0.3)], True),
        ([certain("expression", "T-ALL")], False),
        ([certain("smear_field", "Pro-B")], False),
    ],
)
def test_apl_is_raised_where_it_is_seen_and_likely_enough(given_, alerts):
    said = fuse(given_, BUNDLE)
    assert [alert["code"] for alert in said.urgent] == ["apl_not_excluded"] * alerts
    if alerts:
        assert all(word in said.urgent[0]["message"] for word in ("PML::RARA", "FISH", "fibrinogen"))


@pytest.mark.requirement("M-2")
def test_that_nobody_looked_for_apl_is_said():
    assert "apl_not_assessed" in codes(fuse([certain("smear_field", "Pro-B")], BUNDLE))
    assert "apl_not_assessed" not in codes(fuse([certain("labs", "ALL")], BUNDLE))


def test_maturation_is_given_only_where_the_smear_says_b_all():
    stages = {"maturation": {"Early Pre-B": 0.1, "Pre-B": 0.2, "Pro-B": 0.7}}
    b_all = fuse([certain("smear_field", "Pro-B", explanation=stages)], BUNDLE)
    assert b_all.maturation == {"given": "b_all", "probabilities": stages["maturation"]}
    assert fuse([certain("smear_field", "haematogones", explanation=stages)], BUNDLE).maturation is None
    t_all = [certain("smear_field", "Pro-B", explanation=stages), certain("expression", "T-ALL")]
    assert fuse(t_all, BUNDLE).maturation is None


def test_a_modality_of_weight_zero_is_ignored():
    mute = Bundle(Path("nowhere"), "0" * 64, {**RULES, "weights": {**RULES["weights"], "labs": 0.0}})
    alone = fuse([certain("expression", "T-ALL")], mute)
    both = fuse([certain("expression", "T-ALL"), certain("labs", "APL")], mute)
    assert both.probabilities == alone.probabilities
    assert both.discordance == []
    assert fuse([certain("labs", "APL")], mute).probabilities == pytest.approx(alone.prior)


@given(findings(), st.floats(0.5, 0.999))
def test_prediction_set_is_the_smallest_cover_and_splits_nothing_that_nobody_told_apart(given_, mass):
    evidence = ev.total(ev.read(f, RULES) for f in given_)
    p = ev.posterior(np.array(list(TREE.prior.values())), evidence)
    held = conformal.credible(p, evidence, mass)
    nodes = conformal.cover(p, held)
    under = [leaf for node in nodes for leaf in UNDER(node)]
    assert sorted(under) == sorted(leaf for leaf, is_in in zip(TREE.leaves, held, strict=True) if is_in)
    assert p[held].sum() >= mass - 1e-9
    assert not set(evidence[held].round(9)) & set(evidence[~held].round(9))
    for node in TREE.nodes:
        children = TREE.children(node)
        assert not (children and set(children) <= set(nodes))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([], ["any"]),
        ([finding("labs")], ["any"]),
        ([certain("labs", "ALL")], ["all", "no_leukaemia", "mpal"]),
        ([certain("smear_field", "Pro-B")], ["acute_leukaemia", "no_leukaemia_other"]),
        ([certain("expression", "T-ALL"), certain("labs", "ALL")], ["t_all"]),
    ],
)
def test_prediction_set_keeps_what_nobody_has_looked_at(given_, expected):
    assert fuse(given_, BUNDLE).prediction_set == expected


@pytest.mark.parametrize(
    "wrong",
    [
        [finding("labs"), finding("labs")],
        [replace(finding("labs"), modality="history")],
        [replace(finding("labs"), probabilities={"ALL": float("nan"), "AML": 0.5, "APL": 0.5})],
        [replace(finding("labs"), training_share={"ALL": 0.0, "AML": 0.5, "APL": 0.5})],
        [replace(finding("labs"), leaves={"ALL": ("no_such_leaf",), "AML": ("apl",), "APL": ("apl",)})],
    ],
)
def test_findings_that_break_the_rules_are_our_bug(wrong):
    with pytest.raises(ValueError, match=r"\w{4}"):
        fuse(wrong, BUNDLE)


@pytest.mark.parametrize("prior", [{}, dict(TREE.prior, apl=0.0), dict(TREE.prior, apl=0.9)])
def test_a_prior_that_is_none_is_refused(prior):
    with pytest.raises(ValueError, match="prior"):
        fuse([finding("labs")], BUNDLE, prior=prior)


def test_a_site_prior_moves_the_result():
    tropical = dict(TREE.prior)
    tropical["apl"], tropical["aml_npm1"] = tropical["aml_npm1"], tropical["apl"]
    labs = [finding("labs", 0.1, 0.6, 0.3)]
    assert fuse(labs, BUNDLE, prior=tropical).probabilities["apl"] > fuse(labs, BUNDLE).probabilities["apl"]


def test_a_threshold_of_its_own_holds_for_its_combination_alone():
    strict = {**RULES["thresholds"]["level"], "labs": dict.fromkeys("12345", 0.99)}
    bundle = Bundle(Path("nowhere"), "0" * 64, {**RULES, "thresholds": {**RULES["thresholds"], "level": strict}})
    assert fuse([certain("labs", "ALL")], bundle).answer is None
    assert fuse([certain("labs", "ALL"), certain("expression", "T-ALL")], bundle).answer["node"] == "t_all"


def test_a_bundle_for_another_tree_is_refused():
    with pytest.raises(ValueError, match=r"tree 0\.0\.1"):
        fuse([], Bundle(Path("nowhere"), "0" * 64, {**RULES, "tree_version": "0.0.1"}))
