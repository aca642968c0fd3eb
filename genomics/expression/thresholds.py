"""The least probability at which each node of the diagnosis tree stands as an answer, learned from held-out answers.

Rare classes have too few answers to set a threshold of their own, so that each class's share of wrong answers is drawn
to that of all classes at the same probability, as if PRIOR more answers had been seen (empirical Bayes). Measured by
``cross_fitted``: thresholds from some people, answers of the others.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold

from genomics.expression.answer import ANSWERED, LINEAGES, OTHERWISE, PARENT_SURE, UNCLASSIFIED, answer, steps_to
from ml.diagnosis_tree import load_tree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Leaves = dict[str, tuple[str, ...]]

AIM = {"lineage": 0.99, "deeper": 0.98}
PRIOR = 20.0
LEAST, MOST = 0.5, 0.999
PARTS = 5


def fit_thresholds(p: Array, truth: Sequence[str], leaves: Leaves) -> dict[str, float]:
    """From held-out probabilities (n, labels) and true labels (n,), in the order of ``leaves``."""
    said: dict[str, dict[str, list[tuple[float, bool]]]] = {"lineage": defaultdict(list), "deeper": defaultdict(list)}
    for row, true in zip(p, truth, strict=True):
        shares = dict(zip(leaves, row.tolist(), strict=True))
        best = max(shares, key=shares.__getitem__)
        for node, label, probability in steps_to(best, shares, leaves):
            level = "lineage" if label is None and node in LINEAGES else "deeper"
            level = "lineage" if node in LINEAGES and label in ("T-ALL", "Normal") else level
            said[level][label or node].append((probability, _right(node, label, true, leaves)))
    found = {OTHERWISE: _least(_all(said["deeper"]), _all(said["deeper"]), AIM["deeper"])}
    for level, of_key in said.items():
        pooled = _all(of_key)
        found |= {key: _least(some, pooled, AIM[level]) for key, some in sorted(of_key.items())}
    return found


def _all(of_key: Mapping[str, list[tuple[float, bool]]]) -> list[tuple[float, bool]]:
    return [one for some in of_key.values() for one in some]


def _right(node: str, label: str | None, true: str, leaves: Leaves) -> bool:
    return label == true if label else set(leaves[true]) <= set(load_tree().leaves_under(node))


def _least(some: list[tuple[float, bool]], pooled: list[tuple[float, bool]], aim: float) -> float:
    """The least threshold above which the drawn share of wrong answers of ``some`` stays below 1 − aim."""
    everyone = np.array(pooled)
    for threshold in sorted({p for p, _ in some} | {LEAST}):
        own = [right for p, right in some if p >= threshold]
        above = everyone[everyone[:, 0] >= threshold, 1]
        wrong_of_all = 1 - above.mean() if len(above) else 1.0
        if threshold >= LEAST and (own.count(False) + PRIOR * wrong_of_all) / (len(own) + PRIOR) <= 1 - aim:
            return min(float(threshold), MOST)
    return MOST


def cross_fitted(
    p: Array, truth: Sequence[str], leaves: Leaves, groups: npt.NDArray[Any], in_scope: Mask, known: Mask
) -> list[dict[str, Any]]:
    """The answer of every row, under thresholds from the other parts of the people."""
    out: list[dict[str, Any]] = [{}] * len(truth)
    for train, test in GroupKFold(PARTS).split(p, groups=groups):
        thresholds = fit_thresholds(p[train], [truth[k] for k in train], leaves)
        for k in test:
            shares = dict(zip(leaves, p[k].tolist(), strict=True))
            out[k] = answer(shares, leaves, thresholds, in_scope=bool(in_scope[k]), known=bool(known[k]))
    return out


def answer_figures(answers: Sequence[dict[str, Any]], truth: Sequence[str], leaves: Leaves) -> dict[str, Any]:
    """Shares answered, with the parent alone sure, and unclassified; and how many of each were right."""
    out: dict[str, Any] = {"n": len(truth)}
    for status in (ANSWERED, PARENT_SURE):
        these = [(one, true) for one, true in zip(answers, truth, strict=True) if one["status"] == status]
        right = [_right(one["node"], one["label"], true, leaves) for one, true in these]
        out |= {status: len(these) / max(len(truth), 1), f"{status}_right": float(np.mean(right)) if right else None}
    out[UNCLASSIFIED] = sum(one["status"] == UNCLASSIFIED for one in answers) / max(len(truth), 1)
    return out
