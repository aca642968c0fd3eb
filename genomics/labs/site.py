"""A site's own recalibration: how sure to be, which way to lean, and how common ALL, AML and APL are there.

From the log-probabilities ℓ that the shipped model gives a few dozen local, labelled cases:

    P(y) = softmax(ℓ/τ + b + log π)

π: the local shares, as if SHARE_CASES more cases had been seen, evenly spread, so that no class is ever ruled out.
log τ and b: maximum a posteriori under normal priors around "change nothing" with the standard deviation LOOSE, so that
few cases change little (a ridge towards the identity; Platt-type scaling: Guo et al. 2017, arXiv:1706.04599; prior
shift: Saerens et al. 2002, doi:10.1162/089976602753284446).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from genomics.labs.features import CLASSES
from ml.bundle import load_bundle
from ml.findings import InputRejected

if TYPE_CHECKING:
    from pathlib import Path

    from ml.bundle import Bundle

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

NAME, VERSION = "labs-site", "1.0.0"
SHARE_CASES = 6.0  # two of each class
LOOSE = 0.5  # of log τ and of each b, in nats


@dataclass(frozen=True)
class Site:
    """What one site changes. ``bias`` and ``prior`` (3,) by CLASSES; ``prior`` sums to 1."""

    temperature: float
    bias: tuple[float, ...]
    prior: tuple[float, ...]
    cases: int
    reference: str = ""

    def shift(self) -> Array:
        """(3,) what is added to the log-probabilities, in nats."""
        return np.array(self.bias) + np.log(np.array(self.prior))

    def apply(self, p: Array) -> Array:
        """(n, 3) probabilities with equal priors → (n, 3) at the site."""
        return np.asarray(softmax(np.log(np.clip(p, 1e-12, 1)) / self.temperature + self.shift(), axis=1))

    def shares(self) -> dict[str, float]:
        """Class → its share at the site: π of the evidence formula, and a prior for the fusion."""
        return dict(zip(CLASSES, self.prior, strict=True))

    def summary(self) -> dict[str, Any]:
        """For an explanation: which recalibration spoke."""
        return {"reference": self.reference, "cases": self.cases, "shares": self.shares()}


UNCHANGED = Site(1.0, (0.0,) * len(CLASSES), (1 / len(CLASSES),) * len(CLASSES), 0)


def learn(p: Array, y: Rows, *, picked: bool = False) -> Site:
    """From probabilities (n, 3) of the shipped model and true classes (n,) of local cases.

    ``picked``: the cases were chosen, not taken as they came, so that their shares say nothing: π stays equal.
    """
    count = np.bincount(y, minlength=len(CLASSES))
    even = np.full(len(CLASSES), 1 / len(CLASSES))
    prior = even if picked else (count + SHARE_CASES * even) / (len(y) + SHARE_CASES)
    weights = _even(count)[y] if picked else np.ones(len(y))
    logs = np.log(np.clip(p, 1e-12, 1))

    def loss(x: Array) -> float:
        said = log_softmax(logs / np.exp(x[0]) + x[1:] + np.log(prior), axis=1)
        return float(-(weights * said[np.arange(len(y)), y]).sum() + np.square(x).sum() / (2 * LOOSE**2))

    best = minimize(loss, np.zeros(1 + len(CLASSES)), method="BFGS").x
    bias = best[1:] - best[1:].mean()
    return Site(float(np.exp(best[0])), tuple(bias.tolist()), tuple(prior.tolist()), len(y))


def _even(count: npt.NDArray[np.int64]) -> Array:
    return np.asarray(count.sum() / (np.count_nonzero(count) * np.maximum(count, 1)))


def read_site(folder: Path, bundle: Bundle) -> Site:
    """The recalibration in ``folder``, whole and made for ``bundle``.

    BundleError where a file was changed or is missing; InputRejected (unfit_site) where it is of another bundle.
    """
    kept = load_bundle(folder)
    said = kept.manifest
    if kept.name != NAME or said["recalibrates"]["sha256"] != bundle.sha256:
        raise InputRejected(
            "unfit_site",
            place=str(folder),
            problem=f"This is no recalibration of {bundle.reference} as it is now.",
            remedy="Make it again: python -m genomics recalibrate labs.",
        )
    learned = said["calibration"]
    return Site(
        float(learned["temperature"]),
        tuple(float(learned["bias"][name]) for name in CLASSES),
        tuple(float(learned["prior"][name]) for name in CLASSES),
        int(said["cases"]["n"]),
        f"{kept.reference}#{kept.sha256}",
    )
