"""A site's own threshold for blasts, from cells known to be normal."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

from ml import site_threshold, synthetic
from ml.__main__ import main
from ml.bundle import find_bundle, load_bundle
from ml.findings import InputRejected

HOME = {"threshold": float(expit(0.0)), "normal_mean": -2.0, "normal_sd": 1.0}
RNG = np.random.default_rng(2)


def site_cells(shift, n=40):
    return expit(RNG.normal(-2 + shift, 1, n))


@pytest.mark.parametrize("shift", [-3.0, -1.0, 1.0, 3.0])
def test_the_threshold_goes_with_the_sites_normal_cells(shift):
    moved = site_threshold.log_odds(site_threshold.learn(site_cells(shift), HOME))
    assert moved == pytest.approx(0.8 * shift, abs=0.6)


def test_a_site_like_home_keeps_the_threshold():
    assert site_threshold.learn(site_cells(0.0, 400), HOME) == pytest.approx(0.5, abs=0.06)


def test_it_mends_what_a_shift_breaks():
    normal, blast = expit(RNG.normal(-4.5, 1, 400)), expit(RNG.normal(-0.5, 1, 400))  # both 2.5 lower than at home
    threshold = site_threshold.learn(normal[:30], HOME)
    accuracy = {cut: ((blast >= cut).mean() + (normal[30:] < cut).mean()) / 2 for cut in (0.5, threshold)}
    assert accuracy[0.5] < 0.75
    assert accuracy[threshold] > 0.9


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("normal")
    for k in range(24):
        Image.fromarray(synthetic.draw_cell("Lymphocyte", k)).save(folder / f"{k}.png")
    return sorted(folder.iterdir())


def test_the_command_writes_what_predict_reads(cells, tmp_path, capsys):
    out = tmp_path / "site.json"
    assert main(["site", "--bundle", "smear-cell", "--out", str(out), *map(str, cells)]) == 0
    said = json.loads(out.read_text())
    assert said["cells"] <= len(cells)
    capsys.readouterr()
    assert main(["predict", "--bundle", "smear-cell", "--json", "--site", str(out), str(cells[0])]) == 0
    blast = json.loads(capsys.readouterr().out)["blast"]
    assert blast["threshold"] == said["threshold"]
    assert blast["called"] == (blast["probability"] >= said["threshold"])


def test_too_few_cells_are_refused(cells, tmp_path, capsys):
    out = tmp_path / "site.json"
    assert main(["site", "--bundle", "smear-cell", "--out", str(out), *map(str, cells[:3])]) == 2
    assert "at least 20" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bundle_sha256": "x", "threshold": 0.5, "home": 0.5, "cells": 30}'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "site.json"
    path.write_text(text)
    with pytest.raises(InputRejected):
        site_threshold.read(path, load_bundle(find_bundle("smear-cell")))


def test_fields_have_no_blasts():
    with pytest.raises(InputRejected):
        site_threshold.home_of(load_bundle(find_bundle("smear-field")))
