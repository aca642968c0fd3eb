"""Simulated courses of blasts under treatment, of no patient, on which the rules of ``blast_course`` are tried.

``python -m ml.simulated_courses`` writes ``simulated_courses.json``. Blasts start at 20 to 95 %, fall tenfold in 3 to
10 days (response), come back after a silence with a doubling time of 4 to 14 days to an overt share at the last point
(possible relapse), or stay (no response). Each point is a count of so many cells, of which a reader of images takes a
share of the others for blasts, as large for all points of a patient. What is assumed here is assumed, not measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from ml.blast_course import CLEARED, SIMULATED, rule

Array = npt.NDArray[np.float64]

KINDS = ("response", "possible relapse", "no response")
COURSES, SEED = 1000, 0


@dataclass(frozen=True)
class Counting:
    """``cells`` a point, at most ``false`` of the other cells taken for blasts, relapse ``overt`` from there on."""

    cells: int
    false: float
    overt: float
    method: Literal["exact", "wilson"]


COUNTING = {
    "differential": Counting(100, 0.0, 0.05, "exact"),  # by eye: Rümke 1979, Blood Cells Suppl. 11:137
    "images": Counting(200, 0.04, 0.2, "wilson"),
}


def simulate(kind: str, how: Counting, rng: np.random.Generator) -> tuple[Array, Array]:
    """(days (n,), cells counted as blasts (n,)) of a course of ``kind``, at four to nine times within some months."""
    while True:
        days = np.sort(rng.uniform(0, 100, int(rng.integers(4, 10))))
        days[0] = 0.0
        share = _true_share(kind, days, rng)
        if kind != "possible relapse" or share[-1] >= how.overt:  # before that, it is the response that it looks like
            false = rng.uniform(0, how.false)
            return days, rng.binomial(how.cells, share + (1 - share) * false).astype(np.float64)


def _true_share(kind: str, days: Array, rng: np.random.Generator) -> Array:
    start, slope = rng.uniform(0.2, 0.95), np.log(10) / rng.uniform(3, 10)
    if kind == "no response":
        return np.clip(start * np.exp(rng.normal(0, 0.15, len(days)) + rng.uniform(-0.003, 0.006) * days), 0, 0.99)
    share = start * np.exp(-slope * days)
    if kind == "possible relapse":
        back, doubling = rng.uniform(30, 70), rng.uniform(4, 14)
        share = share + np.where(days > back, 0.001 * 2 ** ((days - back) / doubling), 0)
    return np.clip(share, 0, 0.99)


def validate(counted: str, courses: int, seed: int) -> dict[str, Any]:
    """How often the hint is what was simulated, another, or nothing; kind → said → count."""
    rng, how = np.random.default_rng(seed), COUNTING[counted]
    names = [*KINDS, "nothing"]
    table = {kind: dict.fromkeys(names, 0) for kind in KINDS}
    for kind in KINDS:
        for _ in range(courses):
            _, blasts = simulate(kind, how, rng)
            bounds = [binomtest(int(k), how.cells).proportion_ci(method=how.method) for k in blasts]
            low, high = ([float(b[side]) for b in bounds] for side in (0, 1))
            says, _ = rule((blasts / how.cells).tolist(), low, high, CLEARED[counted])
            table[kind][says or "nothing"] += 1
    return {"data": "simulated", "courses_of_each_kind": courses, "seed": seed, "said": table}


if __name__ == "__main__":
    said = {counted: validate(counted, COURSES, SEED) for counted in COUNTING}
    SIMULATED.write_text(json.dumps(said, indent=1) + "\n", "utf-8")
