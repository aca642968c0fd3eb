"""Simulated courses of blasts under treatment, of no patient, on which the rules of ``series.hint`` are tried.

``python -m genomics.labs.courses`` writes ``courses.json``. Blasts start at 20 to 95 %, fall tenfold in 3 to 10 days
(response), come back after a silence with a doubling time of 4 to 14 days to 5 % or more at the last point
(possible relapse), or stay (no response); each point is a count of a hundred cells. What is assumed here is assumed,
not measured.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from genomics.labs.series import CELLS, SIMULATED, rule

Array = npt.NDArray[np.float64]

KINDS = ("response", "possible relapse", "no response")
COURSES, SEED = 1000, 0
OVERT = 0.05


def simulate(kind: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """(days (n,), counted per cent (n,)) of a course of ``kind``, at four to nine times within some months."""
    while True:
        days = np.sort(rng.uniform(0, 100, int(rng.integers(4, 10))))
        days[0] = 0.0
        share = _true_share(kind, days, rng)
        if kind != "possible relapse" or share[-1] >= OVERT:  # before that, it is the response that it looks like
            return days, 100 * rng.binomial(CELLS, share) / CELLS


def _true_share(kind: str, days: Array, rng: np.random.Generator) -> Array:
    start, slope = rng.uniform(0.2, 0.95), np.log(10) / rng.uniform(3, 10)
    if kind == "no response":
        return np.clip(start * np.exp(rng.normal(0, 0.15, len(days)) + rng.uniform(-0.003, 0.006) * days), 0, 0.99)
    share = start * np.exp(-slope * days)
    if kind == "possible relapse":
        back, doubling = rng.uniform(30, 70), rng.uniform(4, 14)
        share = share + np.where(days > back, 0.001 * 2 ** ((days - back) / doubling), 0)
    return np.clip(share, 0, 0.99)


def validate(courses: int, seed: int) -> dict[str, Any]:
    """How often the hint is what was simulated, another, or nothing; kind → said → count."""
    rng = np.random.default_rng(seed)
    names = [*KINDS, "nothing"]
    table = {kind: dict.fromkeys(names, 0) for kind in KINDS}
    for kind in KINDS:
        for _ in range(courses):
            says, _ = rule(simulate(kind, rng)[1])
            table[kind][says or "nothing"] += 1
    return {"data": "simulated", "courses_of_each_kind": courses, "seed": seed, "said": table}


if __name__ == "__main__":
    SIMULATED.write_text(json.dumps(validate(COURSES, SEED), indent=1) + "\n", "utf-8")
