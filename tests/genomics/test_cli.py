"""``python -m genomics`` as another program uses it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from genomics import __main__ as cli
from genomics.synthetic import write_expression, write_labs
from tests.genomics.make import PANEL, bundle, counts, table, wide, write

KEYS = {"id", "label", "probabilities", "in_scope", "quality", "reasons"}


def run(capsys, *words):
    """(exit status, answers, stderr) of a command with --json."""
    status = cli.main([*map(str, words), "--json"])
    said = capsys.readouterr()
    return status, [json.loads(line) for line in said.out.splitlines()], said.err


@pytest.fixture
def samples(tmp_path):
    of = {"S1": counts(), "S2": counts(seed=2) | {"ENSG00000000938": "n.d."}, "S3": counts("T-ALL", 3)}
    return write(tmp_path / "counts.tsv", table(of))


@pytest.fixture
def panels(tmp_path):
    rows = [{"id": f"p{k}", **PANEL, "WBC [10*9/L]": wbc} for k, wbc in enumerate((30, 99_999, 8))]
    return write(tmp_path / "labs.csv", wide(*rows))


class TestPredict:
    def test_one_json_line_for_each_sample_and_a_bad_one_is_refused_alone(self, samples, capsys):
        status, answers, error = run(capsys, "predict", "expression", samples)
        assert status == 2
        assert [answer["id"] for answer in answers] == ["S1", "S3"]
        assert [answer["label"] for answer in answers] == ["ETV6::RUNX1", "T-ALL"]
        assert all(set(answer) == KEYS for answer in answers)
        assert len(error.splitlines()) == 1
        assert all(word in error for word in ("counts.tsv, line", "ENSG00000000938", "'S2'", "n.d."))

    def test_one_sample_of_many(self, samples, capsys):
        status, (answer,), error = run(capsys, "predict", "expression", samples, "--sample", "S3", "--scale", "counts")
        assert (status, answer["id"], answer["label"], error) == (0, "S3", "T-ALL", "")

    def test_panels(self, panels, capsys):
        status, answers, error = run(capsys, "predict", "labs", panels)
        assert status == 2
        assert [answer["id"] for answer in answers] == ["p0", "p2"]
        assert all(set(answer) == KEYS for answer in answers)
        assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)
        assert "line 3, column 'WBC [10*9/L]'" in error
        assert run(capsys, "predict", "labs", panels, "--sample", "p2")[0] == 0

    def test_out_of_scope_there_is_no_label(self, tmp_path, capsys):
        healthy = {"WBC [10*9/L]": 6, "Platelets [10*9/L]": 250, "LDH [U/L]": 180, "Age": 40, "Fibrinogen [g/L]": 3}
        status, (answer,), _ = run(capsys, "predict", "labs", write(tmp_path / "a.csv", wide(healthy)))
        assert (status, answer["label"]) == (0, None)
        assert answer["in_scope"] < 0.1
        assert answer["reasons"]

    def test_without_json_it_is_for_people(self, panels, capsys):
        assert cli.main(["predict", "labs", str(panels), "--sample", "p0"]) == 0
        assert "in scope" in capsys.readouterr().out

    def test_several_files(self, samples, tmp_path, capsys):
        other = write_expression(tmp_path / "other.tsv", "NPM1", 5)
        status, answers, error = run(capsys, "predict", "expression", tmp_path / "gone.tsv", other)
        assert (status, [answer["label"] for answer in answers]) == (2, ["NPM1"])
        assert "gone.tsv" in error


@pytest.mark.parametrize("modality", ["expression", "labs"])
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda folder: folder / "gone.csv", "no such file"),
        (lambda folder: folder, "folder"),
        (lambda folder: write(folder / "a.csv", bytes(range(256)) * 8), "a.csv"),
        (lambda folder: write(folder / "a.csv", ""), "no table"),
        (lambda folder: write(folder / "a.csv", "PK\x03\x04"), "Excel"),
        (lambda folder: write(folder / "a.csv", b"\x1f\x8b\x08\x00rest"), "gzip"),
    ],
)
def test_what_cannot_be_read_exits_with_two_and_a_sentence(tmp_path, capsys, modality, make, word):
    status, answers, error = run(capsys, "predict", modality, make(tmp_path))
    assert (status, answers) == (2, [])
    assert len(error.splitlines()) == 1
    assert word in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["predict", "labs", "x.csv", "--version", "0.0.9"], "No bundle"),
        (["predict", "labs", "x.csv", "--scale", "tpm"], "no scale"),
        (["evaluate", "labs", "--data", "nowhere.csv"], "nowhere.csv"),
        (["evaluate", "expression", "--data", "."], "no data that is known"),
        (["train", "labs", "--data", "nowhere", "--out", "nowhere"], "Check --data"),
        (["train", "expression", "--data", "nowhere", "--out", "nowhere"], "Check --data"),
    ],
)
def test_bad_words_exit_with_two_and_a_sentence(words, sentence, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("few_rounds")
class TestEvaluate:
    def test_panels_labelled_in_their_own_file(self, tmp_path, capsys):
        rows = []
        for label in ("ALL", "AML", "APL"):
            for seed in (1, 2, 3):
                frame = pd.read_csv(write_labs(tmp_path / "one.csv", label, seed), comment="#")
                values = {f"{r.code} [{r.unit}]": r.value for r in frame.itertuples()}
                rows.append({"Response": label, **values})
        source = tmp_path / "set.csv"
        pd.DataFrame(rows).to_csv(source, index=False)
        status, (said,), _ = run(capsys, "evaluate", "labs", "--data", source)
        assert status == 0
        assert (said["n"], said["refused"], said["unlabelled"]) == (9, [], 0)
        assert said["figures"]["accuracy"]["value"] == 1
        assert np.array(said["confusion"]).sum(axis=1).tolist() == [3, 3, 3]
        assert {"balanced_accuracy", "f1_macro", "auc_macro", "log_loss", "brier", "ece"} <= set(said["figures"])
        assert said["trained_on"]
        assert said["note"]
        assert 0 <= said["withheld"] <= 9
        assert 0.5 < said["median_in_scope"] <= 1

    def test_labels_beside_and_refused_panels(self, panels, tmp_path, capsys):
        labels = write(tmp_path / "labels.csv", "sample,label\np0,ALL\np1,AML\np2,\n")
        status, (said,), error = run(capsys, "evaluate", "labs", "--data", panels, "--labels", labels)
        assert (status, said["n"], said["unlabelled"]) == (0, 1, 1)
        assert [fault["code"] for fault in said["refused"]] == ["implausible_value"]
        assert "line 3" in error

    def test_samples_by_label_and_by_lineage(self, tmp_path, capsys):
        of = {"S-1": counts(), "S2": counts("T-ALL", 2), "S3": counts("DUX4-r", 3), "S4": counts("Normal", 4)}
        data = write(tmp_path / "counts.tsv", table(of))
        labels = write(
            tmp_path / "l.csv", "sample,y,lineage\nS.1,ETV6::RUNX1,B-ALL\nS2,T-ALL,\nS3,,B-ALL\nS9,iAMP21,\n"
        )
        status, (said,), _ = run(capsys, "evaluate", "expression", "--data", data, "--labels", labels)
        assert (status, said["level"], said["n"], said["unlabelled"]) == (0, "label", 2, 1)
        assert said["figures"]["accuracy"]["value"] == 1
        assert (said["lineage"]["n"], said["lineage"]["figures"]["accuracy"]["value"]) == (3, 1)
        assert said["lineage"]["labels"] == ["B-ALL", "T-ALL", "AML", "Normal"]

    def test_lineages_alone_and_without_json(self, tmp_path, capsys):
        data = write(tmp_path / "counts.tsv", table({"S1": counts(), "S2": counts("DUX4-r", 3)}))
        labels = write(tmp_path / "l.csv", "sample,label\nS1,B-ALL\nS2,B-ALL\n")
        words = ("evaluate", "expression", "--data", data, "--labels", labels)
        status, (said,), _ = run(capsys, *words)
        assert (status, said["level"], said["n"]) == (0, "lineage", 2)
        assert said["figures"]["auc_macro"]["value"] is None
        assert cli.main([str(word) for word in words]) == 0
        assert "accuracy\t1.000" in capsys.readouterr().out

    def test_the_names_of_the_tcga_table(self, tmp_path, capsys):
        of = {"T1": counts("CEBPA"), "T2": counts("AML other", 2), "T3": counts("KMT2A-r AML", 3)}
        data = write(tmp_path / "counts.tsv", table(of))
        labels = write(tmp_path / "l.csv", "sample,who\nT1,CEBPA (bZIP/biallelic)\nT2,MR/complex\nT3,KMT2A-r\n")
        status, (said,), _ = run(capsys, "evaluate", "expression", "--data", data, "--labels", labels)
        assert (status, said["n"], said["figures"]["accuracy"]["value"]) == (0, 3, 1)
        of_class = {label: row["n"] for label, row in said["per_class"].items() if row["n"]}
        assert of_class == {"CEBPA": 1, "AML other": 1, "KMT2A-r AML": 1}

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("sample,label\nS1,Leukaemia\n", "The labels are"),
            ("sample,colour\nS1,red\n", "no column of labels"),
            ("sample,label\nX,T-ALL\n", "No sample has a label"),
        ],
    )
    def test_labels_that_are_none(self, tmp_path, capsys, text, word):
        data = write(tmp_path / "counts.tsv", table({"S1": counts()}))
        labels = write(tmp_path / "labels.csv", text)
        status, answers, error = run(capsys, "evaluate", "expression", "--data", data, "--labels", labels)
        assert (status, answers) == (2, [])
        assert word in error
        if "Leukaemia" in text:
            assert "labels.csv, line 2, column 'label'" in error
            assert all(label in error for label in bundle("expression").labels)
