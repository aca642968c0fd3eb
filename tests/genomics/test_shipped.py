"""The bundles that are shipped: whole, described, and as good on the training data as they say."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from genomics import __main__ as cli
from genomics.expression.build import label_leaves
from genomics.expression.data import load_raw
from genomics.expression.genes import load_genes
from genomics.expression.heads import load_heads
from genomics.expression.model import predict
from ml.bundle import load_bundle
from ml.diagnosis_tree import load_tree
from tests.genomics.make import SHARED, bundle

FIGURES = {"accuracy", "balanced_accuracy", "f1_macro", "auc_macro", "log_loss", "brier", "ece"}
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the training data folder (shared/data) is not here")


@pytest.mark.parametrize("name", ["expression", "labs"])
class TestBundle:
    def test_it_loads_and_its_labels_mean_leaves_of_the_tree(self, name):
        loaded = load_bundle(bundle(name).path)
        assert set().union(*loaded.leaves.values()) <= set(load_tree().leaves)
        assert sum(loaded.training_share.values()) == pytest.approx(1, abs=1e-6)

    def test_its_card_has_what_its_manifest_says(self, name):
        manifest, card = bundle(name).manifest, bundle(name).file("card.md").read_text("utf-8")
        assert "research use" in card
        assert all(limit in card for limit in manifest["limits"])
        assert all(source["name"] in card for source in manifest["data"])
        reports = {key: said for key, said in manifest["metrics"].items() if "figures" in said}
        assert reports
        for key, said in reports.items():
            assert set(said["figures"]) == FIGURES, key
            for figure in said["figures"].values():
                assert figure["low"] <= figure["value"] <= figure["high"] or figure["value"] < 0.1
            accuracy = said["figures"]["accuracy"]["value"]
            assert f"accuracy {accuracy:.3f}" in card
            assert np.array(said["confusion"]).sum() == said["n"]
        assert bundle(name).manifest["baselines"]
        assert f"python -m genomics train {name}" in card


def test_held_out_figures_beat_their_baselines():
    metrics, baselines = bundle("expression").manifest["metrics"], bundle("expression").manifest["baselines"]
    subtypes = metrics["ALL subtypes, 13 classes"]["figures"]["accuracy"]
    assert subtypes["low"] > baselines["b_all"]["nearest_centroid_accuracy"]
    aml = metrics["AML genetic subtypes, 7 classes"]["figures"]["accuracy"]
    assert aml["low"] > baselines["aml"]["nearest_centroid_accuracy"]
    labs = bundle("labs").manifest
    of = {split: labs["metrics"][split]["figures"]["accuracy"]["low"] for split in ("5-fold", "other centre")}
    assert all(low > labs["baselines"][f"majority, {split}"]["accuracy"] for split, low in of.items())
    assert of["other centre"] > labs["baselines"]["logistic regression, other centre"]["accuracy"]


def test_every_leaf_of_all_and_aml_is_meant_by_one_label():
    meant = [leaf for leaves in label_leaves().values() for leaf in leaves]
    tree = load_tree()
    assert len(meant) == len(set(meant))
    assert set(tree.leaves_under("all")) | set(tree.leaves_under("aml")) <= set(meant)


def test_the_heads_know_the_gene_table():
    panels = load_genes().panels
    for head in load_heads(bundle("expression")).values():
        assert head.genes in panels.values()
        assert head.weight.shape == (len(head.classes), len(head.genes))
        assert np.isfinite(head.weight).all()


@needs_data
class TestOnTheTrainingData:
    def test_labs_as_they_were_sent(self, capsys):
        source = SHARED / "labs" / "acute_leukemia_labs_two_centres.csv"
        cli.main(["predict", "labs", str(source), "--json"])
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        truth = pd.read_csv(source)["Response"]
        assert len(said) > 670
        right = [answer["label"] == truth[int(answer["id"]) - 1] for answer in said if answer["label"]]
        assert np.mean(right) > 0.85  # seen in training; held out it is less, see the card
        assert sum(answer["label"] is None for answer in said) < 0.05 * len(said)

    def test_raw_counts_of_another_laboratory(self):
        table = load_raw(SHARED)
        assert (len(table.samples), set(table.scales)) == (65, {"counts"})
        findings = [predict(one, bundle("expression")) for one in table.each()[:20]]
        assert all(finding.in_scope > 0.5 for finding in findings)
        b_all = set(load_tree().leaves_under("b_all"))
        called = [set(bundle("expression").leaves[finding.label]) <= b_all for finding in findings]
        assert np.mean(called) > 0.8
