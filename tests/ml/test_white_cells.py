"""The white-cell finder and the cell's view, on smears whose every cell is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ml.cell_view import (
    REFERENCE,
    SPAN,
    cells_of,
    central_cell,
    cut_off,
    on_image,
    restained,
    shown,
)
from ml.networks import to_tensor
from ml.white_cells import find_cells
from tests.drawn_smears import REDS, WHITES, smear, usual

SIDE = 128


def places(found):
    return sorted(tuple(round(v) for v in cell.centre) for cell in found.cells)


def near(found, expected, within=4):
    there = places(found)
    return len(there) == len(expected) and np.abs(np.array(there) - np.array(sorted(expected))).max() <= within


def test_each_white_cell_is_found_once_and_red_cells_are_the_ruler():
    found = find_cells(usual())
    assert near(found, [(y, x) for y, x, _ in WHITES])
    assert found.measured
    assert found.red_diameter == pytest.approx(40, rel=0.1)
    assert sorted(cell.area for cell in found.cells) == pytest.approx([(24 / 20) ** 2, (26 / 20) ** 2], rel=0.2)


@pytest.mark.parametrize("times", [0.5, 1.5, 3.0])
def test_magnification_does_not_matter(times):
    image = Image.fromarray(usual())
    found = find_cells(np.asarray(image.resize((round(image.width * times), round(image.height * times)))))
    assert near(found, [(y * times, x * times) for y, x, _ in WHITES], within=5 * times)
    assert found.red_diameter == pytest.approx(40 * times, rel=0.12)


@pytest.mark.parametrize("changes", [{"stain": 0.6}, {"stain": 1.5}, {"background": (190, 200, 160)}])
def test_neither_stain_nor_lamp_matter(changes):
    assert near(find_cells(usual(**changes)), [(y, x) for y, x, _ in WHITES])


def test_lobes_are_one_cell_and_neighbours_are_two():
    lobed = [(180, 190, 11), (180, 212, 11), (199, 201, 11)]
    touching = [(90, 150, 25), (90, 201, 25)]
    found = find_cells(smear((384, 448), REDS[2:], [*lobed, *touching]))
    assert near(found, [(186, 201), (90, 150), (90, 201)], within=8)


@pytest.mark.parametrize(
    "image",
    [
        np.full((300, 300, 3), 240, np.uint8),
        np.zeros((300, 300, 3), np.uint8),
        smear((384, 448), REDS, []),
        np.full((60, 900, 3), 255, np.uint8),
    ],
)
def test_where_no_white_cell_is_none_is_found(image):
    assert find_cells(image).cells == ()


def test_without_red_cells_the_nucleus_is_the_ruler_and_that_is_said():
    found = find_cells(smear((200, 200), [], [(100, 100, 30)]))
    assert len(found.cells) == 1
    assert not found.measured
    seen, nucleus = central_cell(smear((200, 200), [], [(100, 100, 30)]), SIDE)
    assert nucleus
    assert (seen[..., 3] == 0).sum() == pytest.approx(np.pi / 4 * (1.25 * SIDE / SPAN) ** 2, rel=0.15)


def test_a_cell_looks_the_same_whatever_the_magnification_stain_and_lamp():
    image = usual()
    larger = np.asarray(Image.fromarray(image).resize((896, 768), Image.Resampling.BICUBIC))
    pictures = [
        shown(view_of(picture)) for picture in (image, larger, usual(stain=0.7), usual(background=(200, 210, 170)))
    ]
    for other in pictures[1:]:
        difference = np.abs(other.astype(int) - pictures[0].astype(int))
        assert np.percentile(difference, 90) <= 12


def view_of(image):
    (_, first), *_ = cells_of(image, SIDE)
    return first


def test_the_nucleus_has_the_reference_density_and_the_surroundings_are_white():
    seen = view_of(usual())
    density = -np.log(np.maximum(seen[..., :3], 1) / 255.0)
    assert density[seen[..., 3] == 0].mean(axis=0) == pytest.approx(REFERENCE, rel=0.1)
    assert (shown(seen)[:6] == 255).all()


def test_a_cut_out_cell_on_black_is_the_cell_on_white():
    y, x = np.mgrid[:200, :200]
    image = smear((200, 200), [], [(100, 100, 30)])
    black = np.where(((y - 100) ** 2 + (x - 100) ** 2 > 45**2)[..., None], 0, image).astype(np.uint8)
    pictures = [shown(central_cell(picture, SIDE)[0]).astype(int) for picture in (image, black)]
    assert (
        np.percentile(np.abs(pictures[0] - pictures[1]), 90) <= 20
    )  # the surround is taken for white, the slide was a little darker


def test_beyond_the_border_is_empty_slide_and_the_cell_is_known_to_be_cut():
    image = smear((384, 448), REDS, [(5, 200, 26), (200, 200, 26)])
    found = find_cells(image)
    cut = {round(cell.centre[0]) > 50: cut_off(cell, found) for cell in found.cells}
    assert cut == {False: True, True: False}
    edge = min(cells_of(image, SIDE, found), key=lambda pair: pair[0].centre[0])[1]
    assert (shown(edge)[0] == 255).all()


def test_without_a_nucleus_the_middle_is_shown_as_it_is():
    seen, nucleus = central_cell(np.full((300, 400, 3), 200, np.uint8), SIDE)
    assert not nucleus
    assert seen.shape == (SIDE, SIDE, 4)
    assert (shown(seen) == 200).all()


def test_a_map_of_the_view_lies_on_the_cell():
    image, heat = usual(), np.zeros((SIDE, SIDE))
    heat[54:74, 54:74] = 1
    y, x = np.unravel_index(np.argmax(on_image(heat, image)), image.shape[:2])
    assert np.hypot(y - 180, x - 200) < 15


def test_another_stain_is_brought_back_by_the_nucleus():
    seen = view_of(usual())
    x = to_tensor(seen[None])
    assert torch.allclose(restained(x[:, :3] ** 1.6, x[:, 3:]), restained(x[:, :3], x[:, 3:]), atol=0.06)
