"""The comparison of in-scope scores: what it counts as outside, and what the quality gate adds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench import in_scope
from ml import synthetic, training
from ml.smear import measured

SMEARS = [synthetic.draw_field(kind, seed) for kind in synthetic.FIELDS for seed in range(3)]
BLANK = np.full((224, 224, 3), 240, np.uint8)


class Checks:
    preprocessing = {"view": "field", "side": 32, "masked_corner": 0.15}
    measured = pd.DataFrame([measured(image, "field")[0] for image in SMEARS])

    def kinds(self):
        return {"more smears": SMEARS[:4], "nothing": [BLANK] * 3}


@pytest.fixture
def fold():
    pictures = np.stack([image[:32, :32] for image in SMEARS])
    return in_scope.Fold(pictures, np.arange(len(SMEARS)) % 2 == 0, None, None, None, Checks())


def test_each_score_is_asked_and_the_gate_only_adds(fold, monkeypatch):
    scores = {name: lambda pictures: pictures.reshape(len(pictures), -1).mean(axis=1) for name in in_scope.SCORES}
    monkeypatch.setattr(in_scope, "scorers", lambda fold, steps: scores)
    said = in_scope.measure(fold, 1)
    assert said["held_out"] == (~fold.learned).sum()
    assert {kind: of["n"] for kind, of in said["kinds"].items()} == {"more smears": 4, "nothing": 3}
    assert said["kinds"]["nothing"][in_scope.GATED] == 1.0
    assert said["kinds"]["more smears"][in_scope.GATED] >= said["kinds"]["more smears"][in_scope.SCORES[0]]
    assert any("| nothing | 3 |" in line for line in in_scope.section({"steps": 1, "bundles": {"x": said}}))


def test_what_is_larger_outside_is_found():
    assert in_scope.auroc(np.zeros(3), np.ones(4)) == 1
    assert in_scope.auroc(np.ones(3), np.zeros(4)) == 0


def test_smears_pass_the_gate_and_blank_slides_do_not(fold):
    limits = training.thresholds_of_quality(Checks.measured)
    assert limits["white_cells"]["block"] == 1
    assert in_scope.passing(fold, SMEARS).all()
    assert not in_scope.passing(fold, [BLANK]).any()
