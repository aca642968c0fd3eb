"""How deep an expression finding answers, what it shows of its markers, and where it places the case."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from genomics import expression
from genomics.expression import maps
from genomics.expression.answer import ANSWERED, PARENT_SURE, UNCLASSIFIED, answer, node_probabilities, place_of
from genomics.expression.explain import markers
from genomics.expression.genes import load_genes
from genomics.expression.heads import listen, load_heads
from ml.diagnosis_tree import load_tree
from tests.genomics.make import bundle, counts
from tests.genomics.test_models import sample

LEAVES = bundle("expression").leaves


def shares(**more):
    """Probabilities of all labels: those named, the rest spread evenly over the others."""
    named = {label.replace("_", " "): p for label, p in more.items()}
    rest = [label for label in LEAVES if label not in named]
    return {**dict.fromkeys(rest, (1 - sum(named.values())) / len(rest)), **named}


def said(p, **more):
    return answer(p, LEAVES, {"otherwise": 0.9}, **more)


class TestAnswer:
    def test_a_sure_label_is_the_answer(self):
        one = said(dict.fromkeys(LEAVES, 0.0) | {"DUX4-r": 1.0})
        assert (one["status"], one["label"], one["node"]) == (ANSWERED, "DUX4-r", "b_all_dux4")
        assert [step["node"] for step in one["path"]] == ["b_all", "b_all_dux4"]
        assert all(step["sure"] for step in one["path"])

    def test_where_two_siblings_share_it_their_group_is_the_answer(self):
        p = dict.fromkeys(LEAVES, 0.0) | {"BCR::ABL1": 0.5, "BCR::ABL1-like": 0.46, "DUX4-r": 0.04}
        one = said(p)
        assert (one["status"], one["node"], one["label"]) == (PARENT_SURE, "b_all_ph", None)
        assert one["probability"] == pytest.approx(0.96)
        assert "50%" in one["why"]

    def test_where_the_subtypes_share_it_the_lineage_is_the_answer(self):
        p = dict.fromkeys(LEAVES, 0.0) | {"BCR::ABL1": 0.3, "DUX4-r": 0.4, "iAMP21": 0.3}
        assert (said(p)["status"], said(p)["node"]) == (PARENT_SURE, "b_all")

    def test_a_lineage_that_is_not_sure_is_no_answer(self):
        p = dict.fromkeys(LEAVES, 0.0) | {"T-ALL": 0.6, "NPM1": 0.4}
        assert (said(p)["status"], said(p)["node"], said(p)["probability"]) == (UNCLASSIFIED, None, None)
        assert "60%" in said(p)["why"]

    def test_out_of_scope_there_is_none_and_of_an_unknown_class_the_lineage_alone(self):
        p = dict.fromkeys(LEAVES, 0.0) | {"DUX4-r": 1.0}
        assert said(p, in_scope=False)["status"] == UNCLASSIFIED
        unknown = said(p, known=False)
        assert (unknown["status"], unknown["node"]) == (PARENT_SURE, "b_all")
        assert "like no subtype" in unknown["why"]

    def test_a_remainder_is_named_by_its_label_below_its_lineage(self):
        one = said(dict.fromkeys(LEAVES, 0.0) | {"B-ALL other": 0.95, "DUX4-r": 0.05})
        assert [(step["node"], step["name"]) for step in one["path"]][1] == ("b_all", "B-ALL other")
        assert one["path"][0]["probability"] == pytest.approx(1.0)
        assert (one["status"], one["label"]) == (ANSWERED, "B-ALL other")

    def test_a_threshold_is_of_its_own_node(self):
        p = dict.fromkeys(LEAVES, 0.0) | {"DUX4-r": 0.95, "T-ALL": 0.05}
        strict = answer(p, LEAVES, {"otherwise": 0.9, "DUX4-r": 0.97})
        assert (strict["status"], strict["node"]) == (PARENT_SURE, "b_all")
        assert strict["path"][-1]["needed"] == 0.97

    def test_nodes_have_the_probability_of_what_lies_wholly_under_them(self):
        p = shares()
        of = node_probabilities(p, LEAVES)
        assert of["any"] == pytest.approx(1.0)
        assert of["b_all_ph"] == pytest.approx(p["BCR::ABL1"] + p["BCR::ABL1-like"])
        places = place_of(LEAVES)
        assert places["B-ALL other"] == "b_all"
        assert all(leaf in load_tree().leaves_under(places[label]) for label, ids in LEAVES.items() for leaf in ids)


class TestExplanation:
    def test_markers_are_cited_and_of_the_panels(self):
        symbols = set(load_genes().symbols)
        for symbol, row in markers().items():
            assert symbol in symbols
            assert row["note"]
            assert "doi:10." in row["source"] or re.search(r"\d+:e?\d+", row["source"])

    def test_a_finding_shows_its_markers_and_an_answer(self):
        symbol, values = load_genes().symbol, counts("T-ALL")
        moved = {gene: max(values.values()) if symbol(gene) == "CD3D" else value for gene, value in values.items()}
        moved = {gene: 0.0 if symbol(gene) == "CD19" else value for gene, value in moved.items()}
        explained = expression.predict(sample(moved), bundle("expression")).explanation
        level = {marker["symbol"]: marker["level"] for marker in explained["markers"]}
        assert level["CD3D"] == "high"
        assert level["CD19"] == "low"
        assert explained["answer"]["path"][0]["node"] == "t_all"

    def test_a_missing_gene_moves_the_case_nowhere(self):
        rng = np.random.default_rng(0)
        one = maps.fit_map(rng.random((20, 8)), np.repeat(["a", "b"], 10), seed=0)
        assert one.place(np.full(8, np.nan)) == pytest.approx([0, 0])
        ranks = np.append(one.mean[:7], np.nan)
        assert one.place(ranks) == pytest.approx([0, 0])

    def test_maps_keep_no_order_of_the_files_and_a_bundle_without_them_has_none(self):
        rng = np.random.default_rng(0)
        ranks, label = rng.random((30, 5)), np.repeat(["a", "b", "c"], 10)
        one = maps.fit_map(ranks, label, seed=0)
        placed = one.place(ranks)
        assert not np.allclose(one.points, placed)
        assert np.sort(one.points[:, 0]) == pytest.approx(np.sort(placed[:, 0]))
        assert sum(one.spread) <= 1 + 1e-9

    def test_the_case_is_placed_among_its_cohort_for_each_step_that_speaks(self):
        heads = load_heads(bundle("expression"))
        says = {role: listen(head, sample(counts("NPM1"))) for role, head in heads.items()}
        rng, made = np.random.default_rng(0), {}
        for role in ("lineage", "aml"):
            made[role] = maps.fit_map(rng.random((20, len(heads[role].genes))), np.repeat(["a", "b"], 10), seed=0)
        placed = maps.place_case(made, says, ["lineage", "aml"])
        assert [one["head"] for one in placed] == ["lineage", "aml"]
        assert [len(points) for points in placed[0]["cohort"].values()] == [10, 10]
        assert (placed[0]["x"], placed[0]["y"]) == pytest.approx(made["lineage"].place(says["lineage"].ranks), abs=0.01)
        silent = says | {"aml": dataclasses.replace(says["aml"], overlap=0.1)}
        assert [one["head"] for one in maps.place_case(made, silent, ["lineage", "aml"])] == ["lineage"]


def test_the_shipped_bundle_has_maps_thresholds_and_the_whole_profile():
    shipped = bundle("expression")
    for label, lineage in (("NPM1", "AML"), ("DUX4-r", "B-ALL"), ("Normal", "Normal")):
        explained = expression.predict(sample(counts(label)), shipped).explanation
        one = explained["maps"][0]
        named = {name: points for name, points in one["cohort"].items() if "corrected" not in name}
        middles = {name: np.median(points, axis=0) for name, points in named.items()}
        away = {name: np.hypot(*(middle - (one["x"], one["y"]))) for name, middle in middles.items()}
        assert min(away, key=away.get) == lineage
        path = explained["answer"]["path"]
        assert [step["needed"] for step in path] == [
            shipped.manifest["thresholds"]["answer"].get(s["label"] or s["node"]) for s in path
        ]
    assert shipped.manifest["unknown"]["mean"] > 0.9
    held_out = shipped.manifest["metrics"]["lineage, Cohort7_8 held out"]
    assert held_out["called_AML"] == 0
    assert held_out["called_B-ALL_in_scope"] < 0.1 * held_out["n"]
