"""What the blasts of one patient suggest over time: response, possible relapse, no response, or nothing.

Rules, no model: no course of a patient was there to learn from. They were tried on simulated courses alone
(``simulated_courses.py``), and whoever shows a hint says so. Light on purpose (no torch): the web process asks it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_POINTS = 3
CLEARED = {"differential": 0.01, "images": 0.05}  # none to speak of: in blood by eye, and with a reader's false blasts
SIMULATED = Path(__file__).with_name("simulated_courses.json")
NOTE = "Validated on simulated courses only, on no patient: a hint to look again, never a finding."


def hint(
    times: Sequence[Any], shares: Sequence[float], low: Sequence[float], high: Sequence[float], *, counted: str
) -> dict[str, Any]:
    """JSON ``says`` (None where nothing is clear), ``why``, ``validation``; shares with their 95 % intervals, by time.

    ``counted``: a key of CLEARED, how the blasts were counted. Nothing is said of fewer than LEAST_POINTS times.
    """
    points = len(set(times))
    if points < LEAST_POINTS:
        says, why = None, f"Blasts were counted at {points} points in time; a hint needs {LEAST_POINTS}."
    else:
        says, why = rule(shares, low, high, CLEARED[counted])
    return {"says": says, "why": why, "validation": simulated(counted)}


def rule(
    shares: Sequence[float], low: Sequence[float], high: Sequence[float], cleared: float
) -> tuple[str | None, str]:
    """(hint or None, why) of three counts or more. A change counts only where the intervals do not touch."""
    last, now = len(shares) - 1, shares[-1]
    peak = max(range(len(shares)), key=shares.__getitem__)
    lowest = min(range(last), key=shares.__getitem__)
    if shares[lowest] <= cleared < low[-1] and now > high[lowest]:
        return "possible relapse", f"Blasts were {_percent(shares[lowest])} and are {_percent(now)} again."
    if peak < last and now <= cleared and low[peak] > high[-1]:
        return "response", f"Blasts fell from {_percent(shares[peak])} to {_percent(now)}."
    if min(low) > cleared and now >= shares[0] / 2:
        return "no response", f"Blasts were never below {_percent(min(shares))} and are {_percent(now)}."
    return None, "The counts do not differ by more than counting so many cells would."


def _percent(share: float) -> str:
    return f"{round(100 * share, 1):g} %"


@lru_cache(maxsize=2)
def simulated(counted: str) -> dict[str, Any]:
    """How the rules did on simulated courses that were counted so."""
    return {"kind": "simulated", "note": NOTE, **json.loads(SIMULATED.read_text("utf-8"))[counted]}
