"""Leukaemic against normal on public layouts: the threshold that is used, and what a site's own cells add."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from ml import blast_evaluation, datasets, synthetic
from ml.__main__ import main
from ml.blast_evaluation import evaluate_blasts
from ml.bundle import find_bundle, load_bundle
from ml.datasets import ImageSet
from ml.findings import InputRejected
from ml.site_threshold import home_of

CELL = load_bundle(find_bundle("smear-cell"))
RNG = np.random.default_rng(3)


def image_set(layout, labels, y, groups=None):
    names = np.array(groups if groups is not None else range(len(y)), dtype=str)
    return ImageSet("set", layout, tuple(range(len(y))), labels, np.array(y), names, "image")


def asked(monkeypatch, p, layout="c-nmc", truth=None):
    """The report where the bundle says ``p`` of normal cells, then of as many leukaemic ones."""
    half = len(p) // 2
    monkeypatch.setattr(blast_evaluation, "_of_cells", lambda *_: np.array(p, float))
    monkeypatch.setattr(blast_evaluation, "_of_fields", lambda *_: np.array(p, float))
    y = truth if truth is not None else [0] * half + [1] * half
    return evaluate_blasts(CELL, image_set(layout, ("normal", "ALL"), y))


def test_the_home_threshold_decides(monkeypatch):
    home = home_of(CELL)["threshold"]
    said = asked(monkeypatch, [home - 0.01] * 5 + [home + 0.01] * 5)
    assert said["threshold"] == home
    assert said["confusion"] == [[5, 0], [0, 5]]
    assert "site_balanced_accuracy" not in said


def test_fields_have_their_own_threshold_and_those_without_cells_are_counted(monkeypatch):
    of_field = home_of(CELL)["of_field"]
    said = asked(monkeypatch, [0.0, np.nan, 1.0, 1.0], "all-idb1")
    assert said["threshold"] == of_field
    assert (said["n"], said["without_cells"]) == (3, 1)


def test_a_laboratory_whose_cells_all_score_high_is_helped_by_its_own_threshold(monkeypatch):
    normal, leukaemic = RNG.uniform(0.75, 0.9, 60), RNG.uniform(0.995, 0.9999, 60)
    said = asked(monkeypatch, [*normal, *leukaemic])
    home = said["figures"]["balanced_accuracy"]["value"]
    assert home == pytest.approx(0.5, abs=0.05)
    assert said["site_balanced_accuracy"]["value"] > home + 0.2
    assert said["figures"]["auc_macro"]["value"] == pytest.approx(1)


def test_a_set_without_a_single_cell_is_refused(monkeypatch):
    with pytest.raises(InputRejected, match="No white cell"):
        asked(monkeypatch, [np.nan] * 4, "all-idb1")


def test_every_layout_says_what_is_leukaemic():
    assert set(blast_evaluation.LEUKAEMIC) == set(datasets.LAYOUTS)


def test_the_command_reads_a_public_layout(tmp_path, capsys):
    (tmp_path / "img").mkdir()
    for k in range(6):
        kind = "Blast" if k % 2 else "Lymphocyte"
        Image.fromarray(synthetic.draw_cell(kind, k)).save(tmp_path / "img" / f"Im00{k + 1}_{k % 2}.tif")
    words = ["evaluate", "--bundle", "smear-cell", "--layout", "all-idb2", "--data", str(tmp_path), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n"] == 6
    assert said["labels"] == ["normal", "leukaemic"]
    assert np.sum(said["confusion"]) == 6
