"""Prediction sets with a promised coverage over the tree: split conformal, by lineage where people suffice.

The score of a leaf is 1 − the probability of the leaves that the findings do not tell from it, itself included (the
score of Sadinle et al. 2019, doi:10.1080/01621459.2017.1395341, over blocks): what nothing tells apart stays together.
A leaf is in the set if its score is at most the quantile of its lineage (Vovk 2012, arXiv:1209.2673), so that each
lineage is covered as promised, not only the common ones. Where too few people of a lineage were there to calibrate,
the quantile of all stands in.

Leaves of which a combination of modalities has no calibration patient cannot be covered by calibration. Where their
prior is a small part of the error allowed, they are left out and the others are held to a coverage that pays for it;
otherwise they always stay in the set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.lineages import LINEAGES, lineage_index
from ml.posterior import for_combination

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

STEP = 0.005
SPENT_ON_UNKNOWN = 0.25  # of the error allowed, at most this share on leaves that nobody calibrated


def block_mass(p: ev.Array, evidence: ev.Array) -> ev.Array:
    """(L,), (L,) → (L,): the probability of all leaves with the same evidence as this one."""
    _, block = np.unique(evidence.round(9), return_inverse=True)
    return np.asarray(np.bincount(block, p)[block])


def score(p: ev.Array, evidence: ev.Array) -> ev.Array:
    """(L,), (L,) → (L,), in [0, 1]; the higher, the less the leaf fits. In steps: the equally sure stay together."""
    return np.asarray(np.floor((1.0 - block_mass(p, evidence)) / STEP + 1e-9) * STEP)


def scores(p: ev.Array, evidence: ev.Array) -> ev.Array:
    """The same of n patients: (n, L), (n, L) → (n, L)."""
    return np.array([score(*row) for row in zip(p, evidence, strict=True)]).reshape(p.shape)


def quantile(values: npt.NDArray[np.float64], coverage: float) -> float:
    """The ⌈(n+1)·coverage⌉-th smallest; 1, which leaves nothing out, where so many are not there."""
    rank = int(np.ceil((len(values) + 1) * coverage))
    return float(np.sort(values)[rank - 1]) if 0 < rank <= len(values) else 1.0


def calibrate(
    of_truth: npt.NDArray[np.float64],
    leaf: npt.NDArray[np.int64],
    people: npt.NDArray[np.str_],
    known: npt.NDArray[np.bool_],
    coverage: float,
    fewest: int,
) -> dict[str, Any]:
    """The thresholds of one combination of modalities from n calibration patients.

    ``of_truth`` (n,) the score of each one's true leaf, ``leaf`` (n,), ``people`` (n,) of whom their rarest finding is,
    ``known`` (L,) the leaves that have calibration patients, ``fewest`` people for a quantile of a lineage's own.
    """
    prior = np.array(list(load_tree().prior.values()))
    unknown = float(prior[~known].sum())
    leaves_out = unknown <= SPENT_ON_UNKNOWN * (1 - coverage)
    aim = coverage / (1 - unknown) if leaves_out else coverage
    lineage = lineage_index()[leaf]
    own = {
        LINEAGES[k]: quantile(of_truth[lineage == k], aim)
        for k in np.unique(lineage)
        if len(np.unique(people[lineage == k])) >= fewest
    }
    return {
        "pooled": quantile(of_truth, aim),
        "lineage": own,
        "always": []
        if leaves_out
        else [name for name, is_known in zip(load_tree().leaves, known, strict=True) if not is_known],
        "n": len(of_truth),
        "people": len(np.unique(people)),
    }


def limits(thresholds: Mapping[str, Any]) -> ev.Array:
    """(L,): the highest score with which each leaf is still in the set; 1 for those that always are."""
    of = [thresholds["lineage"].get(name, thresholds["pooled"]) for name in LINEAGES]
    always = np.isin(load_tree().leaves, thresholds["always"])
    return np.where(always, 1.0, np.array(of)[lineage_index()])


def inside(p: ev.Array, evidence: ev.Array, thresholds: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """(L,): the leaves in the set, perhaps none: then no diagnosis fits as well as it should."""
    return np.asarray(score(p, evidence) <= limits(thresholds) + 1e-9)


def prediction_sets(
    readings: Sequence[ev.Reading], p: ev.Array, disputed: Collection[str], rules: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """For each coverage that the bundle promises: the fewest nodes with exactly the leaves of the set.

    ``disputed`` leaves, for which contradicting findings speak, are always in it: a set does not take sides. Promises
    come in rising order, and a set holds all that the one before it does: the two are calibrated apart, and where few
    people are, the larger promise may have had the smaller quantile.

    ``calibrated`` is False where the bundle had nobody with this combination of modalities: the set then rests on the
    posterior alone. ``fits`` is False where no diagnosis fits as well as it should; the set then holds the best there
    is, and covers no less for it.
    """
    evidence, found = ev.total(readings), []
    within = np.isin(load_tree().leaves, list(disputed))
    for promise in rules["conformal"]["promises"]:
        thresholds = for_combination(promise["by"], readings)
        held = credible(p, evidence, promise["coverage"]) if thresholds is None else inside(p, evidence, thresholds)
        fits = bool(held.any())
        within = within | (held if fits else credible(p, evidence, 0.0))
        calibrated = {"calibrated": thresholds is not None, "fits": fits}
        found.append({"coverage": promise["coverage"], "nodes": cover(p, within), **calibrated})
    return found


def credible(p: ev.Array, evidence: ev.Array, coverage: float) -> npt.NDArray[np.bool_]:
    """(L,): the fewest blocks, the most probable first and at least one, that have ``coverage`` of the posterior."""
    mass = block_mass(p, evidence)
    above = np.array([p[mass > one + 1e-12].sum() for one in mass])
    return np.asarray(above < max(coverage, 1e-12))


def cover(p: ev.Array, held: npt.NDArray[np.bool_]) -> list[str]:
    """The fewest nodes that hold exactly these leaves; the most probable first."""
    names = {leaf for leaf, is_in in zip(load_tree().leaves, held, strict=True) if is_in}
    return sorted(_cover(load_tree().root, names), key=lambda node: -p[ev.columns(node)].sum())


def _cover(node: str, held: set[str]) -> list[str]:
    tree = load_tree()
    under = set(tree.leaves_under(node))
    if under <= held:
        return [node]
    return [part for child in tree.children(node) for part in _cover(child, held)] if under & held else []
