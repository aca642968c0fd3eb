"""Usable findings to one probability a leaf: by the evidence, or by the stacked ensemble where the bundle says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.findings import MODALITIES
from ml.stacking import STACK_FILE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ml.bundle import Bundle


@dataclass(frozen=True)
class Posterior:
    """Called with any subset of readings, in any order: (L,) probabilities. Without a reading it is the prior."""

    prior: ev.Array
    stack: Stack | None = None

    def __call__(self, readings: Sequence[ev.Reading]) -> ev.Array:
        p = ev.posterior(self.prior, ev.total(readings))
        return self.stack.reweigh(p, [r for r in readings if r.evidence.any()], self.prior) if self.stack else p


def posterior_of(bundle: Bundle, prior: ev.Array) -> Posterior:
    is_stacked = bundle.manifest.get("method", "evidence") == "stacking"
    return Posterior(prior, _stack_of(bundle.path, bundle.sha256) if is_stacked else None)


@lru_cache(maxsize=4)
def _stack_of(folder: Any, sha256: str) -> Stack:  # noqa: ARG001 (the hash is the key: a changed bundle is read again)
    return Stack.load(folder / STACK_FILE)


def checked_prior(prior: Mapping[str, float] | None) -> ev.Array:
    """(L,) in the tree's order; the tree's own where none is given. ValueError for what is no prior over the leaves."""
    tree = load_tree()
    said = tree.prior if prior is None else prior
    if set(said) != set(tree.leaves) or min(said.values()) <= 0 or abs(sum(said.values()) - 1) > 1e-6:
        raise ValueError("A prior gives every leaf of the diagnosis tree a share above 0, and they sum to 1")
    shares = np.array([said[leaf] for leaf in tree.leaves], dtype=np.float64)
    return shares / shares.sum()


def by_node(p: ev.Array) -> dict[str, float]:
    return dict(zip(load_tree().nodes, (ev.node_matrix() @ p).tolist(), strict=True))


def for_combination(calibrated: Mapping[str, Any], readings: Iterable[ev.Reading]) -> Any:
    """What was calibrated for this combination of modalities, or the most careful value where it was too rare."""
    present = {r.modality for r in readings}
    return calibrated.get("+".join(m for m in MODALITIES if m in present), calibrated["otherwise"])
