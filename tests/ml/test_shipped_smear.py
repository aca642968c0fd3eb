"""The shipped smear bundles on real images that they were taught: as read back from disk, they know them.

This is no measure of how good they are (the cards have that); it notices weights or labels that were written in another
order than they are read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.bundle import find_bundle, load_bundle
from ml.datasets import FIELD_LABELS
from ml.smear import load_model, read_images
from ml.smear_cell import finding_of
from ml.smear_data import first_frame, load_cells, load_fields

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the training images are not on this machine")


def readings(bundle, paths):
    return read_images([(str(path), first_frame(path)) for path in paths], load_model(bundle))


@needs_data
def test_fields():
    fields = load_fields(DATA / "smear_fields")
    chosen = np.arange(len(fields.y))[::80]
    said = readings(load_bundle(find_bundle("smear-field")), [fields.paths[k] for k in chosen])
    right = [reading.label == FIELD_LABELS[fields.y[k]] for reading, k in zip(said, chosen, strict=True)]
    assert np.mean(right) > 0.9
    assert np.median([reading.in_scope for reading in said]) > 0.9


@needs_data
def test_cells_and_their_patients():
    bundle, cells = load_bundle(find_bundle("smear-cell")), load_cells(DATA / "smear_cells")
    few = pd.concat([cells[cells.diagnosis == d].groupby("patient").head(12).head(48) for d in ("AML", "APL")])
    said = readings(bundle, [Path(name) for name in few.file])
    assert np.mean([reading.label == name for reading, name in zip(said, few.cell_class, strict=True)]) > 0.6
    answers = [
        finding_of([said[k] for k in rows], load_model(bundle)).label == few.diagnosis.iloc[rows[0]]
        for rows in few.groupby("patient").indices.values()
    ]
    assert np.mean(answers) > 0.6  # from twelve cells each; exchanged labels would give less than half


@pytest.mark.parametrize("name", ["smear-field", "smear-cell"])
def test_the_axes_are_orthonormal_as_they_were_fitted(name):
    axes = load_model(load_bundle(find_bundle(name))).projection.axes
    assert np.allclose(axes @ axes.T, np.eye(len(axes)), atol=2e-3)


@pytest.mark.parametrize("name", ["smear-field", "smear-cell"])
def test_every_head_has_a_label_for_each_of_its_logits(name):
    model = load_model(load_bundle(find_bundle(name)))
    for head, labels in model.labels_of.items():
        assert len(model.heads[head].layers[-1][1]) == len(labels) == len(set(labels))
