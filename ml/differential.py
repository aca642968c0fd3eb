"""The differential: cells counted by class, and the blasts among them with their interval.

Light on purpose (no torch): the web process counts again where a person has named a cell anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.stats import binomtest

if TYPE_CHECKING:
    from collections.abc import Sequence

BLAST = "Blast, no lineage spec"
BLAST_EQUIVALENTS = (
    BLAST,
    "Promyelocyte",
    "Promonocyte",
)  # what the attention rests on: blasts and what counts as such
NOT_COUNTED = ("Smudge cells", "Giant thrombocyte", "Thrombocyte aggregation", "Erythroblast")


def differential(labels: Sequence[str | None]) -> dict[str, int]:
    """Count of each class among the usable cells, most frequent first."""
    names = [label for label in labels if label]
    return {name: names.count(name) for name in sorted(set(names), key=lambda n: (-names.count(n), n))}


def blast_share(labels: Sequence[str | None]) -> dict[str, float | int | None]:
    """Blasts and equivalents among the nucleated leucocytes, with Wilson's 95 % interval (counting error alone)."""
    counted = [label for label in labels if label and label not in NOT_COUNTED]
    blasts = sum(name in BLAST_EQUIVALENTS for name in counted)
    if not counted:
        return {"blasts": 0, "counted": 0, "share": None, "low": None, "high": None}
    interval = binomtest(blasts, len(counted)).proportion_ci(method="wilson")
    return {
        "blasts": blasts,
        "counted": len(counted),
        "share": blasts / len(counted),
        "low": float(interval.low),
        "high": float(interval.high),
    }
