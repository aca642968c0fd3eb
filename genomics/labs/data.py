"""The two centres that the labs model learns from, in canonical units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from genomics.labs.features import BASE, CLASSES

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

FILE = "acute_leukemia_labs_two_centres.csv"
COLUMNS = {
    "age": "age",
    "wbc": "WBC_G_L",
    "mcv": "MCV_fL",
    "mchc": "MCHC_g_L",
    "anc_percent": "ANC_percent",
    "anc": "ANC_G_L",
    "lymphocytes_percent": "Lymphocytes_percent",
    "lymphocytes": "Lymphocytes_G_L",
    "monocytes_percent": "Monocytes_percent",
    "monocytes": "Monocytes_G_L",
    "platelets": "Platelets_G_L",
    "pt_percent": "PT_percent",
    "fibrinogen": "Fibrinogen_g_L",
    "ldh": "LDH_UI_L",
}


@dataclass(frozen=True)
class LabSet:
    """``X`` (n, BASE) in canonical units, NaN where missing; ``y`` (n,) classes; ``centre`` (n,)."""

    X: Array
    y: Rows
    centre: npt.NDArray[np.object_]

    def centres(self) -> list[str]:
        return sorted(set(self.centre.tolist()))


def load_labs(data: Path) -> LabSet:
    """The file's own units are canonical. A share above 100 % counts as missing."""
    frame = pd.read_csv(data / "labs" / FILE)
    X = frame[[COLUMNS[key] for key in BASE]].to_numpy(dtype=np.float64)
    for k, key in enumerate(BASE):
        if key.endswith("_percent") and key != "pt_percent":
            X[X[:, k] > 100, k] = np.nan
    y = np.array([CLASSES.index(name) for name in frame["Response"]], dtype=np.int64)
    return LabSet(X, y, frame["centre"].to_numpy(dtype=object))
