"""A cell in numbers: what is drawn larger, rounder or clumpier is measured so, in whatever stain and size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ml import synthetic
from ml.cell_view import SIDE_OF_VIEWS, SPAN, STEPS, central_cell
from ml.morphology import FEATURES, features
from ml.white_cells import inside

SIDE = SIDE_OF_VIEWS


def seen(nucleus, density=1.2, cytoplasm=None):
    """A view of a drawn nucleus (mask) of one optical density, in a cytoplasm (mask) of a third of it."""
    colour = np.zeros((SIDE, SIDE))
    if cytoplasm is not None:
        colour[cytoplasm] = 0.4
    colour[nucleus] = density if np.isscalar(density) else density[nucleus]
    rgb = np.repeat(np.round(255 * np.exp(-colour))[..., None], 3, axis=2)
    steps = np.clip(inside(~nucleus) * SPAN / SIDE * STEPS, 0, 255)
    return np.dstack([rgb, steps]).astype(np.uint8)


def disc(radius, at=(SIDE // 2, SIDE // 2)):
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.hypot(y - at[0], x - at[1]) <= radius


def measured(view):
    return dict(zip(FEATURES, features([view])[0], strict=True))


def test_a_round_nucleus_as_large_as_a_red_cell():
    said = measured(seen(disc(SIDE / SPAN / 2)))
    assert said["nucleus_area"] == pytest.approx(1, rel=0.03)
    assert said["roundness"] == pytest.approx(1, abs=0.12)
    assert said["lobes"] == 1


def test_lobes_are_counted_and_less_round():
    two = disc(12, (64, 46)) | disc(12, (64, 82))
    said, one = measured(seen(two)), measured(seen(disc(17)))
    assert said["lobes"] == 2
    assert said["solidity"] < one["solidity"]
    assert said["eccentricity"] > one["eccentricity"] + 0.3


def test_more_cytoplasm_lowers_the_nuclear_share():
    little, much = (measured(seen(disc(20), cytoplasm=disc(r)))["nuclear_share"] for r in (23, 32))
    assert little == pytest.approx((20 / 23) ** 2, abs=0.03)
    assert much == pytest.approx((20 / 32) ** 2, abs=0.03)


def test_clumped_chromatin_is_told_from_even():
    noise = np.random.default_rng(3).normal(size=(SIDE, SIDE)).astype(np.float32)
    fine, coarse = (1.2 + 0.3 * cv2.GaussianBlur(noise, (0, 0), s) * s for s in (0.7, 4.0))
    even, fine, coarse = (measured(seen(disc(30), d)) for d in (1.2, fine, coarse))
    assert even["chromatin_spread"] < 0.01 < fine["chromatin_spread"]
    assert fine["chromatin_fine"] > coarse["chromatin_fine"] + 0.2
    assert fine["chromatin_coarse"] < coarse["chromatin_coarse"]


def test_no_nucleus_no_numbers():
    blank = np.full((SIDE, SIDE, 4), 255, np.uint8)
    assert np.isnan(features([blank])).all()
    assert features([]).shape == (0, len(FEATURES))


@pytest.mark.parametrize("kind", ["Lymphocyte", "Segmented neutrophil", "Blast"])
def test_drawn_cells_have_all_numbers(kind):
    said = measured(central_cell(synthetic.draw_cell(kind, 1), SIDE)[0])
    assert np.isfinite(list(said.values())).all()
