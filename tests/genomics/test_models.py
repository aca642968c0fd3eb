"""What the two models say: calibrated, explained exactly, and silent out of scope."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import softmax

from genomics import expression, labs
from genomics.expression.genes import load_genes
from genomics.expression.heads import HeadSays, compose, contributions, listen, load_heads
from genomics.expression.joint import judge
from genomics.expression.reader import ExpressionTable
from genomics.labs.features import BASE, CLASSES, FEATURES, features, with_ratios
from genomics.labs.model import load_members
from genomics.labs.reader import LabPanels
from genomics.synthetic import write_labs
from ml.findings import InputRejected
from tests.genomics.make import bundle, counts, read_labs

ADULT = {"age": 40.0, "wbc": 30.0, "platelets": 40.0, "ldh": 700.0, "fibrinogen": 3.0, "anc_percent": 10.0, "mcv": 92.0}
HEALTHY = {
    "age": 40.0,
    "wbc": 6.5,
    "platelets": 250.0,
    "ldh": 180.0,
    "fibrinogen": 2.8,
    "mcv": 90.0,
    "mchc": 335.0,
    "anc": 4.0,
    "lymphocytes": 1.9,
    "monocytes": 0.5,
    "pt_percent": 98.0,
}


def sample(values, scale="counts"):
    return ExpressionTable(("S",), tuple(values), np.array([list(values.values())], dtype=float), (scale,))


def panel(**values):
    return LabPanels(("1",), (values,))


def of_labs(**values):
    return labs.predict(panel(**values), bundle("labs"))


class TestExpression:
    def test_probabilities_of_all_labels_sum_to_one(self):
        finding = expression.predict(sample(counts()), bundle("expression"))
        assert set(finding.probabilities) == set(bundle("expression").labels) == set(finding.leaves)
        assert sum(finding.probabilities.values()) == pytest.approx(1, abs=1e-12)
        assert finding.label == max(finding.probabilities, key=finding.probabilities.get)

    def test_the_temperature_of_the_bundle_is_applied(self):
        for role, head in load_heads(bundle("expression")).items():
            assert head.temperature == bundle("expression").manifest["calibration"]["temperature"][role]
            said = listen(head, sample(counts()))
            if said.speaks:
                logits = head.weight @ np.nan_to_num(said.ranks - head.mean) + head.bias
                assert said.p == pytest.approx(softmax(logits / head.temperature))
                hotter = listen(dataclasses.replace(head, temperature=3 * head.temperature), sample(counts()))
                assert hotter.p.max() < said.p.max()

    def test_shuffled_genes_are_out_of_scope_and_get_no_label(self):
        rng, scores = np.random.default_rng(0), []
        for share in (0.0, 0.5, 1.0):
            values = counts()
            moved = [gene for gene in values if rng.random() < share]
            shuffled = dict(zip(moved, (values[gene] for gene in rng.permutation(moved)), strict=True))
            finding = expression.predict(sample(values | shuffled), bundle("expression"))
            scores.append(finding.in_scope)
        assert scores[0] > 0.9 > scores[1] > scores[2]
        assert scores[2] < 0.01
        assert finding.label is None
        assert "unlike" in finding.reasons[0]

    @pytest.mark.parametrize("label", ["ETV6::RUNX1", "PML::RARA", "T-ALL"])
    def test_the_genes_add_up_to_the_log_odds(self, label):
        said = expression.predict(sample(counts(label)), bundle("expression")).explanation
        judged = judge(sample(counts(label)), bundle("expression")).says
        assert said["steps"][0]["head"] == "lineage"
        for step in said["steps"]:
            parts = sum(gene["contribution"] for gene in step["genes"])
            assert parts + step["other_genes"] + step["intercept"] == pytest.approx(step["log_odds"], abs=1e-9)
            p = dict(zip(judged[step["head"]].head.classes, judged[step["head"]].p, strict=True))
            assert np.log(p[step["answer"]] / p[step["against"]]) == pytest.approx(step["log_odds"], abs=1e-9)

    def test_depth_and_unit_change_nothing(self):
        usual = expression.predict(sample(counts()), bundle("expression")).probabilities
        deeper = {gene: 7 * value for gene, value in counts().items()}
        assert expression.predict(sample(deeper), bundle("expression")).probabilities == pytest.approx(usual, abs=1e-9)

    def test_a_table_without_the_subtype_genes_is_judged_by_lineage_alone(self):
        lineage = load_heads(bundle("expression"))["lineage"].genes
        few = {gene: value for gene, value in counts("PML::RARA").items() if gene in set(lineage)}
        finding = expression.predict(sample(few), bundle("expression"))
        heads = load_heads(bundle("expression"))
        aml = {name: finding.probabilities[name] for name in heads["aml"].classes}
        assert sum(aml.values()) > 0.9
        shares = np.array(heads["aml"].share)
        assert list(aml.values()) == pytest.approx(shares * sum(aml.values()) / shares.sum(), abs=1e-6)
        assert "subtype_not_judged" in [flag.code for flag in finding.quality]

    def test_antigens_that_contradict_are_named(self):
        values = counts("ETV6::RUNX1")
        position = {load_genes().symbol(gene): gene for gene in values}
        top = max(values.values())
        swapped = {position[s]: top for s in ("CD2", "CD3D", "CD3E", "CD3G", "LCK") if s in position}
        swapped |= {position[s]: 0.0 for s in ("CD19", "CD22", "CD79A", "CD79B", "PAX5") if s in position}
        finding = expression.predict(sample(values | swapped), bundle("expression"))
        assert any("antigens" in sentence for sentence in finding.reasons)

    def test_composition_is_the_product_along_the_way(self):
        heads = load_heads(bundle("expression"))
        p = {role: np.full((1, len(head.classes)), 1 / len(head.classes)) for role, head in heads.items()}
        labels, joint = compose(p, {role: head.classes for role, head in heads.items()})
        assert joint.sum() == pytest.approx(1)
        expected = 0.5 / len(heads["kind"].classes) / len(heads["b_all"].classes)
        assert joint[0, labels.index("ETV6::RUNX1")] == pytest.approx(expected)

    def test_absent_genes_contribute_nothing(self):
        head = load_heads(bundle("expression"))["lineage"]
        ranks = np.full(len(head.genes), np.nan)
        each, intercept = contributions(
            HeadSays(head, np.array([0.5, 0.5]), 1.0, 0.0, ranks, np.zeros(2), np.zeros(2)), 1, 0
        )
        assert not each.any()
        assert intercept == pytest.approx((head.bias[1] - head.bias[0]) / head.temperature)


class TestLabs:
    @pytest.mark.parametrize("label", CLASSES)
    def test_contributions_add_up_to_the_calibrated_log_odds(self, tmp_path, label):
        _, read = read_labs(write_labs(tmp_path / "a.csv", label, 1), tmp_path)
        finding = labs.predict(read, bundle("labs"))
        said, p = finding.explanation, finding.probabilities
        parts = sum(row["contribution"] for row in said["labs"]) + said["intercept"]
        assert parts == pytest.approx(said["log_odds"], abs=1e-9)
        assert np.log(p[said["answer"]] / p[said["against"]]) == pytest.approx(said["log_odds"], abs=1e-6)
        assert sum(p.values()) == pytest.approx(1, abs=1e-12)
        assert len(said["labs"]) == len(FEATURES)

    @pytest.mark.parametrize(("values", "which"), [(HEALTHY | ADULT, "full"), (ADULT, "sparse")])
    def test_the_model_fits_how_much_is_there_and_is_calibrated(self, values, which):
        finding = of_labs(**values)
        assert finding.explanation["model"] == which
        temperature = bundle("labs").manifest["calibration"]["temperature"][which]
        members = load_members(bundle("labs"), which)
        X = features(values)[None]
        of_trees = members.trees.predict(with_ratios(X), raw_score=True)[0]
        of_line = members.line.margins(X)[0]
        margins = (of_trees - of_trees.mean() + of_line - of_line.mean()) / 2
        assert list(finding.probabilities.values()) == pytest.approx(softmax(margins / temperature))

    def test_missing_values_are_missing_and_counts_follow_from_shares(self):
        X = features({"wbc": 20.0, "anc_percent": 10.0, "ldh": 400.0})[None]
        row = dict(zip(FEATURES, with_ratios(X)[0], strict=True))
        assert row["anc"] == pytest.approx(2.0)
        assert row["ldh_per_wbc"] == pytest.approx(400 / 21)
        assert np.isnan([row[key] for key in BASE if key not in ("wbc", "anc", "anc_percent", "ldh")]).all()
        shown = {part["analyte"]: part["value"] for part in of_labs(**ADULT).explanation["labs"]}
        assert shown["monocytes"] is None
        assert shown["wbc"] == 30.0

    def test_a_missing_value_adds_nothing_to_the_line(self):
        parts = load_members(bundle("labs"), "sparse").line.parts(features(ADULT)[None])[0]
        assert not parts[:, FEATURES.index("monocytes")].any()
        assert parts[:, FEATURES.index("wbc")].any()

    def test_where_the_answer_hangs_on_a_questioned_value_there_is_none(self):
        low = HEALTHY | {"wbc": 2.0, "anc": 0.3, "lymphocytes": 0.6, "monocytes": 0.02, "fibrinogen": 0.25}
        hung = []
        for platelets in (20.0, 60.0, 150.0):
            for mchc in (320.0, 340.0, 365.0):
                values = low | {"platelets": platelets, "mchc": mchc}
                usual = of_labs(**values).probabilities
                without = of_labs(**{k: v for k, v in values.items() if k != "fibrinogen"}).probabilities
                asked = dataclasses.replace(panel(**values), questioned=(("fibrinogen",),))
                said = labs.predict(asked, bundle("labs"))
                hung.append(any("hangs on values in question (Fibrinogen)" in reason for reason in said.reasons))
                assert hung[-1] == (max(usual, key=usual.get) != max(without, key=without.get))
                assert said.label is None or not hung[-1]
        assert any(hung)

    def test_where_too_little_is_certain_there_is_no_answer(self):
        few = {"age": 40.0, "wbc": 30.0, "platelets": 40.0, "ldh": 700.0}
        asked = dataclasses.replace(panel(**few), questioned=(("ldh",),))
        finding = labs.predict(asked, bundle("labs"))
        assert finding.label is None
        assert any("too little is left" in reason for reason in finding.reasons)

    def test_below_the_cut_off_it_is_a_hint_and_says_so(self):
        needed = bundle("labs").manifest["thresholds"]["cut_off"]["sparse"]
        for wbc in (0.5, 5.0, 30.0, 200.0):
            finding = of_labs(**(ADULT | {"wbc": wbc}))
            below = max(finding.probabilities.values()) < needed
            assert [flag.code for flag in finding.quality] == (["below_cut_off"] if below else [])

    def test_too_little_to_judge_is_refused(self):
        with pytest.raises(InputRejected, match="white cells"):
            of_labs(age=40.0, platelets=30.0, ldh=500.0, fibrinogen=2.0)
        with pytest.raises(InputRejected, match="2 panels"):
            labs.predict(LabPanels(("1", "2"), (ADULT, ADULT)), bundle("labs"))

    @pytest.mark.parametrize(
        ("values", "low", "high", "word"),
        [
            (ADULT, 0.9, 1.0, None),
            ({k: v for k, v in ADULT.items() if k != "age"}, 0.6, 0.8, "age is missing"),
            (ADULT | {"age": 6.0}, 0.0, 0.2, "children"),
            (HEALTHY, 0.0, 0.05, "healthy"),
            (HEALTHY | {"ldh": 300.0}, 0.0, 0.3, "healthy"),
            (ADULT | {"wbc": 0.1, "anc": 900.0}, 0.0, 0.1, "unlike any"),
        ],
    )
    def test_scope(self, values, low, high, word):
        finding = of_labs(**values)
        assert low <= finding.in_scope <= high
        assert (finding.label is None) == (finding.in_scope < 0.5)
        assert word is None if not finding.reasons else word in " ".join(finding.reasons)
