"""Virtual patients: held-out predictions of different people with one diagnosis, put together as if they were one.

Few real people have all kinds of results. Here the kinds are drawn independently within a diagnosis, for every
combination of them. What real modalities share beyond the diagnosis is lost: figures from
virtual patients are always called virtual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml import evidence as ev
from ml.bundle import find_bundle, load_bundle
from ml.diagnosis_tree import load_tree
from ml.findings import BUNDLE_OF_MODALITY, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ml.bundle import Bundle

Rows = npt.NDArray[np.int64]
FOLDS = 5


@dataclass(frozen=True)
class Source:
    """The held-out predictions of one modality: n rows, k labels, L leaves.

    ``p`` (n, k) calibrated, ``in_scope`` (n,), ``means`` (n, L) bool: the leaves that the row's true label means,
    ``fold`` (n,) in 0..FOLDS-1; a group (patient) is in one fold only. ``usable`` is the share of the predictions read
    that are in scope: the others are left out here, as the fusion leaves them out.
    """

    modality: str
    bundle: Bundle
    p: ev.Array
    in_scope: ev.Array
    group: npt.NDArray[np.str_]
    means: npt.NDArray[np.bool_]
    fold: Rows
    usable: float

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
    """n patients with the same modalities: the position of each one's leaf, and for each modality the row drawn.

    ``truth`` (n, L): the leaves that all their true labels mean. ``people`` (n,): whose the rarest of their results is.
    """

    leaf: Rows
    rows: dict[str, Rows]
    truth: npt.NDArray[np.bool_]
    people: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.leaf)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.rows)

    @property
    def key(self) -> str:
        return "+".join(self.rows)

    def readings(self, i: int, sources: Mapping[str, Source], rules: Mapping[str, Any]) -> list[ev.Reading]:
        return [ev.read(sources[m].finding(int(rows[i])), rules) for m, rows in self.rows.items()]


def read_sources(oof: Path, bundles: Path, least_in_scope: Mapping[str, float], seed: int) -> dict[str, Source]:
    """The predictions in ``oof``/<bundle>.csv for every bundle that has them."""
    names = {m: name for m, name in BUNDLE_OF_MODALITY.items() if (oof / f"{name}.csv").is_file()}
    loaded = {m: load_bundle(find_bundle(name, root=bundles)) for m, name in names.items()}
    return {m: _read_source(m, oof / f"{name}.csv", loaded[m], least_in_scope[m], seed) for m, name in names.items()}


def _read_source(modality: str, path: Path, bundle: Bundle, least: float, seed: int) -> Source:
    """Rows whose truth is no label of the bundle (a lineage without a subtype, say) cannot be drawn: left out."""
    table = pd.read_csv(path, dtype={"id": str, "group": str, "y": str})
    table = table[table["y"].isin(bundle.labels)].reset_index(drop=True)
    p = table[[f"p:{label}" for label in bundle.labels]].to_numpy(np.float64)
    if not len(table) or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{path}: no row with a label of {bundle.reference}, or probabilities that do not sum to 1")
    usable = float((table["in_scope"] >= least).mean())
    p, table = p[table["in_scope"] >= least], table[table["in_scope"] >= least].reset_index(drop=True)
    return Source(
        modality=modality,
        bundle=bundle,
        p=p / p.sum(axis=1, keepdims=True),
        in_scope=table["in_scope"].to_numpy(np.float64),
        group=table["group"].to_numpy(str),
        means=_meanings(bundle, table["y"]),
        fold=split_in_folds(table["group"].to_numpy(str), table["y"].to_numpy(str), seed),
        usable=usable,
    )


def _meanings(bundle: Bundle, labels: Iterable[str]) -> npt.NDArray[np.bool_]:
    return ev.membership({str(i): bundle.leaves[label] for i, label in enumerate(labels)}).astype(bool)


def read_pairs(path: Path, sources: Mapping[str, Source]) -> dict[str, Source]:
    """People who have both labs and expression: two sources with the same people row by row; {} where there are none.

    Columns id (the group in the expression predictions), y (a label of expression), p:<modality>:<label> and
    in_scope:<modality>. A person is in the fold in which the expression predictions have them.
    """
    if not path.is_file() or not {"labs", "expression"} <= set(sources):
        return {}
    expression = sources["expression"]
    fold_of = dict(zip(expression.group, expression.fold, strict=True))
    table = pd.read_csv(path, dtype={"id": str, "y": str})
    table = table[table["id"].isin(list(fold_of)) & table["y"].isin(expression.bundle.labels)]
    shared = {
        "group": table["id"].to_numpy(str),
        "means": _meanings(expression.bundle, table["y"]),
        "fold": np.array([fold_of[one] for one in table["id"]]),
    }
    return {m: _of_pairs(sources[m], table, shared) for m in ("expression", "labs")}


def _of_pairs(source: Source, table: pd.DataFrame, shared: dict[str, Any]) -> Source:
    p = table[[f"p:{source.modality}:{label}" for label in source.bundle.labels]].to_numpy(np.float64)
    in_scope = table[f"in_scope:{source.modality}"].to_numpy(np.float64)
    return replace(source, p=p / p.sum(axis=1, keepdims=True), in_scope=in_scope, **shared)


def patients_of(pairs: Mapping[str, Source], folds: Iterable[int]) -> Patients:
    """The real people of these folds; ``leaf`` is the first of those that their label means."""
    source = next(iter(pairs.values()))
    rows = np.flatnonzero(np.isin(source.fold, list(folds)))
    means = source.means[rows]
    return Patients(means.argmax(axis=1), dict.fromkeys(pairs, rows), means, source.group[rows])


def split_in_folds(group: npt.NDArray[np.str_], y: npt.NDArray[np.str_], seed: int) -> Rows:
    """A fold for each row: whole groups, and each label's groups dealt out in turn, so that rare labels are in all."""
    rng = np.random.default_rng(seed)
    fold_of: dict[str, int] = {}
    for label in np.unique(y):
        groups = np.unique(group[y == label])
        start = int(rng.integers(FOLDS))
        for turn, one in enumerate(rng.permutation([g for g in groups if g not in fold_of])):
            fold_of[one] = (start + turn) % FOLDS
    return np.array([fold_of[g] for g in group])


def able(sources: Mapping[str, Source], modalities: Iterable[str]) -> npt.NDArray[np.bool_]:
    """(L,): the leaves of which all these modalities have somebody."""
    return np.asarray(np.all([sources[m].means.any(axis=0) for m in modalities], axis=0))


def combinations_of(sources: Mapping[str, Source]) -> list[tuple[str, ...]]:
    """Every subset of the modalities that some diagnosis has all of; single ones first."""
    subsets = [some for size in range(1, len(sources) + 1) for some in combinations(sources, size)]
    return [some for some in subsets if able(sources, some).any()]


def draw_patients(
    sources: Mapping[str, Source],
    modalities: Sequence[str],
    folds: Iterable[int],
    n: int,
    rng: np.random.Generator,
    leaves: Iterable[str] | None = None,
) -> Patients:
    """N virtual patients of these folds with these modalities: diagnoses by the tree's prior (among ``leaves``).

    People are drawn alike, however many results one gave. Diagnoses without people in these folds are not drawn.
    """
    names, folds = load_tree().leaves, list(folds)
    of = {m: sources[m].means & np.isin(sources[m].fold, folds)[:, None] for m in modalities}
    can = np.all([rows.any(axis=0) for rows in of.values()], axis=0)
    prior = (
        np.array(list(load_tree().prior.values())) * can * (True if leaves is None else np.isin(names, list(leaves)))
    )
    leaf = rng.choice(len(names), n if prior.any() else 0, p=prior / prior.sum() if prior.any() else None)
    drawn = {m: _draw_rows(sources[m], of[m], leaf, rng) for m in modalities}
    truth = np.all([sources[m].means[rows] for m, rows in drawn.items()], axis=0)
    rarest = min(modalities, key=lambda m: len(np.unique(sources[m].group)))
    return Patients(leaf, drawn, truth, sources[rarest].group[drawn[rarest]])


def _draw_rows(source: Source, of: npt.NDArray[np.bool_], leaf: Rows, rng: np.random.Generator) -> Rows:
    rows = np.zeros(len(leaf), np.int64)
    for one in np.unique(leaf):
        here = np.flatnonzero(of[:, one])
        _, person, count = np.unique(source.group[here], return_inverse=True, return_counts=True)
        weight = 1.0 / count[person]
        rows[leaf == one] = rng.choice(here, int((leaf == one).sum()), p=weight / weight.sum())
    return rows


def together(parts: Sequence[Patients]) -> Patients:
    """Patients with the same modalities, one after the other."""
    return Patients(
        np.concatenate([part.leaf for part in parts]),
        {m: np.concatenate([part.rows[m] for part in parts]) for m in parts[0].rows},
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.people for part in parts]),
    )
