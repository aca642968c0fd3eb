"""Beside the answer: contradictions by label, the APL alert, steps that add up, and where figures are from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import rfc8785
from hypothesis import given

from ml.diagnosis_tree import load_tree
from ml.fusion import first_alert, fuse
from tests.ml.test_fusion import BUNDLE, LEAVES, certain, codes, finding, findings

TREE = load_tree()


def labs_apl(p=0.92):
    """Labs that read APL, and hold ALL likelier than other AML: as a group, AML gains little by it."""
    return finding("labs", 1 - p - 0.01, 0.01, p)


def test_labels_contradict_where_their_groups_hardly_do():
    said = fuse([labs_apl(), certain("expression", "T-ALL")], BUNDLE)
    (found,) = said.discordance
    assert found["node"] == "acute_leukaemia"
    assert {side["modality"]: side["leaves"] for side in found["sides"]} == {
        "expression": ["t_all_etp", "t_all_nos"],
        "labs": ["apl"],
    }
    assert np.exp(found["strength"]) == pytest.approx(min(side["odds"] for side in found["sides"]))
    assert said.answer is None or said.answer["node"] == "acute_leukaemia"
    assert [alert["code"] for alert in said.urgent] == ["apl_not_excluded"]
    assert "apl" in said.prediction_set


def test_the_strongest_contradiction_comes_first():
    given_ = [certain("expression", "T-ALL"), certain("labs", "APL"), finding("smear_cell", 0.2, 0.8)]
    strengths = [found["strength"] for found in fuse(given_, BUNDLE).discordance]
    assert strengths
    assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("labs", "AML"), ("expression", "AML other")),
        (("labs", "ALL"), ("expression", "ETV6::RUNX1")),
        (("smear_field", "Pro-B"), ("expression", "B-ALL other")),
        (("smear_field", "Pro-B"), ("smear_cell", "APL")),
    ],
    ids=["the same", "one within the other", "stages of the same", "neither sees the other's"],
)
def test_what_is_contained_or_unseen_is_no_contradiction(one, other):
    assert fuse([certain(*one), certain(*other)], BUNDLE).discordance == []


def test_a_finding_that_reads_apl_keeps_the_alert_up_against_a_stronger_one():
    said = fuse(
        [labs_apl(), finding("expression", *[0.9999 if name == "T-ALL" else 1e-5 for name in LEAVES["expression"]])],
        BUNDLE,
    )
    (alert,) = said.urgent
    assert said.probabilities["apl"] < alert["threshold"]
    assert alert["contradicted"]
    assert alert["raised_by"] == ["labs"]
    assert any("PML::RARA" in test for test in alert["excluded_by"])
    assert "stands although" in alert["message"]


def test_the_alert_is_there_with_the_first_finding_and_is_the_same_as_in_the_assessment():
    first = first_alert([labs_apl()], BUNDLE)
    assert first == fuse([labs_apl()], BUNDLE).as_dict()["urgent"]
    assert first[0]["code"] == "apl_not_excluded"
    assert first_alert([certain("expression", "T-ALL")], BUNDLE) == []
    assert first_alert([], BUNDLE) == []


@given(findings())
def test_steps_lead_from_the_prior_to_the_posterior_and_name_their_finding(given_):
    said = fuse(given_, BUNDLE)
    for candidate in said.waterfall:
        p, q, steps = candidate["probability"], candidate["prior"], candidate["steps"]
        assert [step["modality"] for step in steps] == said.used
        assert all(one["to"] == pytest.approx(other["from"]) for one, other in pairwise(steps))
        if steps and min(p, 1 - p) > 1e-9:
            assert steps[0]["from"] == pytest.approx(np.log(q / (1 - q)))
            assert steps[-1]["to"] == pytest.approx(np.log(p / (1 - p)), abs=1e-6)
        assert all(step["bundle_sha256"] == "1" * 64 and step["finding_sha256"] for step in steps)


@given(findings())
def test_without_a_modality_it_is_what_the_others_say(given_):
    said = fuse(given_, BUNDLE)
    for modality, other in said.counterfactual.items():
        rest = fuse([f for f in given_ if f.modality != modality], BUNDLE)
        assert other["answer"] == rest.answer
        assert other["prediction_set"] == rest.prediction_set
        assert other["changes_answer"] == (
            (rest.answer and rest.answer["node"]) != (said.answer and said.answer["node"])
        )
        if said.answer:
            assert other["probability_of_answer"] == pytest.approx(rest.probabilities[said.answer["node"]])


def test_every_figure_is_traceable_to_a_finding_and_a_bundle():
    given_ = [certain("expression", "T-ALL"), certain("labs", "ALL")]
    said = fuse(given_, BUNDLE)
    for one in given_:
        stored = json.loads(json.dumps(one.as_dict()))
        assert said.trace[one.modality]["finding_sha256"] == hashlib.sha256(rfc8785.dumps(stored)).hexdigest()
        assert said.trace[one.modality]["bundle_sha256"] == one.bundle_sha256
    assert said.versions["fusion"].endswith(BUNDLE.sha256)
    assert said.inputs_sha256 != fuse(given_[:1], BUNDLE).inputs_sha256


BYTES = """
import hashlib, json
from tests.ml.test_fusion import BUNDLE, LEAVES, certain, finding
from ml.fusion import fuse
given = [certain("expression", "ETV6::RUNX1"), finding("labs", 0.7, 0.2, 0.1, in_scope=0.83), finding("smear_field")]
print(hashlib.sha256(json.dumps(fuse(given, BUNDLE).as_dict(), sort_keys=True).encode()).hexdigest())
"""


def test_the_same_inputs_and_bundles_give_the_same_bytes_in_any_process():
    said = {
        subprocess.run(
            [sys.executable, "-c", BYTES],
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, threads in (("0", "1"), ("1", "2"))
    }
    assert len(said) == 1
    assert len(said.pop().strip()) == 64


def test_reasons_carry_the_numbers_that_decided():
    said = fuse([certain("smear_field", "Pro-B", in_scope=0.05), finding("labs", 0.3, 0.35, 0.35)], BUNDLE)
    by_code = {reason["code"]: reason for reason in said.reasons}
    assert by_code["smear_field_out_of_scope"]["value"] == 0.05
    assert by_code["smear_field_out_of_scope"]["threshold"] == 0.1
    stopped = by_code["no_node_passes"]
    assert stopped["node"] == "aml"
    assert stopped["value"] < stopped["threshold"] == 0.75
    assert codes(said) >= {"no_node_passes"}


def test_what_nobody_can_see_is_named():
    blind = {entry["node"] for entry in fuse([certain("labs", "ALL")], BUNDLE).not_assessed}
    assert blind == {"no_leukaemia", "mpal"}
    assert {entry["node"] for entry in fuse([], BUNDLE).not_assessed} == {"any"}
