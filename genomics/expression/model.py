"""One sample → one finding: AML against all else, then the subtype within, each by ranks of its own panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genomics.expression.answer import SURE, answer
from genomics.expression.explain import explain
from genomics.expression.heads import CONFLICT, ROLES, HeadSays, compose, t_over_b
from genomics.expression.joint import judge
from ml.findings import Finding, InputRejected, QualityFlag

if TYPE_CHECKING:
    from collections.abc import Callable

    from genomics.expression.reader import ExpressionTable
    from ml.bundle import Bundle

SURE_LINEAGE = 0.9


def predict(table: ExpressionTable, bundle: Bundle, progress: Callable[[int, int, str], None] | None = None) -> Finding:
    """The finding of the one sample in ``table`` (``load_canonical``; ``table.only(name)`` where there are several).

    InputRejected (several_samples) for more than one. ``label`` is the most probable one, None where the sample is out
    of scope; how deep the answer is sure stands in ``explanation["answer"]`` (``answer.answer``), and why in the rest
    of ``explanation`` (``explain.explain``).
    """
    if len(table.samples) != 1:
        raise InputRejected(
            "several_samples",
            place="expression table",
            problem=f"It holds {len(table.samples)} samples.",
            remedy="Name one with the option `sample`.",
        )
    judged = judge(
        table, bundle, progress and (lambda role: progress(ROLES.index(role), len(ROLES), f"expression: {role}"))
    )
    if progress:
        progress(len(ROLES), len(ROLES), "expression: done")
    says, scope = judged.says, judged.in_scope
    heads = {role: said.head for role, said in says.items()}
    labels, joint = compose({r: said.p[None] for r, said in says.items()}, {r: h.classes for r, h in heads.items()})
    probabilities = dict(zip(labels, joint[0].tolist(), strict=True))
    aml, low, way = float(says["lineage"].p[1]), float(bundle.manifest["thresholds"]["low_scope"]), _way(says)
    known = not any(judged.novel.get(role) for role in way)
    answered = answer(probabilities, bundle.leaves, _thresholds(bundle), in_scope=scope >= low, known=known)
    return Finding(
        modality="expression",
        bundle=bundle.reference,
        bundle_sha256=bundle.sha256,
        label=max(probabilities, key=probabilities.__getitem__) if scope >= low else None,
        probabilities=probabilities,
        in_scope=scope,
        leaves=bundle.leaves,
        training_share=bundle.training_share,
        quality=(*table.flags, *_overlap_flags(says)),
        reasons=tuple(_reasons(says, aml, scope, low)),
        explanation=explain(says, way, bundle) | {"answer": answered, "scale": table.scales[0]},
    )


def _thresholds(bundle: Bundle) -> dict[str, float]:
    own: dict[str, float] = bundle.manifest["thresholds"].get("answer", SURE)
    return own


def _overlap_flags(says: dict[str, HeadSays]) -> list[QualityFlag]:
    return [
        QualityFlag(
            "subtype_not_judged" if not said.speaks else "genes_missing",
            f"{said.overlap:.0%} of the genes that {_QUESTION[role]} are in the table"
            + ("; too few, so nothing is said about it." if not said.speaks else "; the others count as average."),
        )
        for role, said in says.items()
        if said.overlap < 0.95
    ]


_QUESTION = {
    "lineage": "tell AML from ALL and normal cells",
    "kind": "tell B-ALL, T-ALL and normal cells apart",
    "b_all": "tell the subtypes of B-ALL apart",
    "aml": "tell the subtypes of AML apart",
}


def _reasons(says: dict[str, HeadSays], aml: float, scope: float, low: float) -> list[str]:
    reasons = []
    if scope < low:
        reasons.append(f"The profile is unlike those that the model has learned from (in scope: {scope:.2f}).")
    if 1 - SURE_LINEAGE < aml < SURE_LINEAGE:
        reasons.append(
            f"The lineage is uncertain: AML {aml:.2f}, ALL or normal {1 - aml:.2f}. Few blasts look like this."
        )
    if not all(says[role].speaks for role in _way(says)):
        reasons.append("Too few genes of the subtype panel: the lineage is judged, the subtype is not.")
    if aml < 0.5:
        reasons += _antigens(says["kind"])
    return reasons


def _antigens(kind: HeadSays) -> list[str]:
    """A sentence where the best-known antigens speak against the answer."""
    answer = kind.head.classes[int(np.argmax(kind.p))]
    difference = float(t_over_b(kind.ranks[None], kind.head.genes)[0])
    if (answer == "B-ALL" and difference > CONFLICT) or (answer == "T-ALL" and difference < -CONFLICT):
        other = ("T-cell", "B-cell") if answer == "B-ALL" else ("B-cell", "T-cell")
        return [f"{answer} is the answer, but {other[0]} antigens rank above {other[1]} antigens: check the phenotype."]
    return []


def _way(says: dict[str, HeadSays]) -> list[str]:
    """The heads that decided, from the top down."""
    if says["lineage"].p[1] > 0.5:
        return ["lineage", "aml"]
    kind = says["kind"]
    return ["lineage", "kind"] + ["b_all"] * (kind.head.classes[int(np.argmax(kind.p))] == "B-ALL")
