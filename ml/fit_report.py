"""What a trained network is worth: held-out figures beside those of baselines that cannot know any morphology."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix

from ml import pictures
from ml.calibration import (
    apply_temperature,
    brier_score,
    expected_calibration_error,
    fit_temperature,
    interval_text,
    log_loss,
    metrics_report,
    resamples,
)
from ml.training import forest_p

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ml.fit_data import Floats, Rows, Squares

ROUNDS = 500
NOTE = (
    "Held-out images of the folds named. Intervals: 95 %, bootstrap over groups. Temperature of each fold from its "
    "validation part, which is of the training folds."
)
SERIES_NOTE = " Each image of a series is given the answer of its series."
BASELINES = {
    "colour alone": "random forest on the mean and deviation of each channel",
    "corner alone": "random forest on the binarised scale-bar corner (48 × 24, bottom right)",
    "majority": "the commonest class of the training folds",
}


@dataclass(frozen=True)
class Result:
    """A fold's held-out ``rows`` (m,) with their ``logits`` (m, classes), its temperature and how it was trained."""

    fold: int
    rows: Rows
    logits: Floats
    temperature: float
    trained: dict[str, Any]

    def write(self, path: Path) -> None:
        said = {"fold": self.fold, "rows": self.rows.tolist(), "logits": self.logits.tolist()}
        path.write_text(json.dumps(said | {"temperature": self.temperature, "trained": self.trained}), "utf-8")

    @classmethod
    def read(cls, path: Path) -> Result:
        said = json.loads(path.read_text("utf-8"))
        rows, logits = np.array(said["rows"], dtype=np.int64), np.array(said["logits"])
        return cls(said["fold"], rows, logits, said["temperature"], said["trained"])


def temperature_of(logits: Floats, y: Rows) -> float:
    return fit_temperature(logits, y) if np.isfinite(logits).all() else 1.0


def by_image(logits: Floats, units: Rows, rows: Rows) -> Floats:
    """Logits (n, classes) of the images ``rows``: each has those of the unit that holds it."""
    table = np.zeros((int(units.max()) + 1, logits.shape[1]))
    table[units] = logits[:, None, :]
    return table[rows]


def metrics_of(
    results: Sequence[Result], y: Rows, labels: tuple[str, ...], groups: npt.NDArray[Any], *, series: bool
) -> dict[str, Any]:
    """metrics_report of all folds' held-out images, with macro specificity, and what calibration changed."""
    rows = np.concatenate([result.rows for result in results])
    raw = np.concatenate([apply_temperature(result.logits, 1.0) for result in results])
    p = np.concatenate([apply_temperature(result.logits, result.temperature) for result in results])
    said = metrics_report(p, y[rows], labels, groups[rows])
    said["figures"]["sensitivity_macro"] = said["figures"]["balanced_accuracy"]
    said["figures"]["specificity_macro"] = specificity(p, y[rows], groups[rows])
    uncalibrated = {
        "ece": expected_calibration_error(raw, y[rows]),
        "brier": brier_score(raw, y[rows]),
        "log_loss": log_loss(raw, y[rows]),
    }
    temperatures = {str(result.fold): result.temperature for result in results}
    note = NOTE + (SERIES_NOTE if series else "")
    return said | {"uncalibrated": uncalibrated, "temperature": temperatures, "note": note}


def macro_specificity(p: Floats, y: Rows) -> float:
    """Mean over the classes in ``y`` of the share of other images that are not called so."""
    answer = p.argmax(axis=1)
    shares = [float((answer[y != k] != k).mean()) for k in np.unique(y) if (y != k).any()]
    return float(np.mean(shares)) if shares else float("nan")


def specificity(p: Floats, y: Rows, groups: npt.NDArray[Any], seed: int = 0) -> dict[str, float]:
    """Macro specificity with its 95 % percentile bootstrap over ``groups``."""
    draws = [macro_specificity(p[rows], y[rows]) for rows in resamples(groups, ROUNDS, seed)]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return {"value": macro_specificity(p, y), "low": float(low), "high": float(high)}


def baselines_of(
    folds: Sequence[tuple[Rows, Rows]],
    squares: Squares,
    y: Rows,
    labels: tuple[str, ...],
    groups: npt.NDArray[Any],
    seed: int,
) -> dict[str, Any]:
    """metrics_report of each of BASELINES on the same ``folds``, (training rows, held-out rows) of each."""
    held = np.concatenate([rows for _, rows in folds])
    seen: dict[str, npt.NDArray[Any]] = {"colour alone": squares.colours, "corner alone": squares.corners}
    said: dict[str, Any] = {}
    for name, x in seen.items():
        parts = [forest_p(x, y, learn, rows, len(labels), seed) for learn, rows in folds]
        said[name] = metrics_report(np.concatenate(parts), y[held], labels, groups[held])
    shares = [
        np.tile(np.bincount(y[learn], minlength=len(labels)) / len(learn), (len(rows), 1)) for learn, rows in folds
    ]
    said["majority"] = metrics_report(np.concatenate(shares), y[held], labels, groups[held])
    return {name: report | {"what": BASELINES[name]} for name, report in said.items()}


def write_report(out: Path, said: dict[str, Any], results: Sequence[Result], y: Rows) -> None:
    """``metrics.json`` and the three pictures of a run."""
    (out / "metrics.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for name, picture in pictures_of(said, results, y).items():
        (out / name).write_bytes(picture)


def pictures_of(said: dict[str, Any], results: Sequence[Result], y: Rows) -> dict[str, bytes]:
    title = f"{said['network']}, {said['split']}"
    rows = np.concatenate([result.rows for result in results])
    p = np.concatenate([apply_temperature(result.logits, result.temperature) for result in results])
    matrix = confusion_matrix(y[rows], p.argmax(axis=1), labels=range(len(said["labels"])))
    histories = {str(result.fold): result.trained["history"] for result in results}
    return {
        "confusion.png": pictures.confusion_png(matrix, said["labels"], title),
        "curves.png": pictures.curves_png(histories, title),
        "reliability.png": pictures.reliability_png(p, y[rows], title),
    }


def summary(said: dict[str, Any]) -> list[str]:
    """Lines for a person: the network's figures, and the baselines' beside them."""
    lines = [f"{said['network']}, {said['split']} split, {said['n']} held-out images ({said['trained']['weights']})"]
    shown = ("accuracy", "sensitivity_macro", "specificity_macro", "f1_macro", "auc_macro", "ece", "brier")
    lines += [f"{name}\t{interval_text(said['figures'][name])}" for name in shown]
    for name, report in said["baselines"].items():
        accuracy, f1 = (report["figures"][key] for key in ("accuracy", "f1_macro"))
        lines.append(f"beside it, {name}: accuracy {interval_text(accuracy)}, macro F1 {f1['value']:.3f}")
    return lines
