"""Several panels of one patient over time: the trend of each value, the course of the blasts, and a careful hint.

Pure functions of what was measured. A trend needs three points; so does a hint, and it needs blasts that were counted.
The rules of the hint (``ml.blast_course``) were tried on simulated courses alone, and every answer says so.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, theilslopes

from genomics.labs.analytes import load_analytes
from genomics.labs.timeline import Course, read_series
from ml import blast_course
from ml.blast_course import LEAST_POINTS

__all__ = ["Course", "Trend", "describe", "hint", "read_series", "trends"]

Array = npt.NDArray[np.float64]

WEEK = 7.0
ON_LOG = {"10*9/L": 0.05, "U/L": 1.0}  # units of values that grow and shrink by factors; what keeps zero finite
CELLS = 100  # of a manual differential; Rümke 1979, Blood Cells Suppl. 11:137 (its binomial spread)
BLASTS = "blasts_percent"


@dataclass(frozen=True)
class Trend:
    """A robust slope with its 95 % interval: ``unit`` a week, or the natural logarithm a week (``scale``: log).

    Theil 1950 and Sen 1968 (doi:10.1080/01621459.1968.10480934): the median of all pairwise slopes; up to 29 % of the
    points may be wild.
    """

    analyte: str
    name: str
    unit: str
    scale: str
    points: int
    first: float
    last: float
    slope: float
    low: float
    high: float
    direction: str
    doubling_days: float | None


def describe(course: Course) -> dict[str, Any]:
    """JSON: points in time, trends of all values with three points or more, the blast course, the hint."""
    return {
        "times": [time.isoformat() for time in course.times],
        "days": course.days.tolist(),
        "panels": [dict(values) for values in course.values],
        "flags": [[asdict(flag) for flag in flags] for flags in course.flags],
        "unused": list(course.unused),
        "trends": [asdict(trend) for trend in trends(course)],
        "blasts": blasts_over_time(course),
        "hint": hint(*course.of(BLASTS)),
    }


def trends(course: Course) -> list[Trend]:
    """One for each analyte that was measured at three different times or more; age is none."""
    keys = dict.fromkeys(key for values in course.values for key in values if key != "age")
    found = (_trend(key, *course.of(key)) for key in keys)
    return [trend for trend in found if trend]


def _trend(key: str, days: Array, values: Array) -> Trend | None:
    if len(np.unique(days)) < LEAST_POINTS:
        return None
    analyte = load_analytes()[key]
    least = ON_LOG.get(analyte.unit)
    y = values if least is None else np.log(np.maximum(values, 0) + least)
    slope, _, low, high = (WEEK * float(v) if k != 1 else float(v) for k, v in enumerate(theilslopes(y, days, 0.95)))
    direction = "rising" if low > 0 else "falling" if high < 0 else "no clear trend"
    grows = least is not None and direction == "rising"
    return Trend(
        analyte=key,
        name=analyte.name,
        unit=analyte.unit,
        scale="linear" if least is None else "log",
        points=len(values),
        first=float(values[0]),
        last=float(values[-1]),
        slope=slope,
        low=low,
        high=high,
        direction=direction,
        doubling_days=WEEK * math.log(2) / slope if grows else None,
    )


def blasts_over_time(course: Course) -> dict[str, Any] | None:
    """Blasts in per cent as counted, each with the 95 % interval of a count of 100 cells; None where none were."""
    days, values = course.of(BLASTS)
    if not len(values):
        return None
    low, high = counting_interval(values)
    points = zip(days.tolist(), values.tolist(), low.tolist(), high.tolist(), strict=True)
    lowest = int(values.argmin())
    return {
        "points": [dict(zip(("day", "percent", "low", "high"), point, strict=True)) for point in points],
        "peak": float(values.max()),
        "lowest": float(values[lowest]),
        "day_of_lowest": float(days[lowest]),
        "last": float(values[-1]),
    }


def counting_interval(percent: Array) -> tuple[Array, Array]:
    """(n,) per cent → the 95 % Clopper-Pearson bounds, in per cent, of as many among CELLS cells."""
    seen = np.clip(np.round(percent * CELLS / 100), 0, CELLS)
    low = np.where(seen == 0, 0.0, beta.ppf(0.025, np.maximum(seen, 1), CELLS - seen + 1))
    high = np.where(seen == CELLS, 1.0, beta.ppf(0.975, seen + 1, np.maximum(CELLS - seen, 1)))
    return 100 * low, 100 * high


def hint(days: Array, percent: Array) -> dict[str, Any]:
    """What the blasts (n,) at ``days`` (n,), in order, suggest (``ml.blast_course``), counts of CELLS cells."""
    low, high = counting_interval(percent)
    parts = ((of / 100).tolist() for of in (percent, low, high))
    return blast_course.hint(days.tolist(), *parts, counted="differential")
