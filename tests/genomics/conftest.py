"""What the tests of this room share."""

from functools import partial

import pytest

from ml import calibration


@pytest.fixture
def few_rounds(monkeypatch):
    """Intervals from a few bootstrap rounds: here nobody reads them, and they take most of the time."""
    monkeypatch.setattr(calibration, "measure", partial(calibration.measure, rounds=5))
