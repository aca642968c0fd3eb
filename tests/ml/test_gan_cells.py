"""Cells of the shipped GAN in drawn smears: whole, blended in, of the size asked for, where wanted."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ml import gan_cells, synthetic
from ml.gan_cells import Patch
from ml.generative import square


@pytest.mark.parametrize("kind", ["Blast", "Lymphocyte", "Monocyte"])
def test_a_cell_is_cut_out_without_its_neighbours(kind):
    patch = gan_cells.cut_out(square(synthetic.draw_cell(kind, 3), 64, 0.6))
    wanted = synthetic.CELLS[kind].radius * synthetic.ANALYSER.red_radius * 360 * 64 / 216
    assert patch.radius == pytest.approx(wanted, rel=0.2)
    assert patch.cell[32, 32] > 0.95
    assert patch.cell[:2].max() < 0.1
    assert patch.border < 0.05  # of its edge


def test_an_empty_slide_holds_no_cell():
    assert gan_cells.cut_out(np.full((64, 64, 3), 250, np.uint8)).cell.max() == 0


def disc(side=9, radius=3.0):
    y, x = np.mgrid[:side, :side] - side // 2
    cell = (np.hypot(x, y) <= radius).astype(np.float32)
    return Patch(np.full((side, side, 3), 0.8, np.float32), cell)


def test_a_cell_replaces_what_lay_there_and_nothing_else():
    density = np.full((20, 30, 3), 0.2, np.float32)
    gan_cells.lay(density, (12, 10), disc(), (1.0, 2.0, 0.5))
    np.testing.assert_allclose(density[10, 12], [0.8, 1.6, 0.4])
    assert density[0, 0, 0] == pytest.approx(0.2)
    assert (density[..., 0] > 0.5).sum() == disc().cell.sum()


@pytest.mark.parametrize("at", [(0, 0), (29, 19), (-2, 10), (500, 500)])
def test_a_cell_at_the_edge_is_cut_there(at):
    density = np.zeros((20, 30, 3), np.float32)
    gan_cells.lay(density, at, disc(), 1.0)
    assert (density.max() > 0) == (at[0] < 100)


def test_a_cell_grows_in_proportion():
    assert disc(33, 10).scaled(2.0).radius == pytest.approx(20, rel=0.08)


def test_a_nucleus_takes_the_colour_asked_for():
    red, green, blue = gan_cells.to_colour(disc(), np.array([0.8, 1.6, 0.4], np.float32))
    assert (red, green, blue) == pytest.approx((1.0, 2.0, 0.5))


def test_every_kind_has_a_group_that_the_generator_knows():
    assert set(gan_cells.GROUP_OF) == set(synthetic.CELLS)
    assert set(gan_cells.GROUP_OF.values()) <= set(gan_cells.generator().labels)


def test_the_generator_is_small():
    assert gan_cells.GENERATOR.stat().st_size <= 4 * 2**20
    assert gan_cells.GENERATOR.with_suffix(".md").is_file()


@pytest.mark.parametrize(("draw", "kind"), [(synthetic.draw_cell, "Monocyte"), (synthetic.draw_field, "haematogones")])
def test_the_same_seed_gives_the_same_picture_and_the_styles_differ(draw, kind):
    one, again, drawn = draw(kind, 4, style="gan"), draw(kind, 4, style="gan"), draw(kind, 4)
    assert one.shape == drawn.shape
    assert (one == again).all()
    assert (np.abs(one.astype(int) - drawn).max(axis=2) > 12).mean() > 0.02


def test_a_case_of_gan_cells_says_that_it_is_synthetic(tmp_path):
    for path in synthetic.write_case(tmp_path, "APL", 3, seed=2, style="gan"):
        with Image.open(path) as image:
            assert image.text["Source"] == "SYNTHETIC"
            assert "gan" in image.text["Description"]


def test_an_unknown_style_is_no_picture():
    with pytest.raises(KeyError):
        synthetic.draw_cell("Blast", 1, style="watercolour")


def test_what_is_drawn_needs_no_torch():
    code = "import sys; from ml import synthetic; synthetic.draw_cell('Blast', 1); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
