"""The heads' probabilities, and what the profile as a whole says, put together: probabilities and scope of a sample.

The same for one sample that is answered and for the held-out ones that are counted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from scipy.special import expit

from genomics.expression.heads import ROLES, HeadSays, listen, load_heads
from genomics.expression.whole import Whole, lineage_push, weigh

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from genomics.expression.reader import ExpressionTable
    from ml.bundle import Bundle

Array = npt.NDArray[np.float64]

FILE = "whole.safetensors"
TOLERANCE = 2.0  # nats against B-ALL that a sample which is called B-ALL may have and still be in scope
REMAINDERS = ("B-ALL other", "AML other")


@dataclass(frozen=True)
class Novelty:
    """How unlike every named class a sample is: few nats for the best of them, and a profile that is hard to rebuild.

    ``margin`` and ``unlike``: mean and standard deviation over held-out samples of named classes; ``cut``: their
    quantile from which a sample counts as of no class that was learned.
    """

    margin: tuple[float, float]
    unlike: tuple[float, float]
    weight: float
    cut: float

    def score(self, margin: Array, unlike: Array) -> Array:
        """(n,) the larger, the less like any named class."""
        parts = [(of - mean) / sd for of, (mean, sd) in ((margin, self.margin), (unlike, self.unlike))]
        return np.asarray(self.weight * np.nan_to_num(parts[1]) - parts[0])


def named_margin(logits: Array, classes: Sequence[str]) -> Array:
    """(n, k) logits → (n,) the largest of a class that is no remainder."""
    return np.asarray(logits[..., [k for k, name in enumerate(classes) if name not in REMAINDERS]].max(axis=-1))


def combine(
    p: Mapping[str, Array], scope: Mapping[str, Array], evidence: Array, b_all: int
) -> tuple[dict[str, Array], Array]:
    """By role (n, k) probabilities and (n,) scopes, and evidence (n,) for B-ALL → probabilities with it, and the scope.

    ``b_all``: the position of B-ALL among the kinds. A sample that is called B-ALL against what its profile as a whole
    says, by more than TOLERANCE, is out of scope.
    """
    aml, kind = weigh(p["lineage"][:, 1], p["kind"], b_all, evidence), p["kind"]
    out = {**p, "lineage": np.column_stack([1 - aml, aml])}
    alike = 1 - kind[:, b_all] * (1 - np.nan_to_num(expit(evidence + TOLERANCE), nan=1.0))
    return out, scope["lineage"] * (aml * scope["aml"] + (1 - aml) * scope["kind"] * alike)


@dataclass(frozen=True)
class Judged:
    """One sample: what each head says with the evidence counted, its scope, and which heads find it like no class."""

    says: dict[str, HeadSays]
    in_scope: float
    novel: dict[str, bool]


def judge(table: ExpressionTable, bundle: Bundle, progress: Callable[[str], None] | None = None) -> Judged:
    heads, says = load_heads(bundle), {}
    for role in ROLES:
        if progress:
            progress(role)
        says[role] = listen(heads[role], table)
    whole, novelty = load_whole(bundle)
    speaks = whole is not None and says["kind"].speaks
    unlike = whole.unlike(says["kind"].ranks[None]) if whole and speaks else np.array([np.nan])
    evidence = whole.evidence(unlike) if whole else unlike
    b_all = heads["kind"].classes.index("B-ALL")
    p = {role: said.p[None] for role, said in says.items()}
    counted, scope = combine(p, {r: np.array([s.in_scope]) for r, s in says.items()}, evidence, b_all)
    kinds = says["kind"].p
    pushes = {role: np.zeros(len(said.p)) for role, said in says.items()}
    pushes["lineage"][1] = lineage_push(kinds, b_all, float(evidence[0]))
    says = {role: replace(said, p=counted[role][0], pushes=pushes[role]) for role, said in says.items()}
    return Judged(says, float(scope[0]), _novel(says, novelty, unlike))


def _novel(says: dict[str, HeadSays], novelty: dict[str, Novelty], unlike: Array) -> dict[str, bool]:
    out = {}
    for role, one in novelty.items():
        said = says[role]
        margin = named_margin(said.logits[None], said.head.classes)
        out[role] = said.speaks and bool(one.score(margin, unlike)[0] > one.cut)
    return out


def save_whole(whole: Whole, novelty: dict[str, Novelty], folder: Path) -> dict[str, Any]:
    """Writes FILE; returns what the manifest has to say of it."""
    from safetensors.numpy import save_file  # noqa: PLC0415 (training alone writes)

    save_file({part: getattr(whole, part).astype(np.float16) for part in ("mean", "axes")}, folder / FILE)
    return {"middle": whole.middle, "slope": whole.slope, "novelty": {role: vars(one) for role, one in novelty.items()}}


def load_whole(bundle: Bundle) -> tuple[Whole | None, dict[str, Novelty]]:
    """(the profile as a whole, novelty by role); (None, {}) of a bundle from before there were any."""
    said = bundle.manifest.get("whole")
    return _read(bundle.file(FILE), bundle.sha256, json.dumps(said)) if said else (None, {})


@lru_cache(maxsize=4)
def _read(path: Path, sha256: str, facts: str) -> tuple[Whole, dict[str, Novelty]]:  # noqa: ARG001 (part of the key)
    said, tensors = json.loads(facts), load_file(path)
    mean, axes = (tensors[part].astype(np.float64) for part in ("mean", "axes"))
    novelty = {
        role: Novelty(tuple(one["margin"]), tuple(one["unlike"]), one["weight"], one["cut"])
        for role, one in said["novelty"].items()
    }
    return Whole(mean, axes, said["middle"], said["slope"]), novelty
