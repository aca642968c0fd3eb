"""A panel as numbers: the values themselves, the ratios that trees cannot make, the logarithms that a line needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from genomics.labs.analytes import load_analytes

Array = npt.NDArray[np.float64]
Columns = dict[str, Array]

BASE = tuple(key for key, analyte in load_analytes().items() if analyte.used)
CLASSES = ("ALL", "AML", "APL")
SHARES = {"anc": "anc_percent", "lymphocytes": "lymphocytes_percent", "monocytes": "monocytes_percent"}


def _rest(c: Columns) -> Array:
    return 100 - c["anc_percent"] - c["lymphocytes_percent"] - c["monocytes_percent"]


RATIOS: dict[str, tuple[str, str, Callable[[Columns], Array]]] = {  # key → name, unit, from columns of BASE
    "rest_percent": ("Cells outside the differential (mostly blasts)", "%", _rest),
    "rest": ("Cells outside the differential (mostly blasts)", "10*9/L", lambda c: _rest(c) * c["wbc"] / 100),
    "ldh_per_wbc": ("LDH per white cell", "U/10*9", lambda c: c["ldh"] / (c["wbc"] + 1)),
    "platelets_per_wbc": ("Platelets per white cell", "1", lambda c: c["platelets"] / (c["wbc"] + 1)),
    "anc_per_lymphocyte": ("Neutrophils per lymphocyte", "1", lambda c: c["anc"] / (c["lymphocytes"] + 0.05)),
    "monocytes_per_lymphocyte": ("Monocytes per lymphocyte", "1", lambda c: c["monocytes"] / (c["lymphocytes"] + 0.05)),
    "coagulation": ("Fibrinogen × prothrombin activity", "g%/L", lambda c: c["fibrinogen"] * c["pt_percent"]),
    "ldh_per_platelet": ("LDH per platelet", "U/10*9", lambda c: c["ldh"] / (c["platelets"] + 1)),
}
FEATURES = (*BASE, *RATIOS)


def _log(key: str, least: float) -> Callable[[Columns], Array]:
    """Logarithm of a value; ``least``, about the smallest step that is reported, keeps zero finite."""
    return lambda c: np.log(np.clip(c[key], 0, None) + least)


def _linear(key: str) -> Callable[[Columns], Array]:
    return lambda c: c[key]


LINES: tuple[tuple[str, Callable[[Columns], Array]], ...] = (  # the feature of FEATURES that each belongs to, and how
    ("age", _linear("age")),
    ("wbc", _log("wbc", 0.1)),
    ("mcv", _linear("mcv")),
    ("mchc", _linear("mchc")),
    ("anc_percent", _log("anc_percent", 1)),
    ("lymphocytes_percent", _log("lymphocytes_percent", 1)),
    ("monocytes_percent", _log("monocytes_percent", 1)),
    ("anc", _log("anc", 0.05)),
    ("lymphocytes", _log("lymphocytes", 0.05)),
    ("monocytes", _log("monocytes", 0.02)),
    ("platelets", _log("platelets", 1)),
    ("pt_percent", _linear("pt_percent")),
    ("fibrinogen", _log("fibrinogen", 0.2)),
    ("fibrinogen", _linear("fibrinogen")),
    ("ldh", _log("ldh", 1)),
    ("rest_percent", lambda c: np.clip(_rest(c), 0, 100)),
    ("rest", lambda c: np.log(np.clip(_rest(c), 0, 100) * c["wbc"] / 100 + 0.05)),
    ("ldh_per_wbc", lambda c: np.log(np.clip(c["ldh"], 0, None) / (c["wbc"] + 1) + 0.1)),
)


def features(values: dict[str, float]) -> Array:
    """(BASE,) in canonical units, NaN where missing; counts and shares of cells are computed where WBC allows."""
    full = {**values, **derived(values)}
    return np.array([full.get(key, np.nan) for key in BASE], dtype=np.float64)


def derived(values: dict[str, float]) -> dict[str, float]:
    """What follows from other values: cells = share · WBC, and back."""
    out: dict[str, float] = {}
    wbc = values.get("wbc", 0.0)
    for count, share in SHARES.items():
        if share in values and count not in values and wbc:
            out[count] = values[share] * wbc / 100
        elif count in values and share not in values and wbc >= values[count] > 0:
            out[share] = 100 * values[count] / wbc
    return out


def _columns(X: Array) -> Columns:
    return {key: X[:, k] for k, key in enumerate(BASE)}


def with_ratios(X: Array) -> Array:
    """(n, BASE) → (n, FEATURES), for the trees."""
    return np.column_stack([X, *(make(_columns(X)) for _, _, make in RATIOS.values())])


def lines(X: Array) -> Array:
    """(n, BASE) → (n, LINES), for the logistic model; NaN where a value is missing."""
    columns = _columns(X)
    return np.column_stack([make(columns) for _, make in LINES])
