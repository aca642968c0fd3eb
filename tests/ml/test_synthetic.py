from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label

from ml import stained_cells, synthetic


def draw(kind, seed):
    return synthetic.draw_field(kind, seed) if kind in synthetic.FIELDS else synthetic.draw_cell(kind, seed)


@pytest.mark.parametrize("kind", [*synthetic.FIELDS, *synthetic.CELLS])
def test_same_seed_same_pixels_another_seed_another_picture(kind):
    one, again, other = draw(kind, 1), draw(kind, 1), draw(kind, 2)
    assert one.dtype == np.uint8
    assert hashlib.sha256(one.tobytes()).digest() == hashlib.sha256(again.tobytes()).digest()
    assert (one != other).mean() > 0.5


@pytest.mark.parametrize("size", [224, 320])
def test_a_field_has_the_size_asked_for(size):
    assert synthetic.draw_field("Pre-B", 3, size).shape == (size, size, 3)


def white_cells(pixels, smallest=60):
    """Connected violet regions: much less green than blue, as nothing else on a smear."""
    said = pixels[: -pixels.shape[0] // 16].astype(int)
    regions, n = label((said[..., 2] - said[..., 1]) > 38)
    return [size for size in np.bincount(regions.ravel())[1:] if size > smallest] if n else []


@pytest.mark.parametrize("kind", ["Early Pre-B", "haematogones"])
def test_a_field_shows_as_many_white_cells_as_its_kind_has(kind):
    fewest = sum(low for _, low, _ in synthetic.FIELDS[kind].white)
    most = sum(high for _, _, high in synthetic.FIELDS[kind].white)
    for seed in range(4):
        assert 0.6 * fewest <= len(white_cells(synthetic.draw_field(kind, seed))) <= most + 1


def test_blasts_are_larger_than_haematogones():
    def radius(field, cell):
        return synthetic.FIELDS[field].red_radius * synthetic.CELLS[cell].radius

    assert radius("Pre-B", "Lymphoblast, Pre-B") > 1.4 * radius("haematogones", "Haematogone")


def test_light_dominates_and_stain_is_there():
    for kind in synthetic.FIELDS:
        pixels = synthetic.draw_field(kind, 5)
        assert 190 < pixels.mean() < 245
        assert pixels.std() > 15


@pytest.mark.parametrize("kind", ["Pro-B", "APL promyelocyte"])
def test_every_file_says_that_it_is_synthetic(tmp_path, kind):
    write = synthetic.write_field if kind in synthetic.FIELDS else synthetic.write_cell
    with Image.open(write(tmp_path / "one.png", kind, 7)) as image:
        assert image.text["Source"] == "SYNTHETIC"
        assert "SYNTHETIC" in image.text["Description"]
        assert kind in image.text["Description"]


@pytest.mark.parametrize("kind", ["Pro-B", "APL promyelocyte"])
def test_the_mark_is_printed_bottom_right_and_nowhere_else(monkeypatch, kind):
    marked = draw(kind, 7).astype(int)
    monkeypatch.setattr(stained_cells, "_marked", lambda pixels: pixels)
    plain = draw(kind, 7).astype(int)
    rows, columns = np.nonzero(np.abs(marked - plain).max(axis=2) > 20)
    height, width = plain.shape[:2]
    assert len(rows) > 60
    assert rows.min() > 0.94 * height
    assert columns.min() > 0.7 * width


def test_a_case_is_a_folder_of_marked_files(tmp_path):
    paths = synthetic.write_case(tmp_path / "case", "APL", 12, seed=4)
    assert len(set(paths)) == 12
    assert all(path.name.startswith("SYNTHETIC-4-") and path.is_file() for path in paths)
    kinds = synthetic.case_cells("APL", 400, seed=4)
    assert kinds[:12] == synthetic.case_cells("APL", 400, seed=4)[:12]
    assert 0.5 < kinds.count("APL promyelocyte") / 400 < 0.75


@pytest.mark.parametrize("shares", synthetic.CASES.values(), ids=synthetic.CASES)
def test_a_case_is_made_of_known_cells(shares):
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) <= set(synthetic.CELLS)


def test_an_unknown_kind_is_no_picture():
    with pytest.raises(KeyError):
        synthetic.draw_field("Burkitt", 1)
