"""Train, judge and seal the ``labs`` bundle."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import confusion_matrix

from genomics.cards import DATA_LABS, write_card
from genomics.labs.data import COLUMNS, FILE, LabSet, load_labs
from genomics.labs.features import BASE, CLASSES, FEATURES, features
from genomics.labs.fitting import COPIES, TREES, Fitted, fit, thinned
from genomics.labs.judge import judge
from genomics.labs.model import FULL, LINES_FILE, SCOPE, load_scope, probabilities
from genomics.labs.scope import fit_scope, judge_scope, transform
from ml.bundle import Bundle, seal_bundle
from ml.diagnosis_tree import load_tree
from ml.pictures import confusion_png, coverage_png, reliability_png

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

VERSION = "1.1.0"
LIMITS = [
    (
        "Trained on adults of two French centres with acute leukaemia: it has never seen a healthy person, a chronic "
        "leukaemia or a reactive count, and names one of three leukaemias whatever it is given."
    ),
    (
        "Probabilities take ALL, AML and APL to be equally common, because centres differ in that more than in "
        "anything else: a site's own shares come by recalibration, or by the prior of the fusion."
    ),
    "At another centre it is right less often and no better calibrated than the rows 'other centre' say: recalibrate.",
    "Of 679 patients 13 were younger than 18: no use for children.",
    "Routine labs say little of subtypes: ALL, AML and APL are all that is told apart. MPAL is not a label.",
    "Prothrombin time is used in per cent of normal only; seconds and INR are read and not used.",
]


def train(data: Path, out: Path, *, seed: int, oof: Path | None = None) -> Bundle:
    """Train on ``data``, write the bundle to ``out/labs/VERSION`` and the held-out predictions to ``oof``."""
    started = time.monotonic()
    labs = load_labs(data)
    judged = judge(labs, seed)
    models = {which: fit(labs.X, labs.y, which, seed) for which in TREES}
    scope = fit_scope(labs.X)
    folder = out / "labs" / VERSION
    _write_models(folder, models, scope, labs)
    if oof:
        _write_oof(oof, labs, judged.p, scope)
    manifest = _manifest(labs, models) | {
        "cut_offs": judged.cut_offs,
        "coverage": judged.coverage,
        "metrics": judged.metrics,
        "baselines": judged.baselines,
        "trained": {
            "command": f"python -m genomics train labs --data DATA --out ml/bundles --seed {seed}",
            "seed": seed,
            "date": time.strftime("%Y-%m-%d"),
            "device": "cpu",
            "minutes": round((time.monotonic() - started) / 60, 2),
        },
    }
    write_card(folder, manifest)
    append_to_card(folder / "card.md", manifest)
    write_pictures(folder, labs.y, judged.p, judged.across)
    return seal_bundle(folder, manifest)


def _write_models(folder: Path, models: dict[str, Fitted], scope: dict[str, Any], labs: LabSet) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for which, model in models.items():
        (folder / f"{which}.txt").write_text(model.members.trees.model_to_string(), "utf-8")
    lines = {which: model.members.line.as_dict() for which, model in models.items()}
    (folder / LINES_FILE).write_text(json.dumps(lines), "utf-8")
    (folder / SCOPE).write_text(json.dumps(scope), "utf-8")
    (folder / "statistics.json").write_text(json.dumps(class_statistics(labs)), "utf-8")


def write_pictures(folder: Path, y: Rows, p: Array, across: Array) -> None:
    """Reliability, confusion and coverage of the held-out predictions (n, 3): five folds, and the other centre."""
    splits = {"5-fold": p, "other centre": across}
    for name, said in splits.items():
        stem = name.replace(" ", "-")
        matrix = confusion_matrix(y, said.argmax(axis=1), labels=range(len(CLASSES)))
        (folder / f"confusion-{stem}.png").write_bytes(confusion_png(matrix, CLASSES, name))
        (folder / f"reliability-{stem}.png").write_bytes(reliability_png(said, y, name))
    (folder / "coverage.png").write_bytes(coverage_png({name: (said, y) for name, said in splits.items()}))


def append_to_card(card: Path, manifest: dict[str, Any]) -> None:
    """What a card of expression does not have: how the classes weigh, AUC of each, answers against errors."""
    count = ", ".join(f"{said['n']} {name}" for name, said in manifest["labels"].items())
    lines = ["", "## Classes", "", f"Trained on {count}, weighed as if equally common: hence the shares above.", ""]
    lines += ["| AUC, one against the rest | " + " | ".join(CLASSES) + " |", "|---|---|---|---|"]
    for split, said in manifest["metrics"].items():
        each = [said["per_class"][name] for name in CLASSES]
        shown = [f"{c['auc']:.3f} ({c['auc_low']:.3f}–{c['auc_high']:.3f})" for c in each]
        lines.append("| " + " | ".join([split, *shown]) + " |")
    lines += _coverage_lines(manifest["coverage"])
    card.write_text(card.read_text("utf-8") + "\n".join(lines) + "\n", "utf-8")


def _coverage_lines(coverage: dict[str, Any]) -> list[str]:
    lines = ["", "## Surest answers first", "", "Share right among the surest 40, 50, 70 and 100 % of patients.", ""]
    lines += ["| split | 40 % | 50 % | 70 % | 100 % | above the cut-off |", "|---|---|---|---|---|---|"]
    for split, said in coverage.items():
        shares = [f"{said['accuracy'][key]:.3f}" for key in ("0.4", "0.5", "0.7", "1.0")]
        above = said["above_cut_off"]
        last = f"{above['accuracy']:.3f} of {above['coverage']:.0%}" if above["n"] else "none"
        lines.append("| " + " | ".join([split, *shares, last]) + " |")
    note = "The cut-off aims at 95 % right; it is chosen inside each training fold and judged on the other rows."
    pictures = "Pictures beside this card: confusion, reliability, and coverage against accuracy."
    return [*lines, "", note, "", pictures]


def class_statistics(labs: LabSet) -> dict[str, Any]:
    """Class → mean and covariance of the transformed values: what synthetic panels are drawn from."""
    out = {}
    for k, name in enumerate(CLASSES):
        Z = np.ma.masked_invalid(transform(labs.X[labs.y == k]))
        out[name] = {
            "mean": np.asarray(Z.mean(axis=0)).tolist(),
            "covariance": np.asarray(np.ma.cov(Z, rowvar=False)).tolist(),
        }
    return out


def _scores(X: Array, scope: dict[str, Any]) -> Array:
    rows = [{k: v for k, v in zip(BASE, row, strict=True) if np.isfinite(v)} for row in X]
    return np.array([judge_scope(values, features(values), scope)[0] for values in rows])


def _write_oof(path: Path, labs: LabSet, p: Array, scope: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"labs-{k}" for k in range(len(labs.y))]
    told = {
        "id": ids,
        "group": ids,
        "cohort": labs.centre,
        "y": np.array(CLASSES)[labs.y],
        "in_scope": _scores(labs.X, scope),
    }
    pd.DataFrame(told | {f"p:{name}": p[:, k] for k, name in enumerate(CLASSES)}).to_csv(path, index=False)


def _manifest(labs: LabSet, models: dict[str, Fitted]) -> dict[str, Any]:
    tree = load_tree()
    aml = [leaf for leaf in tree.leaves_under("aml") if leaf != "apl"]
    leaves = {"ALL": list(tree.leaves_under("all")), "AML": aml, "APL": ["apl"]}
    count = np.bincount(labs.y, minlength=len(CLASSES)).tolist()
    even = 1 / len(CLASSES)  # classes weigh the same in training, so this is the share that evidence is relative to
    return {
        "name": "labs",
        "version": VERSION,
        "modality": "labs",
        "labels": {
            c: {"name": c, "leaves": leaves[c], "training_share": even, "n": count[k]} for k, c in enumerate(CLASSES)
        },
        "preprocessing": {
            "features": list(FEATURES),
            "full_from": FULL,
            "missing": "left to the trees; at its mean in the logistic regression; counts from shares",
        },
        "calibration": {"temperature": {which: model.temperature for which, model in models.items()}},
        "thresholds": {
            "min_analytes": 3,
            "low_scope": 0.5,
            "cut_off": {which: model.cut_off for which, model in models.items()},
        },
        "in_scope": {"method": "reference intervals, age, Mahalanobis distance of log values"},
        "data": [DATA_LABS],
        "licence": "research use",
        "intended_use": "A hint at ALL, AML or APL from routine labs of an adult in whom acute leukaemia is suspected, "
        "above all that APL is not missed. Never to rule leukaemia in or out.",
        "limits": LIMITS,
    }


def pairs(data: Path, bundle: Bundle, expression_oof: Path, target: Path) -> None:
    """TCGA-LAML: what labs and (held-out) expression say of the same 105 patients → ``target``.

    Labs come from two other centres, so that every TCGA patient is new to them.
    """
    said = pd.read_csv(data / "expression" / "aml_labels_and_labs.csv").set_index("sample")
    names = {"age": "age", "wbc": "wbc", "plt": "platelets", "mono_pct": "monocytes_percent"}
    rows = [
        {names[str(k)]: float(v) for k, v in row.items() if pd.notna(v)}
        for row in said[list(names)].to_dict(orient="records")
    ]
    p = probabilities(bundle, "sparse", np.array([features(row) for row in rows]))
    scope = load_scope(bundle.file(SCOPE), bundle.sha256)
    labs = pd.DataFrame(p, columns=[f"p:labs:{name}" for name in CLASSES], index=said.index)
    labs["in_scope:labs"] = [judge_scope(row, features(row), scope)[0] for row in rows]
    held = pd.read_csv(expression_oof).set_index("id").loc[said.index]
    renamed = {c: c.replace("p:", "p:expression:", 1) for c in held.columns if c.startswith("p:")} | {
        "in_scope": "in_scope:expression"
    }
    table = pd.concat([held[["y"]], labs, held[list(renamed)].rename(columns=renamed)], axis=1)
    table.to_csv(target, index_label="id")


__all__ = ["COLUMNS", "COPIES", "FILE", "TREES", "VERSION", "load_labs", "pairs", "thinned", "train"]
