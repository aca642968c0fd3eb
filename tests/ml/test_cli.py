"""``python -m ml`` as another program uses it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ml import synthetic
from ml.__main__ import main

KEYS = {"id", "label", "probabilities", "in_scope", "quality", "reasons"}


@pytest.fixture
def field(tmp_path):
    return str(synthetic.write_field(tmp_path / "field.png", "Pre-B", 1))


def lines(capsys):
    said = capsys.readouterr()
    return [json.loads(line) for line in said.out.splitlines()], said.err


def test_one_json_line_for_each_image(field, tmp_path, capsys):
    other = str(synthetic.write_field(tmp_path / "other.png", "Pro-B", 2))
    assert main(["predict", "--bundle", "smear-field", field, other, "--json"]) == 0
    answers, error = lines(capsys)
    assert [answer["id"] for answer in answers] == [field, other]
    assert all(set(answer) == KEYS for answer in answers)
    assert error == ""


def test_a_refused_image_does_not_silence_the_others(field, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    assert main(["predict", "--bundle", "smear-field", str(broken), field, str(tmp_path / "gone.png"), "--json"]) == 2
    answers, error = lines(capsys)
    assert [answer["id"] for answer in answers] == [field]
    said = error.splitlines()
    assert len(said) == 2
    assert "broken.png" in said[0]
    assert "Send PNG" in said[0]
    assert "gone.png" in said[1]


def test_cells_are_named_and_a_case_is_one_answer(tmp_path, capsys):
    cells = [str(synthetic.write_cell(tmp_path / f"{k}.png", "Blast", k)) for k in range(3)]
    assert main(["predict", "--bundle", "smear-cell", *cells, "--json"]) == 0
    answers, _ = lines(capsys)
    assert [len(answer["probabilities"]) for answer in answers] == [18, 18, 18]
    assert main(["predict", "--bundle", "smear-cell", "--case", *cells, "--json"]) == 0
    (case,), _ = lines(capsys)
    assert set(case["probabilities"]) == {"APL", "AML"}
    assert len(case["explanation"]["cells"]) == 3


def test_without_json_it_is_for_people(field, capsys):
    assert main(["predict", "--bundle", "smear-field", field]) == 0
    assert "in scope" in capsys.readouterr().out


def test_fields_are_evaluated_by_their_folders(tmp_path, capsys):
    kinds = {"Benign": "haematogones", "early": "Early Pre-B", "Pre-B": "Pre-B", "PRO": "Pro-B"}
    for folder, kind in kinds.items():
        (tmp_path / folder).mkdir()
        synthetic.write_case(tmp_path / folder, kind, 3, 1)
    assert main(["evaluate", "--bundle", "smear-field", "--data", str(tmp_path), "--json"]) == 0
    (said,), _ = lines(capsys)
    assert said["n"] == 12
    assert np.array(said["confusion"]).sum(axis=1).tolist() == [3, 3, 3, 3]
    assert {"accuracy", "balanced_accuracy", "f1_macro", "auc_macro", "ece"} <= set(said["figures"])
    assert said["trained_on"]
    assert 0 <= said["withheld"] <= 12


def test_cells_are_evaluated_singly_and_by_patient(tmp_path, capsys):
    rows = []
    kinds = {"Blast": "Blast, no lineage spec", "Lymphocyte": "Lymphocyte"}
    for patient, diagnosis in (("A", "AML"), ("B", "APL"), ("C", "AML")):
        for kind, name in kinds.items():
            Image.fromarray(synthetic.draw_cell(kind, len(rows))).save(tmp_path / f"{len(rows)}.png")
            rows.append((f"{len(rows)}.png", patient, diagnosis, name))
    pd.DataFrame(rows, columns=["file", "patient", "diagnosis", "cell_class"]).to_csv(
        tmp_path / "cells.csv", index=False
    )
    assert main(["evaluate", "--bundle", "smear-cell", "--data", str(tmp_path), "--json"]) == 0
    (said,), _ = lines(capsys)
    assert (said["n"], said["cases"]["n"]) == (6, 3)
    assert 0 <= said["blast_or_promyelocyte_auc"] <= 1
    assert said["apl_auc_per_patient"] in {0.0, 0.5, 1.0}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluate", "--bundle", "smear-field", "--data", "nowhere"], "Name the folders"),
        (["evaluate", "--bundle", "smear-cell", "--data", "nowhere"], "Name the folder"),
        (["predict", "--bundle", "smear-field", "--version", "0.0.9", "x.png"], "No bundle"),
    ],
)
def test_bad_input_exits_with_two_and_a_sentence(words, sentence, capsys):
    assert main(words) == 2
    assert sentence in capsys.readouterr().err
