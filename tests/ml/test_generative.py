"""The autoencoder and the GAN on tiny drawn cells: what they learn, keep, resume and refuse."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from ml import autoencoder, gan, generative, generative_cards
from ml.findings import InputRejected
from ml.generative import Images
from ml.generative_training import Squares

SIDE = 16
TINY = {"side": SIDE, "batch": 8, "width": 8, "save_every": 5}
CONFIGS = Path(generative.__file__).parent / "configs"


def discs(n, seed=0):
    """Violet discs on white, large (class 0) and small (class 1): (n, 16, 16, 3), and their classes."""
    rng, y = np.random.default_rng(seed), np.arange(n) % 2
    away = np.hypot(*(np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2))
    radius = np.where(y == 0, 6.5, 3.0) + rng.uniform(-0.4, 0.4, n)
    inside = (away[None] < radius[:, None, None])[..., None]
    x = np.where(inside, np.array([110, 70, 170]), 250) + rng.integers(-4, 5, (n, SIDE, SIDE, 3))
    return x.astype(np.uint8), y


def dark(images):
    return (images.mean(axis=3) < 180).mean(axis=(1, 2))


@pytest.fixture(scope="module")
def remaker(tmp_path_factory):
    x, _ = discs(64)
    out = tmp_path_factory.mktemp("autoencoder")
    path = autoencoder.fit_autoencoder(x, TINY | {"steps": 120, "code": 8, "rate": 5e-3}, out, seed=1)
    return autoencoder.load_autoencoder(path)


def test_what_is_unlike_the_training_images_is_remade_worse(remaker):
    known, _ = discs(20, seed=9)
    stripes = np.where(np.arange(SIDE) % 4 < 2, 255, 0).astype(np.uint8)[None, :, None, None]
    strange = np.broadcast_to(stripes, (6, SIDE, SIDE, 3))
    usual, unusual = (autoencoder.reconstruction_error(remaker, x) for x in (known, np.ascontiguousarray(strange)))
    assert usual.shape == (20,)
    assert usual.max() < 0.5 * unusual.min()


def test_a_code_is_short_and_an_image_alone_has_the_same_as_in_a_batch(remaker):
    x, _ = discs(5, seed=4)
    together = autoencoder.codes(remaker, x)
    assert together.shape == (5, 8)
    np.testing.assert_allclose(autoencoder.codes(remaker, x[2:3])[0], together[2], atol=1e-5)


@pytest.fixture(scope="module")
def drawer(tmp_path_factory):
    x, y = discs(64)
    config = TINY | {"steps": 120, "warm_steps": 120, "noise": 8, "warm_rate": 1e-2}
    return gan.load_generator(gan.fit_gan(x, y, ("large", "small"), config, tmp_path_factory.mktemp("gan")))


def test_a_class_is_drawn_as_it_is(drawer):
    large, small = (gan.sample(drawer, label, 12, seed=3) for label in ("large", "small"))
    assert large.shape == (12, SIDE, SIDE, 3)
    assert large.dtype == np.uint8
    assert np.median(dark(large)) > 1.5 * np.median(dark(small))


def test_the_same_seed_draws_the_same_cells_and_another_others(drawer):
    one, again, other = (gan.sample(drawer, "small", 4, seed=seed) for seed in (5, 5, 6))
    assert (one == again).all()
    assert (one != other).any()
    assert len(np.unique(one.reshape(4, -1), axis=0)) == 4


def test_an_unknown_class_is_not_drawn(drawer):
    with pytest.raises(KeyError, match="huge"):
        gan.sample(drawer, "huge", 1, seed=0)


def weights(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("name", ["gan", "autoencoder"])
def test_a_training_that_was_interrupted_ends_as_one_that_was_not(tmp_path, name):
    x, y = discs(32)
    images = Images(Squares(x, y, ("large", "small")), np.arange(32) // 4)
    whole = generative.fit(name, images, TINY | {"steps": 12}, tmp_path / "whole", seed=3)
    generative.fit(name, images, TINY | {"steps": 7}, tmp_path / "parts", seed=3)
    resumed = generative.fit(name, images, TINY | {"steps": 12}, tmp_path / "parts", seed=3, resume=True)
    other = generative.fit(name, images, TINY | {"steps": 12}, tmp_path / "other", seed=4)
    whole, resumed, other = (weights(path) for path in (whole, resumed, other))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert any(not torch.equal(whole[key], other[key]) for key in whole)


@pytest.mark.parametrize("name", ["gan", "autoencoder"])
def test_what_a_training_leaves_behind(tmp_path, name):
    x, y = discs(40)
    images = Images(Squares(x, y, ("large", "small")), np.arange(40) // 4)
    path = generative.fit(name, images, TINY | {"steps": 3, "held_out": 0.2}, tmp_path, seed=2)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["steps_done"] == 3
    assert sum(record["images"].values()) == 32
    assert all(tensor.dtype != torch.float32 for tensor in weights(path).values())
    card = (tmp_path / "card.md").read_text()
    assert "research use" in card
    assert "held out" in card
    assert not (tmp_path / "checkpoint.pt.part").exists()


def test_resuming_with_other_settings_is_refused(tmp_path):
    x, y = discs(16)
    gan.fit_gan(x, y, ("large", "small"), TINY | {"steps": 1}, tmp_path)
    with pytest.raises(InputRejected) as refusal:
        gan.fit_gan(x, y, ("large", "small"), TINY | {"steps": 2, "noise": 7}, tmp_path, resume=True)
    assert refusal.value.code == "other_settings"


REFUSED = {
    "unknown setting": ({"stepz": 3}, "bad_config"),
    "wrong type": ({"steps": "many"}, "bad_config"),
    "not positive": ({"steps": -1}, "bad_config"),
    "a side that cannot be halved": ({"side": 50}, "bad_config"),
    "squares of another side": ({"side": 32}, "wrong_shape"),
    "a file too large": ({"width": 512}, "bad_config"),
    "an empty class": ({"groups": {"blast": ["Blast"]}}, "empty_class"),
    "too few images": ({"groups": {"some": ["rare"]}}, "too_few_images"),
}


@pytest.mark.parametrize(("config", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused(tmp_path, config, code):
    x, y = discs(12)
    y[:3] = 2
    images = Images(Squares(x, y, ("large", "small", "rare")), np.arange(12))
    with pytest.raises(InputRejected) as refusal:
        generative.fit("gan", images, TINY | {"steps": 1} | config, tmp_path)
    assert refusal.value.code == code


def test_an_unknown_network_is_refused(tmp_path):
    with pytest.raises(InputRejected) as refusal:
        generative.fit("diffusion", Images(Squares(*discs(8), ("a", "b")), np.arange(8)), {}, tmp_path)
    assert refusal.value.code == "unknown_model"


def test_groups_join_classes_and_leave_out_the_rest():
    x, y = discs(12)
    y[:4] = 2
    images = Images(Squares(x, y, ("large", "small", "artefact")), np.arange(12))
    joined = generative.grouped(images, {"cell": ["large", "small", "absent"]})
    assert joined.squares.labels == ("cell",)
    assert joined.squares.y.tolist() == [0] * 8
    assert joined.groups.tolist() == list(range(4, 12))


def test_who_is_held_out_is_held_out_whole():
    groups = np.repeat([f"P{k}" for k in range(20)], 5)
    away = generative.held_out(groups, 0.15, seed=1)
    assert len(set(groups[away])) == 3
    assert not set(groups[away]) & set(groups[~away])
    assert not generative.held_out(groups, 0, seed=1).any()


def test_a_turned_copy_is_found_and_a_stranger_is_not():
    x, _ = discs(12)
    x[:, :5, :3] = 90  # so that its position shows
    copy = np.rot90(x[3][:, ::-1], 3)[None]
    assert generative_cards.nearest(np.ascontiguousarray(copy), x)[0] < 0.01
    assert generative_cards.nearest(np.zeros_like(copy), x)[0] > 50


@pytest.mark.parametrize("name", ["gan", "autoencoder"])
def test_the_configuration_that_is_shipped_is_accepted(tmp_path, name):
    config = tomllib.loads((CONFIGS / f"{name}.toml").read_text("utf-8"))
    config |= {"steps": 1, "batch": 2, "side": SIDE, "groups": {}}
    x, y = discs(32)
    assert generative.fit(name, Images(Squares(x, y, ("a", "b")), np.arange(32)), config, tmp_path).is_file()
