"""The figures of the expression bundle, all of samples that the judging heads have not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, softmax

from genomics.expression.data import BLURRED, LINEAGE_ONLY, OTHER_AML, OTHER_B
from genomics.expression.heads import CONFLICT, ROLES, Head, similarity, t_over_b
from genomics.expression.joint import combine
from genomics.expression.thresholds import answer_figures, cross_fitted
from ml.calibration import metrics_report

if TYPE_CHECKING:
    from genomics.expression.train import HeldOut, Samples
    from genomics.expression.whole import Whole

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Leaves = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Said:
    """What the folds said of their held-out ``rows``, calibrated and composed: ``p`` (n, labels), ``scope`` (n,).

    ``known`` (n,): no head that spoke found the sample like no class that was learned.
    """

    labels: tuple[str, ...]
    p: Array
    scope: Array
    known: Mask
    rows: Rows


def by_label(samples: Samples, said: Said, leaves: Leaves, low_scope: float) -> dict[str, Any]:
    """The reports by label: of all held-out rows, and of the parts that others report; and how deep answers go."""
    label, lineage, cohort = (of[said.rows] for of in (samples.label, samples.lineage, samples.cohort))
    count = pd.Series(label).map(pd.Series(label).value_counts()).to_numpy()
    all13 = (lineage != "AML") & ~np.isin(label, ["Normal", OTHER_B]) & (count >= 7)
    aml = (lineage == "AML") & (label != OTHER_AML) & (count >= 5)
    parts = {
        "ALL subtypes, 13 classes": (all13, "GSE227832, Cohort 7/8"),
        "ALL subtypes, 13 classes, without Cohort 7/8": (all13 & (cohort != BLURRED), "GSE227832"),
        "AML genetic subtypes, 7 classes": (aml, "TCGA-LAML"),
    }
    everyone = np.ones(len(label), bool)
    out = {"all labels": part(samples, said, everyone, "GEO ALL and normal cohorts, TCGA-LAML")}
    out |= {name: part(samples, said, keep, data, only=True) for name, (keep, data) in parts.items()}
    answers = cross_fitted(said.p, list(label), leaves, samples.group[said.rows], said.scope >= low_scope, said.known)
    shown = {"all labels": (everyone, "all cohorts")} | parts
    return out | {
        f"answers, {name}": _answers(answers, label, leaves, keep, data) for name, (keep, data) in shown.items()
    }


def part(samples: Samples, said: Said, keep: Mask, data: str, *, only: bool = False) -> dict[str, Any]:
    """The report of a part of the rows; ``only``: among the labels that occur in it, p renormalised."""
    y = np.array([said.labels.index(label) for label in samples.label[said.rows]])
    use = np.unique(y[keep]) if only else np.arange(len(said.labels))
    p = said.p[keep][:, use] / said.p[keep][:, use].sum(axis=1, keepdims=True)
    named = tuple(said.labels[k] for k in use)
    split = "5-fold, grouped by patient" + (", among the classes named" if only else "")
    group = samples.group[said.rows][keep]
    return {"data": data, "split": split} | metrics_report(p, np.searchsorted(use, y[keep]), named, group)


def _answers(
    answers: list[dict[str, Any]], label: npt.NDArray[Any], leaves: Leaves, keep: Mask, data: str
) -> dict[str, Any]:
    """Every label of the model was open to them, also the remainders; thresholds are of the other people's answers."""
    chosen = np.flatnonzero(keep)
    figures = answer_figures([answers[k] for k in chosen], [str(label[k]) for k in chosen], leaves)
    return {"data": data, "split": "5-fold, grouped by patient; thresholds cross-fitted", **figures}


def by_cohort_figures(
    by_cohort: dict[str, dict[str, Any]], heads: dict[str, Head], raw: dict[str, Array], low_scope: float
) -> dict[str, Any]:
    """What is called what in a cohort of which nothing was seen: the most probable, and the out-of-scope among them."""
    out = {}
    kinds = heads["kind"].classes
    for cohort, of in by_cohort.items():
        p = {role: softmax(of[role]["logits"] / heads[role].temperature, axis=1) for role in ("lineage", "kind")}
        p["kind"] = _aligned(p["kind"], of["kind"]["classes"], kinds)
        scope = {
            role: expit((of[role]["alike"] - heads[role].scope["middle"]) / heads[role].scope["width"]) for role in p
        }
        scope["aml"] = np.ones(len(p["kind"]))
        joint, in_scope = combine(p, scope, of["whole"]["evidence"], kinds.index("B-ALL"))
        called = np.where(joint["lineage"][:, 1] > 0.5, "AML", np.array(kinds)[joint["kind"].argmax(axis=1)])
        out[f"lineage, {cohort} held out"] = {
            "data": cohort + (", raw counts" if cohort == LINEAGE_ONLY else ""),
            "split": "leave one cohort out",
            "n": len(called),
            "largest_p_aml": float(joint["lineage"][:, 1].max()),
            **{f"called_{name}": int((called == name).sum()) for name in ("AML", *kinds)},
            **{f"called_{n}_in_scope": int(((called == n) & (in_scope >= low_scope)).sum()) for n in ("AML", *kinds)},
        } | (_antigens(called, raw, heads) if cohort == LINEAGE_ONLY else {})
    return out


def _aligned(p: Array, classes: tuple[str, ...], wanted: tuple[str, ...]) -> Array:
    """Columns of a head that may not have seen every class, in the order of the one that has."""
    out = np.zeros((len(p), len(wanted)))
    out[:, [wanted.index(name) for name in classes]] = p
    return out


def _antigens(called: Array, raw: dict[str, Array], heads: dict[str, Head]) -> dict[str, int]:
    antigens = t_over_b(raw["kind"], heads["kind"].genes) > CONFLICT
    return {
        "antigens_of_T_lineage": int(antigens.sum()),
        "called_T-ALL_against_antigens": int(((called == "T-ALL") & ~antigens).sum()),
    }


def scope_figures(heads: dict[str, Head], raw: dict[str, Array], whole: Whole, scope: Array) -> dict[str, Any]:
    rng = np.random.default_rng(1)

    def score(ranks: dict[str, Array]) -> Array:
        said = [
            expit((similarity(ranks[r], heads[r].centroids) - heads[r].scope["middle"]) / heads[r].scope["width"])
            for r in ("lineage", "kind")
        ]
        return np.asarray(said[0] * said[1])

    noise = {role: rng.permuted(raw[role], axis=1) for role in ROLES}
    return {
        "data": "held-out folds; GSE228632 raw counts; the same with all genes exchanged",
        "split": "as named",
        "n": len(scope),
        "median_held_out": float(np.median(scope)),
        "share_below_half_held_out": float((scope < 0.5).mean()),
        "median_raw_counts": float(np.median(score(raw))),
        "largest_shuffled": float(score(noise).max()),
        "evidence_for_B-ALL_of_shuffled": float(whole.evidence(whole.unlike(noise["kind"])).max()),
    }


def baselines(samples: Samples, held: HeldOut, rows: Rows) -> dict[str, Any]:
    out = {}
    for role in ("b_all", "aml"):
        truth = samples.role_label[role][rows]
        use = (truth != "") & (held.centroid_label[role][rows] != "")
        said = {"nearest_centroid": held.centroid_label, "logistic_regression": held.plain_label}
        _, n = np.unique(truth[use].astype(str), return_counts=True)
        hits = {f"{name}_accuracy": float((of[role][rows][use] == truth[use]).mean()) for name, of in said.items()}
        out[role] = hits | {"majority_accuracy": float(n.max() / n.sum())}
    return out
