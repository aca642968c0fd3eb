"""One panel → one finding: ALL, AML or APL, with what each value contributed, and whether the answer stands."""

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
from genomics.labs.features import BASE, CLASSES, FEATURES, RATIOS, derived, features, with_ratios
from genomics.labs.members import Line, Members
from genomics.labs.reader import check_enough
from genomics.labs.scope import judge_scope
from ml.findings import Finding, InputRejected, QualityFlag, percent

if TYPE_CHECKING:
    from pathlib import Path

    from genomics.labs.reader import LabPanels
    from genomics.labs.site import Site
    from ml.bundle import Bundle

Array = npt.NDArray[np.float64]

FULL = 12  # values from which the model of complete panels speaks; below it, the one that was taught to miss values
SCOPE, LINES_FILE = "scope.json", "lines.json"
METHOD = "exact contributions to the log-odds: SHAP of the trees and terms of the logistic regression, averaged"


def predict(
    panels: LabPanels,
    bundle: Bundle,
    progress: Callable[[int, int, str], None] | None = None,
    site: Site | None = None,
) -> Finding:
    """The finding of the one panel in ``panels`` (``load_canonical``; ``panels.only(id)`` where there are several).

    InputRejected (several_panels, insufficient). Probabilities take the three classes to be equally common, or as
    common as at ``site``. No label where the panel is out of scope (a child's, a healthy person's, values that do not
    go together) or where the answer hangs on a value that is in question. ``explanation``: exact contributions to the
    log-odds of the answer against the runner-up (SHAP: Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9).
    """
    _check_one(panels)
    values = panels.values[0]
    check_enough(values, f"panel {panels.ids[0]}")
    which, row = choose(values), features(values)
    members, scale, shift = load_members(bundle, which), _scale(bundle, which, site), _shift(site)
    p = _probabilities(members, row, scale, shift)
    in_scope, reasons = judge_scope(values, row, load_scope(bundle.file(SCOPE), bundle.sha256))
    hangs = _hangs_on_question(panels, bundle, site, int(p.argmax()))
    if progress:
        progress(1, 1, "labs: done")
    spoken = in_scope >= bundle.manifest["thresholds"]["low_scope"] and not hangs
    return Finding(
        modality="labs",
        bundle=bundle.reference,
        bundle_sha256=bundle.sha256,
        label=CLASSES[int(p.argmax())] if spoken else None,
        probabilities=dict(zip(CLASSES, p.tolist(), strict=True)),
        in_scope=in_scope,
        leaves=bundle.leaves,
        training_share=site.shares() if site else bundle.training_share,
        quality=(*panels.flags, *_cut_off(float(p.max()), bundle, which)),
        reasons=(*reasons, *hangs),
        explanation=_explanation(members, row, scale, shift)
        | {"model": which, "derived": derived(values), "site": site.summary() if site else None},
    )


def _check_one(panels: LabPanels) -> None:
    if len(panels.ids) != 1:
        raise InputRejected(
            "several_panels",
            place="labs",
            problem=f"There are {len(panels.ids)} panels.",
            remedy="Name one with the option `sample`.",
        )


def choose(values: dict[str, float]) -> str:
    """Which of the two models speaks of so many values."""
    return "full" if np.isfinite(features(values)).sum() >= FULL else "sparse"


def _scale(bundle: Bundle, which: str, site: Site | None) -> float:
    return float(bundle.manifest["calibration"]["temperature"][which]) * (site.temperature if site else 1.0)


def _shift(site: Site | None) -> Array:
    return site.shift() if site else np.zeros(len(CLASSES))


def _probabilities(members: Members, row: Array, scale: float, shift: Array) -> Array:
    return np.asarray(softmax(members.margins(row[None])[0] / scale + shift))


def _hangs_on_question(panels: LabPanels, bundle: Bundle, site: Site | None, answer: int) -> list[str]:
    """A sentence where leaving out the values in question would change the answer, or leave too little to judge."""
    asked = panels.questioned[0] if panels.questioned else ()
    if not asked:
        return []
    rest = {key: value for key, value in panels.values[0].items() if key not in asked}
    names = ", ".join(load_analytes()[key].name for key in asked)
    try:
        check_enough(rest, "panel")
    except InputRejected:
        return [f"Without the values in question ({names}) too little is left: confirm them first."]
    which = choose(rest)
    p = _probabilities(load_members(bundle, which), features(rest), _scale(bundle, which, site), _shift(site))
    if int(p.argmax()) == answer:
        return []
    return [f"The answer hangs on values in question ({names}): without them it would be another. Confirm them first."]


def _cut_off(sure: float, bundle: Bundle, which: str) -> list[QualityFlag]:
    """A flag where the answer is less sure than those of which the card states how many are right."""
    needed, stated = bundle.manifest["thresholds"]["cut_off"][which], bundle.manifest["cut_offs"][which]
    if sure >= needed:
        return []
    if needed > 1 or stated["accuracy"] is None:
        known = "no probability is high enough to rely on, with so few values"
    else:
        known = (
            f"of held-out answers at {percent(needed)} or more {stated['accuracy']:.0%} were right "
            f"({stated['coverage']:.0%} of patients)"
        )
    message = f"A hint, not an answer to rely on: {known}; here it is {percent(sure)}."
    return [QualityFlag("below_cut_off", message)]


def probabilities(bundle: Bundle, which: str, X: Array) -> Array:
    """(n, BASE) → (n, 3) calibrated, classes taken to be equally common."""
    margins = load_members(bundle, which).margins(X)
    return np.asarray(softmax(margins / _scale(bundle, which, None), axis=1))


def load_members(bundle: Bundle, which: str) -> Members:
    trees = load_booster(bundle.file(f"{which}.txt"), bundle.sha256)
    return Members(trees, _load_line(bundle.file(LINES_FILE), bundle.sha256, which))


@lru_cache(maxsize=8)
def load_booster(path: Path, sha256: str) -> lgb.Booster:  # noqa: ARG001 (the hash is part of the key)
    return lgb.Booster(model_str=path.read_text("utf-8"))


@lru_cache(maxsize=8)
def _load_line(path: Path, sha256: str, which: str) -> Line:  # noqa: ARG001 (the hash is part of the key)
    said = json.loads(path.read_text("utf-8"))[which]
    return Line(**{name: np.array(value, dtype=np.float64) for name, value in said.items()})


@lru_cache(maxsize=4)
def load_scope(path: Path, sha256: str) -> dict[str, Any]:  # noqa: ARG001 (the hash is part of the key)
    said: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return said


def _explanation(members: Members, row: Array, scale: float, shift: Array) -> dict[str, Any]:
    parts = members.parts(row[None])[0] / scale
    parts[:, -1] += shift
    answer, rival = (int(k) for k in np.argsort(-parts.sum(axis=1))[:2])
    gap, shown = parts[answer] - parts[rival], with_ratios(row[None])[0]
    return {
        "method": METHOD,
        "answer": CLASSES[answer],
        "against": CLASSES[rival],
        "log_odds": float(gap.sum()),
        "intercept": float(gap[-1]),
        "labs": [_part(FEATURES[k], shown[k], gap[k]) for k in np.argsort(-np.abs(gap[:-1]))],
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


__all__ = ["BASE", "CLASSES", "FEATURES", "choose", "predict", "probabilities"]
