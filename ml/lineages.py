"""The six diagnoses that a work-up decides between first; every leaf of the tree is in exactly one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ml.diagnosis_tree import load_tree

LINEAGES = ("no_leukaemia", "b_all", "t_all", "apl", "aml_other", "mpal")


def lineage_of(leaf: str) -> str:
    path = load_tree().path(leaf)
    return next((name for name in LINEAGES if name in path), "aml_other")


@lru_cache(maxsize=1)
def lineage_matrix() -> npt.NDArray[np.float64]:
    """With a row for each lineage, a column for each leaf: 1 where the leaf is of the lineage."""
    return np.array([[float(lineage_of(leaf) == name) for leaf in load_tree().leaves] for name in LINEAGES])


@lru_cache(maxsize=1)
def lineage_index() -> npt.NDArray[np.int64]:
    """(L,): the position of each leaf's lineage."""
    return np.asarray(lineage_matrix().argmax(axis=0))
