"""Virtual patients: held-out predictions of different people with one diagnosis, put together as if they were one.

Few real people have all kinds of results. Here the kinds are drawn independently within a diagnosis, and some are left
out at random, so that every combination occurs. What real modalities share beyond the diagnosis is lost: figures from
virtual patients are always called virtual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml import evidence as ev
from ml.bundle import find_bundle, load_bundle
from ml.diagnosis_tree import load_tree
from ml.findings import BUNDLE_OF_MODALITY, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ml.bundle import Bundle

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """The held-out predictions of one modality: n rows, k labels, L leaves.

    ``p`` (n, k) calibrated, ``in_scope`` (n,), ``means`` (n, L) bool: the leaves that the row's true label means,
    ``half`` (n,) 0 to learn and calibrate, 1 to report; a group (patient) is in one half only.
    """

    modality: str
    bundle: Bundle
    p: ev.Array
    in_scope: ev.Array
    group: npt.NDArray[np.str_]
    means: npt.NDArray[np.bool_]
    half: Rows

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        return ev.seen(ev.membership(self.bundle.leaves))

    def evidence(self, cap: float) -> ev.Array:
        share = np.array(list(self.bundle.training_share.values()))
        return ev.leaf_evidence(self.p, self.in_scope, ev.membership(self.bundle.leaves), share, cap)

    def finding(self, row: int) -> Finding:
        labels = self.bundle.labels
        return Finding(
            modality=self.modality,
            bundle=self.bundle.reference,
            bundle_sha256=self.bundle.sha256,
            label=labels[int(self.p[row].argmax())],
            probabilities=dict(zip(labels, self.p[row].tolist(), strict=True)),
            in_scope=float(self.in_scope[row]),
            leaves=self.bundle.leaves,
            training_share=self.bundle.training_share,
        )


@dataclass(frozen=True)
class Patients:
    """n virtual patients: the position of each one's leaf, and for each modality the row drawn, or −1 for none."""

    leaf: Rows
    rows: dict[str, Rows]

    def __len__(self) -> int:
        return len(self.leaf)

    def modalities(self, i: int) -> tuple[str, ...]:
        return tuple(m for m, rows in self.rows.items() if rows[i] >= 0)

    def findings(self, i: int, sources: Mapping[str, Source]) -> list[Finding]:
        return [sources[m].finding(int(self.rows[m][i])) for m in self.modalities(i)]


def read_sources(oof: Path, bundles: Path, seed: int) -> dict[str, Source]:
    """The predictions in ``oof``/<bundle>.csv for every bundle that has them."""
    names = {m: name for m, name in BUNDLE_OF_MODALITY.items() if (oof / f"{name}.csv").is_file()}
    loaded = {m: load_bundle(find_bundle(name, root=bundles)) for m, name in names.items()}
    return {m: _read_source(m, oof / f"{name}.csv", loaded[m], seed) for m, name in names.items()}


def _read_source(modality: str, path: Path, bundle: Bundle, seed: int) -> Source:
    """Rows whose truth is no label of the bundle (a lineage without a subtype, say) cannot be drawn: left out."""
    table = pd.read_csv(path, dtype={"id": str, "group": str, "y": str})
    table = table[table["y"].isin(bundle.labels)].reset_index(drop=True)
    p = table[[f"p:{label}" for label in bundle.labels]].to_numpy(np.float64)
    if not len(table) or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{path}: no row with a label of {bundle.reference}, or probabilities that do not sum to 1")
    return Source(
        modality=modality,
        bundle=bundle,
        p=p / p.sum(axis=1, keepdims=True),
        in_scope=table["in_scope"].to_numpy(np.float64),
        group=table["group"].to_numpy(str),
        means=_meanings(bundle, table["y"]),
        half=split_in_halves(table["group"].to_numpy(str), table["y"].to_numpy(str), seed),
    )


def _meanings(bundle: Bundle, labels: Iterable[str]) -> npt.NDArray[np.bool_]:
    return ev.membership({str(i): bundle.leaves[label] for i, label in enumerate(labels)}).astype(bool)


def read_pairs(path: Path, sources: Mapping[str, Source]) -> dict[str, Source]:
    """People who have both labs and expression: two sources with the same people row by row; {} where there are none.

    Columns id (the group in the expression predictions), y (a label of expression), p:<modality>:<label> and
    in_scope:<modality>. A person is in the half in which the expression predictions have them.
    """
    if not path.is_file() or not {"labs", "expression"} <= set(sources):
        return {}
    expression = sources["expression"]
    half_of = dict(zip(expression.group, expression.half, strict=True))
    table = pd.read_csv(path, dtype={"id": str, "y": str})
    table = table[table["id"].isin(list(half_of)) & table["y"].isin(expression.bundle.labels)]
    shared = {
        "group": table["id"].to_numpy(str),
        "means": _meanings(expression.bundle, table["y"]),
        "half": np.array([half_of[one] for one in table["id"]]),
    }
    return {m: _of_pairs(sources[m], table, shared) for m in ("expression", "labs")}


def _of_pairs(source: Source, table: pd.DataFrame, shared: dict[str, Any]) -> Source:
    p = table[[f"p:{source.modality}:{label}" for label in source.bundle.labels]].to_numpy(np.float64)
    in_scope = table[f"in_scope:{source.modality}"].to_numpy(np.float64)
    return replace(source, p=p / p.sum(axis=1, keepdims=True), in_scope=in_scope, **shared)


def patients_of(pairs: Mapping[str, Source], half: int) -> Patients:
    """The real people of one half; ``leaf`` is the first of those that their label means."""
    source = next(iter(pairs.values()))
    rows = np.flatnonzero(source.half == half)
    return Patients(source.means[rows].argmax(axis=1), dict.fromkeys(pairs, rows))


def split_in_halves(group: npt.NDArray[np.str_], y: npt.NDArray[np.str_], seed: int) -> Rows:
    """0 or 1 for each row: whole groups, and each label's groups dealt out in turn, so that rare labels are in both."""
    rng = np.random.default_rng(seed)
    half_of: dict[str, int] = {}
    for label in np.unique(y):
        groups = np.unique(group[y == label])
        for turn, one in enumerate(rng.permutation([g for g in groups if g not in half_of])):
            half_of[one] = turn % 2
    return np.array([half_of[g] for g in group])


def draw_patients(sources: Mapping[str, Source], half: int, n: int, seed: int) -> Patients:
    """The n virtual patients of one half: diagnoses by the tree's prior, then some modalities at random."""
    rng, tree = np.random.default_rng(seed), load_tree()
    able = {
        leaf: {
            m: rows for m, s in sources.items() if (rows := np.flatnonzero(s.means[:, leaf] & (s.half == half))).size
        }
        for leaf in range(len(tree.leaves))
    }
    prior = np.array([share * bool(able[leaf]) for leaf, share in enumerate(tree.prior.values())])
    leaves = rng.choice(len(prior), n, p=prior / prior.sum())
    drawn = {m: np.full(n, -1) for m in sources}
    for i, leaf in enumerate(leaves):
        for m in _some(rng, list(able[leaf])):
            drawn[m][i] = rng.choice(able[leaf][m])
    return Patients(leaves, drawn)


def _some(rng: np.random.Generator, modalities: list[str]) -> list[str]:
    """Each subset but the empty one alike."""
    chosen = int(rng.integers(1, 2 ** len(modalities)))
    return [m for bit, m in enumerate(modalities) if chosen >> bit & 1]
