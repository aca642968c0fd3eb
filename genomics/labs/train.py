"""Train, judge and seal the ``labs`` bundle."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from genomics.cards import DATA_LABS, write_card
from genomics.labs.model import BASE, CLASSES, FEATURES, FULL, SCOPE, features, probabilities, with_ratios
from genomics.labs.scope import fit_scope, judge_scope, transform
from ml.bundle import Bundle, seal_bundle
from ml.calibration import fit_temperature, metrics_report
from ml.diagnosis_tree import load_tree

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

VERSION = "1.0.0"
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
PARAMETERS = {
    "objective": "multiclass",
    "num_class": len(CLASSES),
    "num_leaves": 10,
    "learning_rate": 0.05,
    "min_child_samples": 5,
    "lambda_l2": 5.0,
    "extra_trees": True,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "verbose": -1,
}
TREES = {"full": 300, "sparse": 400}
COPIES = 4  # of every row, with values taken away, to teach the sparse model
FOLDS = 5
ALWAYS = ("wbc",)
TCGA_VALUES = ("age", "wbc", "platelets", "monocytes_percent", "monocytes")
LIMITS = [
    (
        "Trained on adults of two French centres with acute leukaemia: it has never seen a healthy person, a chronic "
        "leukaemia or a reactive count, and names one of three leukaemias whatever it is given."
    ),
    "Of 679 patients 13 were younger than 18: no use for children.",
    "Shares of ALL, AML and APL differ between the centres; recalibrate for a site before use.",
    "Routine labs say little of subtypes: ALL, AML and APL are all that is told apart. MPAL is not a label.",
    "Prothrombin time is used in per cent of normal only; seconds and INR are read and not used.",
]


@dataclass(frozen=True)
class LabSet:
    X: Array
    y: Rows
    centre: npt.NDArray[np.object_]


def load_labs(data: Path) -> LabSet:
    """The two centres in canonical units; the file's own units are canonical. A share above 100 % counts as missing."""
    frame = pd.read_csv(data / "labs" / FILE)
    X = frame[[COLUMNS[key] for key in BASE]].to_numpy(dtype=np.float64)
    for k, key in enumerate(BASE):
        if key.endswith("_percent") and key != "pt_percent":
            X[X[:, k] > 100, k] = np.nan
    y = np.array([CLASSES.index(name) for name in frame["Response"]], dtype=np.int64)
    return LabSet(X, y, frame["centre"].to_numpy(dtype=object))


def fit(X: Array, y: Rows, which: str, seed: int) -> lgb.Booster:
    """A model of complete panels (``full``), or one that has learned to do without values (``sparse``)."""
    if which == "sparse":
        X, y = thinned(X, y, np.random.default_rng(seed))
    return lgb.train({**PARAMETERS, "seed": seed}, lgb.Dataset(with_ratios(X), y), TREES[which])


def thinned(X: Array, y: Rows, rng: np.random.Generator) -> tuple[Array, Rows]:
    """The rows, and COPIES of them with up to 80 % of the values (never WBC) taken away."""
    copies = [X]
    keep = [BASE.index(key) for key in ALWAYS]
    for _ in range(COPIES):
        gone = rng.random(X.shape) < rng.uniform(0.2, 0.8, (len(X), 1))
        gone[:, keep] = False
        copies.append(np.where(gone, np.nan, X))
    return np.vstack(copies), np.tile(y, COPIES + 1)


def as_tcga(X: Array) -> Array:
    """Only what TCGA-LAML's table has."""
    return np.where(np.isin(BASE, TCGA_VALUES), X, np.nan)


def out_of_fold(labs: LabSet, which: str, parts: list[tuple[Rows, Rows]], seed: int) -> tuple[Array, Array]:
    """Raw margins (n, 3) of every row from the fold that has not seen it: as it is, and with TCGA's values alone."""
    margins, few = np.full((len(labs.y), len(CLASSES)), np.nan), np.full((len(labs.y), len(CLASSES)), np.nan)
    for train, test in tqdm(parts, desc=f"labs: {which}"):
        booster = fit(labs.X[train], labs.y[train], which, seed)
        margins[test] = booster.predict(with_ratios(labs.X[test]), raw_score=True, num_threads=1)
        few[test] = booster.predict(with_ratios(as_tcga(labs.X[test])), raw_score=True, num_threads=1)
    return margins, few


def train(data: Path, out: Path, *, seed: int, oof: Path | None = None) -> Bundle:
    """Train on ``data``, write the bundle to ``out/labs/VERSION`` and the held-out predictions to ``oof``."""
    started = time.monotonic()
    labs = load_labs(data)
    parts = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labs.X, labs.y))
    centres = [
        (np.flatnonzero(labs.centre != c), np.flatnonzero(labs.centre == c)) for c in sorted(set(labs.centre.tolist()))
    ]
    full, _ = out_of_fold(labs, "full", parts, seed)
    _, few = out_of_fold(labs, "sparse", parts, seed)
    across, _ = out_of_fold(labs, "full", centres, seed)
    temperature = {"full": fit_temperature(full, labs.y), "sparse": fit_temperature(few, labs.y)}
    scope = fit_scope(labs.X)
    folder = out / "labs" / VERSION
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for which in TREES:
        (folder / f"{which}.txt").write_text(fit(labs.X, labs.y, which, seed).model_to_string(), "utf-8")
    (folder / SCOPE).write_text(json.dumps(scope), "utf-8")
    (folder / "statistics.json").write_text(json.dumps(class_statistics(labs)), "utf-8")
    p = _softmax(full, temperature["full"])
    if oof:
        _write_oof(oof, labs, p, scope)
    manifest = _manifest(labs, temperature) | {
        "metrics": {
            "5-fold": _report(p, labs, "stratified 5-fold"),
            "other centre": _report(_softmax(across, temperature["full"]), labs, "leave one centre out"),
            **{
                f"{c} held out": _report(_softmax(across, temperature["full"]), labs, "leave one centre out", c)
                for c in sorted(set(labs.centre.tolist()))
            },
            "few values": _report(
                _softmax(few, temperature["sparse"]), labs, "stratified 5-fold, age, WBC, platelets, monocytes"
            ),
        },
        "baselines": _baselines(labs, parts),
        "trained": {
            "command": f"python -m genomics train labs --data DATA --out ml/bundles --seed {seed}",
            "seed": seed,
            "date": time.strftime("%Y-%m-%d"),
            "device": "cpu",
            "minutes": round((time.monotonic() - started) / 60, 2),
        },
    }
    write_card(folder, manifest)
    return seal_bundle(folder, manifest)


def _softmax(margins: Array, temperature: float) -> Array:
    scaled = np.exp((margins - margins.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def _report(p: Array, labs: LabSet, split: str, centre: str | None = None) -> dict[str, Any]:
    rows = np.ones(len(labs.y), bool) if centre is None else labs.centre == centre
    data = DATA_LABS["name"] if centre is None else f"centre {centre}"
    return {"data": data, "split": split} | metrics_report(p[rows], labs.y[rows], CLASSES)


def _baselines(labs: LabSet, parts: list[tuple[Rows, Rows]]) -> dict[str, Any]:
    p = np.empty((len(labs.y), len(CLASSES)))
    for train_rows, test in parts:
        model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=2000))
        p[test] = model.fit(transform(labs.X[train_rows]), labs.y[train_rows]).predict_proba(transform(labs.X[test]))
    figures = metrics_report(p, labs.y, CLASSES)
    return {
        "majority": {"accuracy": float(np.bincount(labs.y).max() / len(labs.y))},
        "logistic regression, 5-fold": {
            "accuracy": figures["figures"]["accuracy"]["value"],
            "auc_macro": figures["figures"]["auc_macro"]["value"],
        },
    }


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


def _scores(labs: LabSet, scope: dict[str, Any]) -> Array:
    rows = [{k: v for k, v in zip(BASE, row, strict=True) if np.isfinite(v)} for row in labs.X]
    return np.array([judge_scope(values, features(values)[: len(BASE)], scope)[0] for values in rows])


def _write_oof(path: Path, labs: LabSet, p: Array, scope: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"labs-{k}" for k in range(len(labs.y))]
    told = {
        "id": ids,
        "group": ids,
        "cohort": labs.centre,
        "y": np.array(CLASSES)[labs.y],
        "in_scope": _scores(labs, scope),
    }
    pd.DataFrame(told | {f"p:{name}": p[:, k] for k, name in enumerate(CLASSES)}).to_csv(path, index=False)


def _manifest(labs: LabSet, temperature: dict[str, float]) -> dict[str, Any]:
    tree = load_tree()
    aml = [leaf for leaf in tree.leaves_under("aml") if leaf != "apl"]
    leaves = {"ALL": list(tree.leaves_under("all")), "AML": aml, "APL": ["apl"]}
    share = np.bincount(labs.y) / len(labs.y)
    return {
        "name": "labs",
        "version": VERSION,
        "modality": "labs",
        "labels": {
            c: {"name": c, "leaves": leaves[c], "training_share": float(share[k])} for k, c in enumerate(CLASSES)
        },
        "preprocessing": {
            "features": list(FEATURES),
            "full_from": FULL,
            "missing": "left to the trees; counts from shares",
        },
        "calibration": {"temperature": temperature},
        "thresholds": {"min_analytes": 3, "low_scope": 0.5},
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
    X = np.array([features(row) for row in rows])
    booster = lgb.Booster(model_str=bundle.file("sparse.txt").read_text("utf-8"))
    p = probabilities(booster, X, bundle.manifest["calibration"]["temperature"]["sparse"])
    scope = json.loads(bundle.file(SCOPE).read_text("utf-8"))
    labs = pd.DataFrame(p, columns=[f"p:labs:{name}" for name in CLASSES], index=said.index)
    labs["in_scope:labs"] = [judge_scope(row, features(row)[: len(BASE)], scope)[0] for row in rows]
    held = pd.read_csv(expression_oof).set_index("id").loc[said.index]
    renamed = {c: c.replace("p:", "p:expression:", 1) for c in held.columns if c.startswith("p:")} | {
        "in_scope": "in_scope:expression"
    }
    table = pd.concat([held[["y"]], labs, held[list(renamed)].rename(columns=renamed)], axis=1)
    table.to_csv(target, index_label="id")
