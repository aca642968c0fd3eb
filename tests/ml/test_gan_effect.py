"""The comparison with and without drawn cells: same folds, equal classes, and a verdict that the figures bear out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import gan_effect
from ml.generative import Images
from ml.generative_training import Squares
from ml.networks import Trunk

LABELS = ("blast", "promyelocyte", "lymphocyte")


@pytest.fixture(scope="module")
def images():
    """72 plain squares of 12 patients; the class is their shade."""
    rng, y = np.random.default_rng(0), np.arange(72) % 6 % 4 % 3
    x = np.full((72, 16, 16, 3), 60, np.uint8) + (60 * y)[:, None, None, None].astype(np.uint8)
    x += rng.integers(0, 20, x.shape, dtype=np.uint8)
    return Images(Squares(x, y, LABELS), np.repeat([f"P{k:02d}" for k in range(12)], 6))


@pytest.fixture(scope="module")
def measured(images):
    with pytest.MonkeyPatch.context() as few:
        few.setattr(gan_effect, "ROUNDS", 20)
        few.setattr(gan_effect, "SEEN_AT", 32)
        return measure(images)


def measure(images):
    torch.manual_seed(0)
    config = {"side": 16, "batch": 4, "width": 8, "steps": 3, "warm_steps": 2}
    return gan_effect.measure(images, config, Trunk().eval(), folds=2)


def test_every_arm_is_measured_beside_the_real_one(measured):
    assert tuple(measured["figures"]) == gan_effect.ARMS
    assert tuple(measured["differences"]) == gan_effect.ARMS[1:]
    for of_arm in measured["figures"].values():
        for name in gan_effect.FIGURES:
            assert 0 <= of_arm[name]["low"] <= of_arm[name]["value"] <= of_arm[name]["high"] <= 1
    real, ours = (measured["figures"][arm][gan_effect.FIGURES[2]]["value"] for arm in gan_effect.ARMS[:2])
    assert measured["differences"]["real + GAN"][gan_effect.FIGURES[2]]["value"] == pytest.approx(ours - real)


def test_the_section_shows_every_figure(measured):
    text = "\n".join(gan_effect.section(measured))
    assert "2 folds grouped by patient" in text
    assert all(arm in text for arm in gan_effect.ARMS)
    assert text.count("\n| ") == 2 + len(gan_effect.ARMS) + 2 + len(gan_effect.ARMS) - 1


def test_what_is_added_makes_classes_equal(images):
    squares = images.squares
    wanted = gan_effect.missing(squares.y, len(LABELS))
    copies = gan_effect.turned_copies(squares, wanted, np.random.default_rng(1))
    counts = np.bincount(squares.y, minlength=3) + np.bincount(copies.y, minlength=3)
    assert len(set(counts.tolist())) == 1
    assert len(copies.x) == sum(wanted) > 0


def difference(low, high):
    return {name: {"value": (low + high) / 2, "low": low, "high": high} for name in gan_effect.FIGURES}


VERDICTS = {
    "none": ((-0.01, 0.02), (-0.01, 0.01), "no difference"),
    "worse": ((-0.03, -0.01), (-0.01, 0.01), "lowered"),
    "better": ((0.01, 0.03), (-0.01, 0.01), "raised"),
    "better, but copies do it too": ((0.01, 0.03), (0.02, 0.04), "as much"),
}


@pytest.mark.parametrize(("ours", "copies", "said"), VERDICTS.values(), ids=VERDICTS)
def test_the_verdict_is_what_the_intervals_say(ours, copies, said):
    differences = {"real + GAN": difference(*ours), "real + turned copies": difference(*copies)}
    assert said in " ".join(gan_effect.verdict(differences))
