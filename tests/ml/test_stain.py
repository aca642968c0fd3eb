"""Stain normalisation by name: it brings stains together, invents nothing on blank images, and travels as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ml import stain
from tests.drawn_smears import usual

BLANK = np.full((120, 120, 3), 240, np.uint8)
STRIPES = BLANK - (np.arange(120)[:, None, None] % 2).astype(np.uint8)
ODD = [BLANK, np.zeros_like(BLANK), np.full_like(BLANK, 128), STRIPES]


def other(image, gain=(1.5, 0.7, 1.3), lamp=(0.9, 0.8, 0.95)):
    density = -np.log(np.maximum(image, 1) / 255)
    return np.round(255 * np.exp(-density * gain) * lamp).astype(np.uint8)


def apart(one, two):
    return np.abs(one.astype(int) - two).mean()


@pytest.mark.parametrize("method", stain.METHODS)
def test_another_stain_comes_nearer(method):
    image = usual()
    normalise = stain.normaliser(stain.reference(method, [image]))
    assert apart(normalise(other(image)), normalise(image)) < 0.5 * apart(other(image), image)


@pytest.mark.parametrize("method", [None, *stain.METHODS])
@pytest.mark.parametrize("image", ODD)
def test_images_without_stain_stay_finite_and_plain(method, image):
    normalise = stain.normaliser(method and stain.reference(method, [usual()]))
    out = normalise(image)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    assert out.std() <= image.std() * stain.LARGEST_GAIN + 1


@pytest.mark.parametrize("method", stain.METHODS)
def test_a_reference_travels_as_json(method):
    said = stain.reference(method, [usual(), usual(stain=0.8)])
    there = stain.normaliser(json.loads(json.dumps(said)))
    assert np.array_equal(there(usual(stain=1.3)), stain.normaliser(said)(usual(stain=1.3)))


@pytest.mark.parametrize("method", stain.METHODS)
def test_a_reference_without_stain_is_refused(method):
    with pytest.raises(ValueError, match="reference"):
        stain.reference(method, [BLANK])


def test_azure_and_eosin_are_told_apart():
    dyes, most = stain.dyes_of(stain.optical_density(usual()))
    azure, eosin = dyes
    assert azure[0] > eosin[0]
    assert np.linalg.norm(dyes, axis=1) == pytest.approx([1, 1], abs=0.05)
    assert (most > 0).all()
