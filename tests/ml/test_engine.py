"""A network as OpenVINO runs it: torch's answers, kept and checked, and torch where that is not possible."""

from __future__ import annotations

import json
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from ml import engine
from ml.bundle import find_bundle, load_bundle
from ml.engine import FACTS, NETWORK, WEIGHTS, Plan, engine_of, features
from ml.networks import embed, load_trunk

RNG = np.random.default_rng(11)
PLAN = Plan(side=32, precisions=("f32",))
IMAGES = RNG.integers(0, 255, (5, 32, 32, 3)).astype(np.uint8)


class Small(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU())

    def forward(self, x):
        return self.layers(x).mean(dim=(2, 3))


@pytest.fixture(autouse=True)
def fresh():
    """As in a process that has built no engine yet."""
    engine._ENGINES.clear()
    yield
    engine._ENGINES.clear()
    engine.keep_in(None)


@pytest.fixture
def small(monkeypatch):
    """A network that is checked on noise: drawing smears takes longer than all the rest."""
    monkeypatch.setattr(engine, "drawn", lambda side: IMAGES)
    return Small().eval()


def forget():
    engine._ENGINES.clear()


def forbid_conversion(monkeypatch):
    def converted(module, side):
        raise RuntimeError("no operator for this")

    monkeypatch.setattr(engine, "converted", converted)


@pytest.mark.parametrize(("n", "turns"), [(1, 1), (5, 4), (33, 2)])
def test_features_are_those_of_torch(small, n, turns):
    images = np.resize(IMAGES, (n, 32, 32, 3))
    made = engine_of(small, "a", plan=PLAN)
    assert made.describe()["runtime"] == "openvino"
    got = features(made, images, turns)
    assert (got.shape, got.dtype) == ((n, 6), np.float32)
    assert np.allclose(got, embed(small, images, turns=turns), atol=1e-5)


def test_floats_are_taken_as_they_are(small):
    floats = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2) / np.float32(255))
    made = engine_of(small, "a", plan=PLAN)
    assert np.allclose(features(made, floats, 4), features(made, IMAGES, 4), atol=1e-5)


def test_no_images_have_no_features(small):
    assert features(engine_of(small, "a", plan=PLAN), IMAGES[:0]).shape == (0, 6)


def test_it_is_built_once_and_several_threads_may_ask(small):
    made = engine_of(small, "a", plan=PLAN)
    assert engine_of(small, "a", plan=PLAN) is made
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: features(made, IMAGES), range(8)))
    assert all(np.allclose(answer, answers[0], atol=1e-6) for answer in answers)


def test_an_export_is_kept_and_used_again(small, tmp_path, monkeypatch):
    first = features(engine_of(small, "a", tmp_path, PLAN), IMAGES)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted((NETWORK, WEIGHTS, FACTS))
    said = json.loads((tmp_path / "a" / FACTS).read_text("utf-8"))
    assert {"openvino", "torch", "precision", "files"} <= set(said)
    forget()
    forbid_conversion(monkeypatch)
    again = engine_of(small, "a", tmp_path, PLAN)
    assert again.describe()["runtime"] == "openvino"
    assert np.array_equal(features(again, IMAGES), first)


@pytest.mark.parametrize(("name", "harm"), [(NETWORK, "cut"), (WEIGHTS, "cut"), (WEIGHTS, "gone"), (FACTS, "other")])
def test_a_damaged_export_is_made_again(small, tmp_path, monkeypatch, name, harm):
    first = features(engine_of(small, "a", tmp_path, PLAN), IMAGES)
    path = tmp_path / "a" / name
    whole = path.read_bytes()
    path.unlink() if harm == "gone" else path.write_bytes({"cut": whole[:-9], "other": b"[]"}[harm])
    forget()
    assert np.array_equal(features(engine_of(small, "a", tmp_path, PLAN), IMAGES), first)
    forget()
    forbid_conversion(monkeypatch)
    assert engine_of(small, "a", tmp_path, PLAN).by_openvino


def test_an_export_of_another_version_is_made_again(small, tmp_path):
    engine_of(small, "a", tmp_path, PLAN)
    path = tmp_path / "a" / FACTS
    said = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(said | {"openvino": "2020.1"}), "utf-8")
    forget()
    engine_of(small, "a", tmp_path, PLAN)
    assert json.loads(path.read_text("utf-8"))["openvino"] == said["openvino"]


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(small, tmp_path, caplog):
    (tmp_path / "a").write_text("in the way", "utf-8")
    with caplog.at_level(logging.WARNING):
        made = engine_of(small, "a", tmp_path, PLAN)
    assert made.describe()["runtime"] == "openvino"
    assert "could not be kept" in caplog.text


def by_torch(made, small):
    assert made.describe()["runtime"] == "torch"
    assert np.allclose(features(made, IMAGES), embed(small, IMAGES), atol=1e-6)
    return made.describe()["reason"]


def test_without_openvino_torch_runs_it_and_says_so_once(small, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with caplog.at_level(logging.WARNING):
        reason = by_torch(engine_of(small, "a", plan=PLAN), small)
        engine_of(small, "a", plan=PLAN)
    assert "not installed" in reason
    assert len(caplog.records) == 1


def test_what_cannot_be_converted_is_run_by_torch(small, tmp_path, monkeypatch):
    forbid_conversion(monkeypatch)
    assert "no operator" in by_torch(engine_of(small, "a", tmp_path, PLAN), small)
    assert not (tmp_path / "a").exists()


def test_what_answers_otherwise_than_torch_is_run_by_torch(small, monkeypatch):
    other = engine.converted(Small(seed=1).eval(), 32)
    monkeypatch.setattr(engine, "converted", lambda module, side: other)
    assert "moves the features" in by_torch(engine_of(small, "a", plan=PLAN), small)


def test_a_precision_outside_the_tolerance_is_left_for_the_next(small, monkeypatch):
    tried = []

    def run(self, images):
        tried.append(self.precision)
        wrong = 1.1 if self.precision == "bf16" else 1.0
        return np.asarray(embed(small, images) * np.float32(wrong))

    monkeypatch.setattr(engine.Engine, "run", run)
    made = engine_of(small, "a", plan=Plan(side=32, precisions=("bf16", "f32")))
    assert tried == ["bf16", "f32"]
    assert made.precision == "f32"
    assert made.difference < 1e-5


def test_after_a_fork_torch_runs_it(small, monkeypatch):
    before = engine_of(small, "a", plan=PLAN)
    features(before, IMAGES)
    parent = os.getpid()
    monkeypatch.setattr(engine.os, "getpid", lambda: parent + 1)
    assert "forked" in by_torch(before, small)
    assert "forked" in by_torch(engine_of(small, "a", plan=PLAN), small)


def test_nothing_is_reported_to_its_makers():
    engine.openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_embed_uses_the_export_only_where_there_is_a_place_for_it(small, tmp_path):
    assert np.allclose(engine.embed(small, "a", IMAGES, 2), embed(small, IMAGES, turns=2))
    assert not engine._ENGINES
    engine.keep_in(tmp_path)
    assert engine.distance(embed(small, IMAGES, turns=2), engine.embed(small, "a", IMAGES, 2)) <= engine.TOLERANCE
    assert (tmp_path / "a" / FACTS).is_file()


def test_the_check_counts_changed_labels(small):
    made = engine_of(small, "a", plan=PLAN)
    same = engine.check(made, small, IMAGES)
    assert same["n"] == len(IMAGES)
    assert same["probability"] < 1e-5
    assert same["changed"] == 0
    pick = torch.roll(torch.arange(6), 1)
    turned = nn.Sequential(small, Rolled(pick)).eval()
    other = engine.check(made, turned, IMAGES)
    assert other["probability"] > 1e-3
    assert other["changed"] == len(IMAGES)


class Rolled(nn.Module):
    def __init__(self, pick):
        super().__init__()
        self.pick = pick

    def forward(self, x):
        return x[:, self.pick]


def test_a_shipped_bundle_is_exported(tmp_path):
    bundle = load_bundle(find_bundle("smear-field"))
    said = engine.export_bundle(bundle, tmp_path)
    assert said["runtime"] == "openvino"
    assert said["difference"] <= engine.TOLERANCE
    trunk, side = load_trunk(bundle.file(engine.TRUNK)), int(bundle.manifest["preprocessing"]["side"])
    images = RNG.integers(0, 255, (3, side, side, 3)).astype(np.uint8)
    engine.keep_in(tmp_path)
    reference = embed(trunk, images)
    assert engine.distance(reference, engine.embed(trunk, bundle.sha256, images)) <= engine.TOLERANCE


def test_a_bundle_without_images_has_no_export(tmp_path):
    assert engine.export_bundle(load_bundle(find_bundle("labs")), tmp_path) is None
