"""Classes that were never learned: leave one out, learn from the rest, and see whether its samples stand out.

The score is the product's own: of a subtype the novelty of its head, of a kind of cell one minus the in-scope score.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from genomics.expression.heads import similarity
from genomics.expression.joint import REMAINDERS, TOLERANCE, Novelty, named_margin
from genomics.expression.train import HeldOut, Samples, axes_of, fit_head, fit_scope, logits
from genomics.expression.whole import MOST, fit_evidence

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

WEIGHT = 0.5  # of how unlike B-ALL a profile is, beside the margin of the best class
ALLOWED = 0.03  # of held-out samples of named classes that count as unknown
FEWEST = 4
SPLITS = 3


def fit_novelty(role: str, classes: tuple[str, ...], samples: Samples, held: HeldOut) -> Novelty:
    """From held-out samples of named classes."""
    truth = samples.role_label[role]
    rows = np.flatnonzero(np.isfinite(held.alike[role]) & (truth != "") & ~np.isin(truth, REMAINDERS))
    margin = named_margin(held.logits[role][rows], classes)
    unlike = held.unlike[rows] if role == "b_all" else np.full(len(rows), np.nan)
    spread = (float(unlike.mean()), float(unlike.std())) if role == "b_all" else (0.0, 1.0)
    one = Novelty((float(margin.mean()), float(margin.std())), spread, WEIGHT, 0.0)
    cut = float(np.quantile(one.score(margin, unlike), 1 - ALLOWED))
    return Novelty(one.margin, one.unlike, one.weight, cut)


def leave_class_out(samples: Samples, novelty: dict[str, Novelty], seed: int) -> dict[str, Any]:
    """Class → AUROC of its samples, never seen, against held-out samples of the named classes; and their mean."""
    found: dict[str, float] = {}
    for role, one in novelty.items():
        truth = samples.role_label[role]
        names, count = np.unique(truth[truth != ""].astype(str), return_counts=True)
        for name in tqdm(names[(count >= FEWEST) & ~np.isin(names, REMAINDERS)], desc=f"expression: unknown {role}"):
            found[str(name)] = _subtype(role, str(name), samples, one, seed)
    for kind in ("T-ALL", "Normal"):
        found[kind] = _kind(kind, samples, seed)
    return {"auroc": found, "mean": float(np.mean(list(found.values())))}


def _split(samples: Samples, labels: npt.NDArray[Any], left_out: str, seed: int) -> tuple[Rows, Rows, Rows]:
    """(rows to learn from, held-out rows of known classes, rows of the class left out)."""
    known = np.flatnonzero((labels != "") & (labels != left_out))
    folds = StratifiedGroupKFold(SPLITS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        train, test = next(iter(folds.split(known, labels[known].astype(str), samples.group[known])))
    return known[train], known[test], np.flatnonzero(labels == left_out)


def _subtype(role: str, name: str, samples: Samples, novelty: Novelty, seed: int) -> float:
    labels = samples.role_label[role]
    train, test, unknown = _split(samples, labels, name, seed)
    test = test[~np.isin(labels[test], REMAINDERS)]
    head, rows = fit_head(role, samples, train, seed), np.concatenate([test, unknown])
    unlike = np.full(len(rows), np.nan)
    if role == "b_all":
        seen = np.concatenate([train, np.flatnonzero((labels == "") & (samples.kind == "B-ALL"))])
        unlike = axes_of(samples, seen).unlike(samples.ranks["kind"][rows])
    margin = named_margin(logits(head, samples.ranks[role][rows]), head.classes)
    return float(roc_auc_score(np.arange(len(rows)) >= len(test), novelty.score(margin, unlike)))


def _kind(kind: str, samples: Samples, seed: int) -> float:
    train, test, unknown = _split(samples, samples.kind, kind, seed)
    head, rows = fit_head("kind", samples, train, seed), np.concatenate([test, unknown])
    ranks = samples.ranks["kind"]
    whole = axes_of(samples, train)
    outside = test[samples.kind[test] != "B-ALL"]
    inside = test[samples.kind[test] == "B-ALL"]
    middle, slope = fit_evidence(whole.unlike(ranks[inside]), whole.unlike(ranks[outside]))
    evidence = np.clip(slope * (middle - whole.unlike(ranks[rows])), -MOST, MOST)
    scope = fit_scope(head, ranks[test], similarity(ranks[test], head.centroids), seed)
    alike = expit((similarity(ranks[rows], head.centroids) - scope["middle"]) / scope["width"])
    p_b_all = softmax(logits(head, ranks[rows]), axis=1)[:, head.classes.index("B-ALL")]
    in_scope = alike * (1 - p_b_all * (1 - expit(evidence + TOLERANCE)))
    return float(roc_auc_score(np.arange(len(rows)) >= len(test), -in_scope))
