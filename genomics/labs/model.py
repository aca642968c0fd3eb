"""One panel → one finding: ALL, AML or APL by gradient-boosted trees, with what each value contributed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from genomics.labs.analytes import load_analytes
from genomics.labs.reader import check_enough
from genomics.labs.scope import judge_scope
from ml.findings import Finding, InputRejected

if TYPE_CHECKING:
    from pathlib import Path

    from genomics.labs.reader import LabPanels
    from ml.bundle import Bundle

Array = npt.NDArray[np.float64]

BASE = tuple(key for key, analyte in load_analytes().items() if analyte.used)


def _rest(c: dict[str, Array]) -> Array:
    return 100 - c["anc_percent"] - c["lymphocytes_percent"] - c["monocytes_percent"]


RATIOS: dict[str, tuple[str, str, Callable[[dict[str, Array]], Array]]] = {  # key → name, unit, from columns of BASE
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
CLASSES = ("ALL", "AML", "APL")
SHARES = {"anc": "anc_percent", "lymphocytes": "lymphocytes_percent", "monocytes": "monocytes_percent"}
FULL = 12  # values from which the model of complete panels speaks; below it, the one that was taught to miss values
SCOPE = "scope.json"


def predict(panels: LabPanels, bundle: Bundle, progress: Callable[[int, int, str], None] | None = None) -> Finding:
    """The finding of the one panel in ``panels`` (``load_canonical``; ``panels.only(id)`` where there are several).

    InputRejected (several_panels, insufficient). No label where the panel is out of scope: a child's, a healthy
    person's, values that do not go together. ``explanation``: exact SHAP contributions to the log-odds of the answer
    against the runner-up (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9).
    """
    if len(panels.ids) != 1:
        raise InputRejected(
            "several_panels",
            place="labs",
            problem=f"There are {len(panels.ids)} panels.",
            remedy="Name one with the option `sample`.",
        )
    values = panels.values[0]
    check_enough(values, f"panel {panels.ids[0]}")
    row = features(values)
    which = "full" if np.isfinite(row[: len(BASE)]).sum() >= FULL else "sparse"
    temperature = bundle.manifest["calibration"]["temperature"][which]
    booster = load_booster(bundle.file(f"{which}.txt"), bundle.sha256)
    p = probabilities(booster, row[None], temperature)[0]
    said = dict(zip(CLASSES, p.tolist(), strict=True))
    in_scope, reasons = judge_scope(values, row[: len(BASE)], load_scope(bundle.file(SCOPE), bundle.sha256))
    if progress:
        progress(1, 1, "labs: done")
    return Finding(
        modality="labs",
        bundle=bundle.reference,
        bundle_sha256=bundle.sha256,
        label=max(said, key=said.__getitem__) if in_scope >= bundle.manifest["thresholds"]["low_scope"] else None,
        probabilities=said,
        in_scope=in_scope,
        leaves=bundle.leaves,
        training_share=bundle.training_share,
        quality=panels.flags,
        reasons=tuple(reasons),
        explanation=_explanation(booster, row, p, temperature) | {"model": which, "derived": derived(values)},
    )


def features(values: dict[str, float]) -> Array:
    """(FEATURES,) in canonical units, NaN where missing; counts and shares of cells are computed where WBC allows."""
    full = {**values, **derived(values)}
    return with_ratios(np.array([[full.get(key, np.nan) for key in BASE]], dtype=np.float64))[0]


def with_ratios(X: Array) -> Array:
    """(n, BASE) → (n, FEATURES)."""
    columns = {key: X[:, k] for k, key in enumerate(BASE)}
    return np.column_stack([X, *(make(columns) for _, _, make in RATIOS.values())])


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


def probabilities(booster: lgb.Booster, X: Array, temperature: float) -> Array:
    """(n, 3) calibrated."""
    return np.asarray(softmax(np.asarray(booster.predict(X, raw_score=True, num_threads=1)) / temperature, axis=1))


@lru_cache(maxsize=8)
def load_booster(path: Path, sha256: str) -> lgb.Booster:  # noqa: ARG001 (the hash is part of the key)
    return lgb.Booster(model_str=path.read_text("utf-8"))


@lru_cache(maxsize=4)
def load_scope(path: Path, sha256: str) -> dict[str, Any]:  # noqa: ARG001 (the hash is part of the key)
    said: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return said


def _explanation(booster: lgb.Booster, row: Array, p: Array, temperature: float) -> dict[str, Any]:
    answer, rival = (int(k) for k in np.argsort(-p)[:2])
    each = np.asarray(booster.predict(row[None], pred_contrib=True, num_threads=1)).reshape(len(CLASSES), -1)
    parts = (each[answer] - each[rival]) / temperature
    return {
        "method": "exact SHAP contributions to the log-odds",
        "answer": CLASSES[answer],
        "against": CLASSES[rival],
        "log_odds": float(parts.sum()),
        "intercept": float(parts[-1]),
        "labs": [_part(FEATURES[k], row[k], parts[k]) for k in np.argsort(-np.abs(parts[:-1]))],
    }


def _part(key: str, value: float, contribution: float) -> dict[str, Any]:
    analyte = load_analytes().get(key)
    name, unit = (analyte.name, analyte.unit) if analyte else RATIOS[key][:2]
    return {
        "analyte": key,
        "name": name,
        "value": None if np.isnan(value) else float(value),
        "unit": unit,
        "reference": list(analyte.reference) if analyte and analyte.reference else None,
        "contribution": float(contribution),
        "direction": "for" if contribution > 0 else "against",
    }
