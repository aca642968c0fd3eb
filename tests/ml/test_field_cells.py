"""The white cells of whole fields: found, named, counted, and held against what the whole field says."""

from __future__ import annotations

import numpy as np
import pytest

from ml import field_cells, smear_field, synthetic
from ml.bundle import find_bundle, load_bundle
from ml.smear import Reading
from ml.white_cells import find_cells

FIELD, CELL = (load_bundle(find_bundle(name)) for name in ("smear-field", "smear-cell"))
IMAGES = [(kind, synthetic.draw_field(kind, 2)) for kind in ("haematogones", "Pre-B")]


def reading(name, label):
    return Reading(name, label, {}, 1.0, (), (), np.zeros(1))


def field(name, *, called):
    return {"id": name, "called": called}


@pytest.fixture(scope="module")
def cells():
    return field_cells.read_cells(IMAGES, CELL)


def test_every_cell_has_its_place_and_is_counted_once(cells):
    assert len({cell["id"] for cell in cells["cells"]}) == len(cells["cells"]) > 2
    for cell in cells["cells"]:
        top, left, bottom, right = cell["box"]
        assert 0 <= top < bottom <= 224
        assert 0 <= left < right <= 224
        assert 0 <= cell["blast"] <= 1 + 1e-6
    named = [cell for cell in cells["cells"] if cell["label"]]
    assert sum(cells["differential"].values()) == len(named) == sum(said["cells"] for said in cells["fields"])
    found = sum(len(find_cells(image).cells) for _, image in IMAGES)
    assert len(cells["cells"]) + cells["cut_off"] == found


def test_cells_found_before_are_not_searched_again(cells, monkeypatch):
    founds = [find_cells(image) for _, image in IMAGES]
    monkeypatch.setattr(field_cells, "find_cells", lambda image: pytest.fail("searched again"))
    assert field_cells.read_cells(IMAGES, CELL, founds) == cells


def test_the_gallery_begins_with_the_surest_blast(cells):
    shown = field_cells.gallery(cells["cells"])
    order = [cell["blast"] * cell["in_scope"] for cell in shown]
    assert order == sorted(order, reverse=True)
    assert field_cells.cell_png(IMAGES[0][1], cells["cells"][0]["box"]).startswith(b"\x89PNG")


def test_a_finding_of_fields_brings_its_cells_along(cells):
    alone, beside = smear_field.predict(IMAGES, FIELD), smear_field.predict(IMAGES, FIELD, companion=CELL)
    assert beside.explanation["white_cells"] == cells
    assert beside.probabilities == pytest.approx(alone.probabilities)
    assert beside.in_scope <= alone.in_scope


def test_the_cells_of_a_field_that_is_not_used_are_not_counted(cells, monkeypatch):
    black = np.zeros_like(IMAGES[0][1])
    monkeypatch.setattr(
        "ml.smear.find_cells", lambda image: find_cells(image) if image.any() else pytest.fail("sought")
    )
    said = smear_field.predict([*IMAGES, ("black", black)], FIELD, companion=CELL)
    assert said.explanation["white_cells"] == cells


@pytest.mark.parametrize(
    ("labels", "called", "share"),
    [
        (("haematogones", "Pre-B"), (False, True), 1.0),
        (("haematogones", "Pre-B"), (True, True), 0.5),
        (("Pro-B", "Pre-B"), (False, False), 0.0),
        (("Pro-B", "Pre-B"), (None, False), 0.0),
        ((None, "Pre-B"), (False, True), 1.0),
        (("Pro-B", "Pre-B"), (None, None), 1.0),
    ],
)
def test_fields_and_their_cells_are_held_against_each_other(labels, called, share):
    names = ("a", "b")
    readings = [reading(name, label) for name, label in zip(names, labels, strict=True)]
    fields = [field(name, called=said) for name, said in zip(names, called, strict=True)]
    said, reasons = smear_field.agreement(readings, fields)
    assert said == pytest.approx(share)
    assert bool(reasons) is (share < 1)
