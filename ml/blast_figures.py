"""Blast or not, the question that must hold in another laboratory: its threshold and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

from ml import smear_cell
from ml.calibration import apply_temperature
from ml.cell_view import shown
from ml.networks import embed
from ml.site_threshold import log_odds
from ml.smear_data import first_frame
from ml.training import scored
from ml.weak_cells import WeakCells, whole_cells

if TYPE_CHECKING:
    from pathlib import Path

    from ml.heads import Floats, Head, Labels
    from ml.networks import Trunk

CELLS = "Sidhom et al. 2021, discovery cohort"
FIELDS = "Aria et al. 2021, mean over the cells found in a field"
LABELS = ("other", "blast")


@dataclass(frozen=True)
class BlastFigures:
    """``p`` (n, classes) and ``weak_p`` (m, classes): held-out probabilities of named and of weak cells."""

    p: Floats
    y: Labels
    names: tuple[str, ...]
    patient: npt.NDArray[Any]
    weak: WeakCells
    weak_p: Floats

    @property
    def truth(self) -> Labels:
        return np.isin(self.y, self._columns).astype(np.int64)

    @property
    def thresholds(self) -> dict[str, float]:
        """For site_threshold: the threshold, and where the log-odds of normal cells lie; laboratories count alike."""
        others = [log_odds(p[truth == 0]) for truth, p in self.laboratories]
        return {
            "threshold": self.threshold,
            "normal_mean": float(np.mean([own.mean() for own in others])),
            "normal_sd": float(np.sqrt(np.mean([own.var() for own in others]))),
        } | ({"of_field": youden(*self.of_fields[:2])} if len(self.weak.field) else {})

    @property
    def threshold(self) -> float:
        """One for both laboratories: of their cells, each kind of each counts the same."""
        truth, p = (np.concatenate(part) for part in zip(*self.laboratories, strict=True))
        weight = [1 / np.bincount(of)[of] for of, _ in self.laboratories]
        return youden(truth, p, np.concatenate(weight))

    @property
    def laboratories(self) -> list[tuple[Labels, Floats]]:
        """Of each: blast or not, by its name or by its field, and P(blast)."""
        named = self.truth, self._blast(self.p)
        weak = self.weak.leukaemic.astype(np.int64), self._blast(self.weak_p)
        return [named, weak] if len(self.weak.field) else [named]

    @property
    def of_fields(self) -> tuple[Labels, Floats, Labels]:
        """Of each field with cells: leukaemic or not, the mean P(blast) of its cells, its block of neighbours."""
        field, first = np.unique(self.weak.field, return_index=True)
        blast = self._blast(self.weak_p)
        mean = np.bincount(self.weak.field, blast)[field] / np.bincount(self.weak.field)[field]
        return self.weak.leukaemic[first].astype(np.int64), mean, self.weak.block[first]

    def metrics(self, shifted: Floats) -> dict[str, Any]:
        split = "5-fold grouped by patient"
        said = {
            "cells: blast or promyelocyte": self._scored(self.p, CELLS, split),
            "cells: blast or promyelocyte, another stain": self._scored(
                shifted, f"{CELLS}, hue, saturation, contrast and brightness moved strongly at random", split
            ),
        }
        if not len(self.weak.field):
            return said
        truth, mean, block = self.of_fields
        split = "5-fold by contiguous file-number blocks"
        return said | {
            "fields by their cells: leukaemic or not": scored(two(mean), truth, LABELS, FIELDS, split, block)
        }

    def asked(self, trunk: Trunk, head: Head, temperature: float, foreign: Path | None) -> list[str]:
        """What share of another laboratory's normal cells is called a blast."""
        if not foreign:
            return []
        views = [seen for path in sorted(foreign.iterdir()) for seen in whole_cells(first_frame(path))]
        blast = self._blast(apply_temperature(head.logits(embed(trunk, shown(views))), temperature))
        share = {cut: float((blast > cut).mean()) for cut in (0.5, self.threshold)}
        said = " and ".join(f"{value:.1%} above {cut:.2f}" for cut, value in share.items())
        whose = "Another laboratory without leukaemia (BCCD)"
        return [f"{whose}: of {len(views)} whole cells, never learned from, {said} are called blast or promyelocyte."]

    @property
    def _columns(self) -> list[int]:
        return [self.names.index(name) for name in smear_cell.BLAST_OR_PROMYELOCYTE]

    def _blast(self, p: Floats) -> Floats:
        return np.asarray(p[:, self._columns].sum(axis=1))

    def _scored(self, p: Floats, data: str, split: str) -> dict[str, Any]:
        return scored(two(self._blast(p)), self.truth, LABELS, data, split, self.patient)


def youden(truth: Labels, p: Floats, weight: Floats | None = None) -> float:
    """Where sensitivity and specificity are together largest (Youden 1950)."""
    false, true, at = roc_curve(truth, p, sample_weight=weight)
    return float(np.clip(at[(true - false).argmax()], 0, 1))


def two(p: Floats) -> Floats:
    """P(blast) (n,) → (n, 2)."""
    return np.column_stack([1 - p, p])
