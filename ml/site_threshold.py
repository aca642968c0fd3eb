"""A laboratory's own threshold for "blast", from a few dozen cells that it knows to be normal.

The ranking of cells travels between laboratories better than its zero does. At home the threshold lies so many standard
deviations above the log-odds of normal cells; at the site it is put as many above the site's own, and drawn back
towards the home threshold as if PRIOR_CELLS more had been seen there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from ml.findings import InputRejected
from ml.smear_cell import BLAST_OR_PROMYELOCYTE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ml.bundle import Bundle
    from ml.smear import Reading

LEAST_CELLS, PRIOR_CELLS = 20, 10
BOUND = 1e-4  # of a probability, so that its log-odds are finite


@dataclass(frozen=True)
class SiteThreshold:
    """P(blast) from which a cell of this site counts as a blast; learned from ``cells`` normal ones for one bundle."""

    bundle_sha256: str
    threshold: float
    home: float
    cells: int

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")


def log_odds(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(logit(np.clip(p, BOUND, 1 - BOUND)))


def blast_probability(probabilities: Mapping[str, float]) -> float:
    return float(sum(probabilities.get(name, 0.0) for name in BLAST_OR_PROMYELOCYTE))


def home_of(bundle: Bundle) -> dict[str, float]:
    """``threshold`` of P(blast), ``normal_mean`` and ``normal_sd`` of the log-odds of the home laboratory's others."""
    said: dict[str, Any] = bundle.manifest["thresholds"]
    if "blast" not in said:
        raise InputRejected(
            "no_blast_threshold",
            place=bundle.reference,
            problem="This bundle names no blasts.",
            remedy="Use smear-cell.",
        )
    return dict(said["blast"])


def learn(p_blast: Sequence[float], home: Mapping[str, float]) -> float:
    """The site's threshold from P(blast) of its normal cells."""
    own, n = log_odds(np.array(p_blast)), len(p_blast)
    at_home = float(log_odds(home["threshold"]))
    above = (at_home - home["normal_mean"]) / home["normal_sd"]
    spread = np.sqrt((n * own.var() + PRIOR_CELLS * home["normal_sd"] ** 2) / (n + PRIOR_CELLS))
    share = n / (n + PRIOR_CELLS)
    return float(expit(share * (own.mean() + above * spread) + (1 - share) * at_home))


def of_normal_cells(readings: Sequence[Reading], bundle: Bundle, place: str) -> SiteThreshold:
    """From readings of cells known to be normal. Raises InputRejected where fewer than LEAST_CELLS can be used."""
    home = home_of(bundle)
    usable = [blast_probability(reading.probabilities) for reading in readings if reading.usable]
    if len(usable) < LEAST_CELLS:
        raise InputRejected(
            "too_few_cells",
            place=place,
            problem=f"{len(usable)} of {len(readings)} cells can be used; at least {LEAST_CELLS} are needed.",
            remedy="Add images of single cells that are known to be normal.",
        )
    return SiteThreshold(bundle.sha256, learn(usable, home), home["threshold"], len(usable))


def read(path: Path, bundle: Bundle) -> SiteThreshold:
    """Raises InputRejected where the file is no threshold, or one of another bundle."""
    try:
        said = SiteThreshold(**json.loads(path.read_text("utf-8")))
        sound = 0 < said.threshold < 1
    except (OSError, ValueError, TypeError) as fault:
        raise _unfit(path, "This is no file that `python -m ml site` wrote.") from fault
    if not sound or said.bundle_sha256 != bundle.sha256:
        raise _unfit(path, f"It was not made for {bundle.reference} as it is now.")
    return said


def _unfit(path: Path, problem: str) -> InputRejected:
    return InputRejected("unfit_threshold", place=str(path), problem=problem, remedy="Make it again.")
