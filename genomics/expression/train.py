"""Train, judge and seal the ``expression`` bundle. Every figure is of samples that the judging fold has not seen."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from genomics.expression.data import BLURRED, BLURRED_WEIGHT, LINEAGE_ONLY, Cohort
from genomics.expression.genes import load_genes
from genomics.expression.heads import HEADS, ROLES, WEIGHTS, Head, panel_ranks, similarity
from genomics.expression.whole import Whole, fit_axes

if TYPE_CHECKING:
    from pathlib import Path

    from genomics.expression.reader import ExpressionTable

Array = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]
Rows = npt.NDArray[np.int64]

PANEL = {"lineage": "lineage_panel", "kind": "all_panel", "b_all": "all_panel", "aml": "aml_panel"}
PER_LENGTH = {"lineage": True, "kind": False, "b_all": False, "aml": True}
STRENGTH = {"lineage": 0.1, "kind": 0.3, "b_all": 1.0, "aml": 1.0}  # C of the logistic regression; mean square 1000
SELECTED = {"b_all": 100}  # genes that tell each class best; the others of the panel get no weight
EVENNESS = {"b_all": 0.5}  # 0: classes weigh what their numbers say, 1: alike
FLOOR = 0.2
SD_FLOOR = 0.02  # of ranks, so that a gene that hardly moves tells nothing
MIN_OVERLAP = 0.6
FOLDS = 5
CORRUPTED = (0.5, 0.75, 1.0)  # shares of shuffled genes in the counter-examples of the in-scope score


@dataclass(frozen=True)
class Samples:
    """All training samples in one order: ranks by role (n, g), and what is known of them."""

    ranks: dict[str, Array]
    id: Names
    label: Names
    lineage: Names
    kind: Names
    group: Names
    cohort: Names

    @property
    def role_label(self) -> dict[str, Names]:
        """Role → the class of each sample for that head, "" where it has none."""
        aml = self.lineage == "AML"
        return {
            "lineage": np.where(aml, "aml", np.where(self.lineage == "", "", "not_aml")).astype(object),
            "kind": self.kind,
            "b_all": np.where(self.lineage == "B-ALL", self.label, "").astype(object),
            "aml": np.where(aml, self.label, "").astype(object),
        }


def head_ranks(table: ExpressionTable) -> dict[str, Array]:
    panels = load_genes().panels
    return {role: panel_ranks(table, panels[PANEL[role]], per_length=PER_LENGTH[role], floor=FLOOR) for role in ROLES}


def gather(*cohorts: Cohort) -> Samples:
    ranks = [head_ranks(c.table) for c in cohorts]
    ids = np.array([s for c in cohorts for s in c.table.samples], dtype=object)
    told = {
        k: np.concatenate([getattr(c, k) for c in cohorts]) for k in ("label", "lineage", "kind", "group", "cohort")
    }
    return Samples({role: np.vstack([r[role] for r in ranks]) for role in ROLES}, ids, **told)


def fit_head(role: str, samples: Samples, rows: Rows, seed: int = 0) -> Head:
    """The head of ``role`` from those of ``rows`` that have a class for it; temperature 1, scope still unset."""
    y = samples.role_label[role]
    rows = rows[y[rows] != ""]
    X, y = samples.ranks[role][rows], y[rows].astype(str)
    weight_of = np.where((samples.cohort[rows] == BLURRED) & (role == "kind"), BLURRED_WEIGHT, 1.0)
    weight_of = weight_of * even_weights(y, EVENNESS.get(role, 0.0))
    mean = X.mean(axis=0)
    used = telling(X, y, SELECTED[role]) if role in SELECTED else np.arange(X.shape[1])
    scale = np.sqrt(np.square(X - mean)[:, used].sum(axis=1).mean() / 1000)
    # a rotation to at most n dimensions changes nothing for a ridge penalty, and makes the fit fast
    left, singular, axes = np.linalg.svd((X - mean)[:, used] / scale, full_matrices=False)
    model = LogisticRegression(C=STRENGTH[role], max_iter=2000, random_state=seed).fit(left * singular, y, weight_of)
    classes = ("not_aml", "aml") if role == "lineage" else tuple(model.classes_)
    weight, bias = np.zeros((len(model.coef_), X.shape[1])), model.intercept_
    weight[:, used] = model.coef_ @ axes / scale
    if len(classes) == 2:
        sign = 1.0 if model.classes_[1] == classes[1] else -1.0
        weight, bias = np.vstack([0 * weight, sign * weight]), np.array([0.0, sign * bias[0]])
    kinds = {"lineage": samples.lineage[rows], "kind": np.where(samples.label[rows] == "", y, samples.label[rows])}
    kinds_of = kinds.get(role, y).astype(str)
    return Head(
        name=role,
        classes=classes,
        share=tuple(float(weight_of[y == c].sum() / weight_of.sum()) for c in classes),
        genes=load_genes().panels[PANEL[role]],
        per_length=PER_LENGTH[role],
        floor=FLOOR,
        min_overlap=MIN_OVERLAP,
        temperature=1.0,
        scope={"middle": 0.0, "width": 1.0},
        weight=weight,
        bias=bias,
        mean=mean,
        centroids=np.array([X[kinds_of == kind].mean(axis=0) for kind in np.unique(kinds_of)]),
    )


def even_weights(y: Names, evenness: float) -> Array:
    """(n,) weights with which the classes of ``y`` weigh as their numbers (0), alike (1), or in between."""
    _, which, count = np.unique(y, return_inverse=True, return_counts=True)
    return np.asarray(((len(y) / len(count) / count) ** evenness)[which])


def telling(X: Array, y: Names, each: int) -> Rows:
    """Columns of X (n, g) among the ``each`` in which a class differs most from the rest, in within-class SDs."""
    names = np.unique(y)
    within = sum(np.square(X[y == name] - X[y == name].mean(axis=0)).sum(axis=0) for name in names)
    sd = np.sqrt(within / max(len(y) - len(names), 1)) + SD_FLOOR
    gaps = [np.abs(X[y == name].mean(axis=0) - X[y != name].mean(axis=0)) / sd for name in names]
    return np.unique(np.concatenate([np.argsort(-gap)[:each] for gap in gaps]))


def logits(head: Head, ranks: Array) -> Array:
    return np.asarray(np.nan_to_num(ranks - head.mean) @ head.weight.T + head.bias)


@dataclass(frozen=True)
class HeldOut:
    """Of every sample, from what has not seen it: logits and similarity by role, how unlike B-ALL, the baselines."""

    logits: dict[str, Array]
    alike: dict[str, Array]
    centroid_label: dict[str, Names]
    plain_label: dict[str, Names]
    unlike: Array


def cross_validate(samples: Samples, seed: int) -> HeldOut:
    """Grouped, stratified folds over all labelled samples; those with a lineage alone are always trained on.

    How unlike B-ALL a sample is, is judged of these too, each fifth of their people by the components of the others.
    """
    labelled = np.flatnonzero(samples.label != "")
    unlabelled = np.flatnonzero(samples.label == "")
    n, y = len(samples.id), samples.role_label
    out = HeldOut(
        {r: np.full((n, len(np.unique(y[r][y[r] != ""]))), np.nan) for r in ROLES},
        {r: np.full(n, np.nan) for r in ROLES},
        {r: np.full(n, "", dtype=object) for r in ROLES},
        {r: np.full(n, "", dtype=object) for r in ROLES},
        np.full(n, np.nan),
    )
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)  # PAX5 P80R: 4
        parts = list(folds.split(labelled, samples.label[labelled], samples.group[labelled]))
    others = list(GroupKFold(FOLDS).split(unlabelled, groups=samples.group[unlabelled]))
    for (train, test), (rest, apart) in zip(tqdm(parts, desc="expression: folds"), others, strict=True):
        known, unseen = np.concatenate([labelled[train], unlabelled]), labelled[test]
        for role in ROLES:
            _judge(role, samples, known, unseen, out)
        axes = axes_of(samples, np.concatenate([labelled[train], unlabelled[rest]]))
        unseen = np.concatenate([unseen, unlabelled[apart]])
        out.unlike[unseen] = axes.unlike(samples.ranks["kind"][unseen])
    return out


def axes_of(samples: Samples, rows: Rows) -> Whole:
    """The main components of those of ``rows`` that are B-ALL, antigens and all."""
    return fit_axes(samples.ranks["kind"][rows[samples.kind[rows] == "B-ALL"]])


def _judge(role: str, samples: Samples, train: Rows, test: Rows, out: HeldOut) -> None:
    head, ranks = fit_head(role, samples, train), samples.ranks[role][test]
    seen = np.isfinite(ranks).mean(axis=1) >= MIN_OVERLAP
    test, ranks = test[seen], ranks[seen]
    out.logits[role][test] = logits(head, ranks)
    out.alike[role][test] = similarity(ranks, head.centroids)
    if role in ("b_all", "aml"):
        centred = head.centroids - head.mean
        nearest = np.argmax(np.corrcoef(ranks - head.mean, centred)[: len(test), len(test) :], axis=1)
        out.centroid_label[role][test] = np.array(head.classes, dtype=object)[nearest]
        out.plain_label[role][test] = _plain(role, samples, train, ranks)


def _plain(role: str, samples: Samples, train: Rows, new: Array) -> Names:
    """scikit-learn's logistic regression as it comes, on standardised ranks of the whole panel: the other baseline."""
    y = samples.role_label[role]
    train = train[y[train] != ""]
    scaler = StandardScaler().fit(samples.ranks[role][train])
    left, singular, axes = np.linalg.svd(scaler.transform(samples.ranks[role][train]), full_matrices=False)
    model = LogisticRegression(max_iter=1000).fit(left * singular, y[train].astype(str))
    return np.asarray(model.predict(scaler.transform(new) @ axes.T), dtype=object)


def leave_cohort_out(samples: Samples, raw: dict[str, Array], seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Cohort → head → what it says of the cohort without having seen any of it: {"logits", "alike"}.

    One cohort of ALL or normal samples is held out at a time. GSE228632 is judged from its raw counts, as another
    laboratory would send them.
    """
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for cohort in tqdm(sorted(set(samples.cohort) - {"TCGA-LAML"}), desc="expression: cohorts"):
        held = samples.cohort == cohort
        out[cohort] = {}
        for role in ("lineage", "kind"):
            head = fit_head(role, samples, np.flatnonzero(~held), seed)
            ranks = raw[role] if cohort == LINEAGE_ONLY else samples.ranks[role][held]
            out[cohort][role] = {"logits": logits(head, ranks), "alike": similarity(ranks, head.centroids)}
            out[cohort][role]["called"] = np.array(head.classes)[out[cohort][role]["logits"].argmax(axis=1)]
            out[cohort][role]["classes"] = head.classes
        ranks = raw["kind"] if cohort == LINEAGE_ONLY else samples.ranks["kind"][held]
        out[cohort]["whole"] = {"unlike": axes_of(samples, np.flatnonzero(~held)).unlike(ranks)}
    return out


def fit_scope(head: Head, ranks: Array, alike: Array, seed: int) -> dict[str, float]:
    """Where similarity stops to mean "like the training samples": held-out samples against partly shuffled ones."""
    rng = np.random.default_rng(seed)
    broken = [similarity(shuffled(ranks, share, rng), head.centroids) for share in CORRUPTED]
    x = np.concatenate([alike, *broken])
    real = np.concatenate([np.ones(len(alike)), np.zeros(len(x) - len(alike))])
    model = LogisticRegression(C=1e4, class_weight="balanced").fit(x[:, None] * 100, real)
    slope = float(model.coef_[0, 0]) * 100
    return {"middle": -float(model.intercept_[0]) / slope, "width": 1 / slope}


def shuffled(ranks: Array, share: float, rng: np.random.Generator) -> Array:
    """Rows with ``share`` of their genes exchanged among each other."""
    out = ranks.copy()
    for row in out:
        which = np.flatnonzero((rng.random(len(row)) < share) & np.isfinite(row))
        row[which] = row[rng.permutation(which)]
    return out


def finish(head: Head, temperature: float, scope: dict[str, float]) -> Head:
    """Calibrated, and rounded to the float16 that the bundle stores."""
    stored = {part: getattr(head, part).astype(np.float16).astype(float) for part in ("weight", "mean", "centroids")}
    return replace(head, temperature=temperature, scope=scope, **stored)


def save_heads(heads: dict[str, Head], folder: Path) -> None:
    tensors, said = {}, {}
    for role, head in heads.items():
        for part in ("weight", "mean", "centroids"):
            tensors[f"{role}.{part}"] = np.ascontiguousarray(getattr(head, part).astype(np.float16))
        tensors[f"{role}.bias"] = head.bias.astype(np.float64)
        keys = ("classes", "share", "genes", "per_length", "floor", "min_overlap", "temperature", "scope")
        said[role] = {key: getattr(head, key) for key in keys}
    save_file(tensors, folder / WEIGHTS)
    (folder / HEADS).write_text(json.dumps(said, ensure_ascii=False), "utf-8")


def class_statistics(table: ExpressionTable, labels: Names) -> dict[str, npt.NDArray[np.float16]]:
    """Label → mean and standard deviation of log2(value + 1): what synthetic samples are drawn from.

    In the order of the gene table, of those genes that ``table`` has.
    """
    position = load_genes().position
    logs = np.log2(table.values[:, np.argsort([position[gene] for gene in table.genes])] + 1)
    out = {}
    for label in sorted(set(labels) - {""}):
        rows = logs[labels == label]
        out[f"{label}.mean"] = rows.mean(axis=0).astype(np.float16)
        out[f"{label}.sd"] = rows.std(axis=0).astype(np.float16)
    return out
