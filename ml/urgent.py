"""The alert that comes first: acute promyelocytic leukaemia is not excluded.

Coagulopathy kills within days, and treatment starts on suspicion. So one finding is enough to raise the alert, and a
finding that itself reads APL keeps it up whatever another says: only a test for PML::RARA takes it down. The thresholds
(one for each combination of modalities, chosen for sensitivity on held-out people) are the bundle's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.findings import percent
from ml.posterior import for_combination

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

APL = "apl"
SOURCE = "doi:10.1182/blood-2019-01-894980"
EXCLUDED_BY = (
    "PML::RARA not found by FISH",
    "PML::RARA not found by RT-PCR",
    "PML antibody immunofluorescence with the normal, nuclear-body pattern",
)
CHECK_NOW = ("PT", "aPTT", "fibrinogen", "D-dimer", "platelets")
MESSAGE = (
    "Acute promyelocytic leukaemia is not excluded (probability {p}). Treat as an emergency: check coagulation "
    "(PT, aPTT, fibrinogen, D-dimer, platelets) now. PML::RARA by FISH or RT-PCR, or PML antibody immunofluorescence, "
    f"excludes it. The ELN guideline starts ATRA on suspicion, before these are back ({SOURCE})."
)
KEPT = " The alert stands although another result speaks against it: no result here is a test for PML::RARA."


def is_looked_at(readings: Iterable[ev.Reading]) -> bool:
    """Whether some finding can tell APL from other AML: an alert that always sounds is none."""
    return ev.told_apart(readings, APL, "aml_nos")


def reads_apl(reading: ev.Reading, least: float) -> bool:
    """Whether the finding's own labels for APL, and nothing else, have at least this probability."""
    own = [
        label for label, leaves in reading.finding.leaves.items() if set(leaves) == set(load_tree().leaves_under(APL))
    ]
    return bool(own) and sum(reading.finding.probabilities[label] for label in own) >= least


def urgent(readings: Sequence[ev.Reading], p: ev.Array, thresholds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[] or the one alert, with what raised it and what would exclude it."""
    if not is_looked_at(readings):
        return []
    probability = float(p[ev.columns(APL)].sum())
    limit = float(for_combination(thresholds["urgent_apl"], readings))
    own = [r.modality for r in readings if r.evidence.any() and reads_apl(r, thresholds["urgent_apl_own"])]
    if probability < limit and not own:
        return []
    is_kept = probability < limit
    alone = [r for r in readings if r.modality in own] if is_kept else []
    shown = max([probability, *(_own_probability(r) for r in alone)])
    return [
        {
            "code": "apl_not_excluded",
            "message": MESSAGE.format(p=percent(shown)) + (KEPT if is_kept else ""),
            "probability": probability,
            "threshold": limit,
            "raised_by": own or [r.modality for r in readings if r.evidence[ev.columns(APL)].max() > 0],
            "contradicted": is_kept,
            "check_now": list(CHECK_NOW),
            "excluded_by": list(EXCLUDED_BY),
            "source": SOURCE,
        }
    ]


def _own_probability(reading: ev.Reading) -> float:
    apl = set(load_tree().leaves_under(APL))
    return sum(
        reading.finding.probabilities[label] for label, leaves in reading.finding.leaves.items() if set(leaves) == apl
    )
