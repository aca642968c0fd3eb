"""Which missing result would tell most: expected entropy reduction, and how likely it is to change the answer.

What a result can say is known from its bundle's validation: how often each true label was read as each label. So for
every modality not yet there

    P(said | leaf) = Σ_true P(true | leaf) · P(said | true)          P(said) = Σ_leaf P(leaf) · P(said | leaf)
    expected entropy reduction = H(P) − Σ_said P(said) · H(P(· | said))      the mutual information, in bits

times the share of validation inputs that were usable at all. A leaf that the modality cannot see says nothing of what
will be said: it takes the average of the others, so that its probability stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ml import evidence as ev
from ml.findings import MODALITIES, MODALITY_NAMES, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Answer = dict[str, Any] | None
    AnswerOf = Callable[[ev.Array, Sequence[ev.Reading]], Answer]


@dataclass(frozen=True)
class Statistics:
    """What a bundle's validation says of it: ``reads`` (k, k) with P(said | true) in rows, ``seen_as`` (k, L) with
    P(true label | leaf) in columns (zero where it sees no label for the leaf), ``usable`` share of inputs.
    """

    labels: tuple[str, ...]
    leaves: dict[str, tuple[str, ...]]
    share: tuple[float, ...]
    reads: ev.Array
    usable: float

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Statistics:
        leaves = {label: tuple(ids) for label, ids in said["leaves"].items()}
        return cls(tuple(leaves), leaves, tuple(said["share"]), np.array(said["reads"], float), float(said["usable"]))

    @property
    def seen_as(self) -> ev.Array:
        weighed = ev.membership(self.leaves) * np.array(self.share)[:, None]
        return np.asarray(weighed / np.where(weighed.any(axis=0), weighed.sum(axis=0), 1.0))


def outcomes(statistics: Statistics, p: ev.Array) -> tuple[ev.Array, ev.Array]:
    """(k,) the probability of each thing that could be said, and (k, L) the posterior after it."""
    seen = ev.seen(ev.membership(statistics.leaves))
    likelihood = statistics.reads.T @ statistics.seen_as
    mass = p[seen].sum()
    usual = likelihood[:, seen] @ p[seen] / mass if mass > 0 else np.full(len(likelihood), 1 / len(likelihood))
    likelihood = np.where(seen, likelihood, usual[:, None])
    said = likelihood @ p
    return said, likelihood * p / np.where(said > 0, said, 1.0)[:, None]


def entropy(p: ev.Array) -> Any:
    """In bits, over the last axis."""
    return -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=-1)


def expected_reduction(statistics: Statistics, p: ev.Array) -> float:
    said, after = outcomes(statistics, p)
    return max(float(entropy(p) - said @ entropy(after)), 0.0) * statistics.usable


def next_tests(
    readings: Sequence[ev.Reading], p: ev.Array, answer: Answer, answer_of: AnswerOf, rules: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Every modality that gave no usable result yet and that the fusion knows; the most informative first."""
    used = {r.modality for r in readings}
    missing = [m for m in MODALITIES if m in rules["next_test"] and m not in used]
    said = [_judged(m, Statistics.of(rules["next_test"][m]), readings, p, answer, answer_of, rules) for m in missing]
    return sorted(said, key=lambda entry: -entry["entropy_reduction"])


def _judged(
    modality: str,
    statistics: Statistics,
    readings: Sequence[ev.Reading],
    p: ev.Array,
    answer: Answer,
    answer_of: AnswerOf,
    rules: Mapping[str, Any],
) -> dict[str, Any]:
    before, (chances, after) = answer and answer["node"], outcomes(statistics, p)
    changed, would_be = 0.0, dict[str, float]()
    for label, chance, then in zip(statistics.labels, chances, after, strict=True):
        new = answer_of(then, [*readings, expected(modality, statistics, label, rules)])
        node = new and new["node"]
        changed += float(chance) * (node != before)
        would_be[node or "abstained"] = would_be.get(node or "abstained", 0.0) + float(chance)
    best = sorted(would_be.items(), key=lambda pair: -pair[1])[:4]
    return {
        "modality": modality,
        "name": MODALITY_NAMES[modality],
        "entropy_reduction": expected_reduction(statistics, p),
        "entropy_now": float(entropy(p)),
        "answer_changes": changed * statistics.usable,
        "usable": statistics.usable,
        "likely_answers": [{"node": node, "probability": chance} for node, chance in best],
        "bundle": rules["next_test"][modality]["bundle"],
    }


def expected(modality: str, statistics: Statistics, label: str, rules: Mapping[str, Any]) -> ev.Reading:
    """The reading that one would have, had the modality said ``label``: as sure as it was right in validation."""
    k = statistics.labels.index(label)
    joint = np.array(statistics.share) * statistics.reads[:, k]
    sure = joint / joint.sum() if joint.sum() > 0 else np.array(statistics.share)
    finding = Finding(
        modality=modality,
        bundle="expected",
        bundle_sha256="",
        label=label,
        probabilities=dict(zip(statistics.labels, sure.tolist(), strict=True)),
        in_scope=1.0,
        leaves=statistics.leaves,
        training_share=dict(zip(statistics.labels, statistics.share, strict=True)),
    )
    return ev.read(finding, rules)
