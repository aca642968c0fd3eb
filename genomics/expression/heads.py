"""A head: ranks of one gene panel within one sample → probabilities of its classes, linear, so exactly explainable.

Within-sample ranks (0 to 1, ties shared, everything below ``floor`` alike) transfer between laboratories better than
log values; a gene that is absent counts as its training mean. Ranks over a panel as singscore has them (Foroutan et al.
2018, doi:10.1186/s12859-018-2435-4).
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from scipy.special import expit, softmax
from scipy.stats import rankdata

from genomics.expression.genes import load_genes
from genomics.expression.scale import is_per_length

if TYPE_CHECKING:
    from pathlib import Path

    from genomics.expression.reader import ExpressionTable
    from ml.bundle import Bundle

Array = npt.NDArray[np.float64]

WEIGHTS = "heads.safetensors"
HEADS = "heads.json"
ROLES = ("lineage", "kind", "b_all", "aml")  # AML or not; then B-ALL, T-ALL or normal; then the subtype of either
B_ANTIGENS = ("CD19", "CD22", "CD79A", "CD79B", "PAX5")
T_ANTIGENS = ("CD2", "CD3D", "CD3E", "CD3G", "LCK")
CONFLICT = 0.1  # difference of mean ranks from which the antigens speak for the other lineage


@dataclass(frozen=True)
class Head:
    """One linear classifier. ``weight`` (k, g), ``bias`` (k,), ``mean`` (g,) and ``centroids`` (k, g) are of ranks."""

    name: str
    classes: tuple[str, ...]
    share: tuple[float, ...]
    genes: tuple[str, ...]
    per_length: bool
    floor: float
    min_overlap: float
    temperature: float
    scope: dict[str, float]
    weight: Array
    bias: Array
    mean: Array
    centroids: Array


@dataclass(frozen=True)
class HeadSays:
    """What a head makes of one sample. ``ranks`` (g,): NaN where a gene is absent; ``logits`` (k,): of genes alone."""

    head: Head
    p: Array
    in_scope: float
    overlap: float
    ranks: Array
    logits: Array
    pushes: Array  # (k,) nats that something else than single genes has added to each class

    @property
    def speaks(self) -> bool:
        return self.overlap >= self.head.min_overlap


def panel_ranks(table: ExpressionTable, genes: tuple[str, ...], *, per_length: bool, floor: float) -> Array:
    """(n, g) ranks within each sample of ``table`` over those of ``genes`` that it has; NaN for the others."""
    column = {gene: k for k, gene in enumerate(table.genes)}
    here = [k for k, gene in enumerate(genes) if gene in column]
    known = load_genes()
    position = known.position
    length = known.length[[position[genes[k]] for k in here]]
    values = table.values[:, [column[genes[k]] for k in here]]
    ranks = np.full((len(table.samples), len(genes)), np.nan)
    for row, scale in enumerate(table.scales):
        factor = length ** (float(is_per_length(scale)) - float(per_length))
        ranks[row, here] = np.maximum(rankdata(values[row] * factor) / max(len(here), 1), floor)
    return ranks


def similarity(ranks: Array, centroids: Array) -> Array:
    """(n,) Pearson correlation of each row of ranks with the nearest centroid (k, g), over the genes present."""
    nearest = np.empty(len(ranks))
    for row, values in enumerate(ranks):
        here = np.isfinite(values)
        nearest[row] = (
            np.corrcoef(np.vstack([values[here], centroids[:, here]]))[0, 1:].max() if here.sum() > 2 else 0.0
        )
    return nearest


def listen(head: Head, table: ExpressionTable) -> HeadSays:
    """What ``head`` says of the one sample of ``table``; its training share where too few genes are there to judge."""
    ranks = panel_ranks(table, head.genes, per_length=head.per_length, floor=head.floor)
    overlap, none = float(np.isfinite(ranks).mean()), np.zeros(len(head.classes))
    if overlap < head.min_overlap:
        return HeadSays(head, np.array(head.share), 1.0, overlap, ranks[0], none, none)
    logits = head.weight @ np.nan_to_num(ranks[0] - head.mean) + head.bias
    alike = similarity(ranks, head.centroids)[0]
    in_scope = float(expit((alike - head.scope["middle"]) / head.scope["width"]))
    return HeadSays(head, softmax(logits / head.temperature), in_scope, overlap, ranks[0], logits, none)


def contributions(says: HeadSays, answer: int, rival: int) -> tuple[Array, float]:
    """The log-odds of ``answer`` against ``rival``: (contribution of each gene (g,), intercept), whose sum it is."""
    head = says.head
    each = (head.weight[answer] - head.weight[rival]) * np.nan_to_num(says.ranks - head.mean) / head.temperature
    return each, float(head.bias[answer] - head.bias[rival]) / head.temperature


@lru_cache(maxsize=16)
def symbol_columns(genes: tuple[str, ...]) -> dict[str, int]:
    """Symbol → position among ``genes`` (Ensembl ids)."""
    known = load_genes()
    return {known.symbol(gene): k for k, gene in enumerate(genes)}


def t_over_b(ranks: Array, genes: tuple[str, ...]) -> Array:
    """(n,) mean rank of T-cell genes minus that of B-cell genes: below 0 in B-ALL, above CONFLICT in T-ALL."""
    column = symbol_columns(genes)
    t, b = ([column[s] for s in antigens if s in column] for antigens in (T_ANTIGENS, B_ANTIGENS))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice", category=RuntimeWarning)  # no such gene: NaN
        return np.asarray(np.nanmean(ranks[:, t], axis=1) - np.nanmean(ranks[:, b], axis=1))


def compose(p: dict[str, Array], classes: dict[str, tuple[str, ...]]) -> tuple[tuple[str, ...], Array]:
    """(labels, their probabilities (n, labels)) from those of every head (n, k): the product along the way down."""
    parts: dict[str, Array] = {}
    for role, way in (("kind", p["lineage"][:, :1]), ("aml", p["lineage"][:, 1:])):
        parts |= {name: way[:, 0] * p[role][:, k] for k, name in enumerate(classes[role])}
    b_all = parts.pop("B-ALL")
    parts |= {name: b_all * p["b_all"][:, k] for k, name in enumerate(classes["b_all"])}
    return tuple(parts), np.column_stack(list(parts.values()))


def load_heads(bundle: Bundle) -> dict[str, Head]:
    """The heads of a bundle by role, read once a process."""
    return _read_heads(bundle.file(HEADS), bundle.file(WEIGHTS), bundle.sha256)


@lru_cache(maxsize=4)
def _read_heads(heads: Path, weights: Path, sha256: str) -> dict[str, Head]:  # noqa: ARG001 (the hash is part of the key)
    tensors = {name: t.astype(np.float64) for name, t in load_file(weights).items()}
    said: dict[str, Any] = json.loads(heads.read_text("utf-8"))
    return {name: make_head(name, facts, tensors) for name, facts in said.items()}


def make_head(name: str, facts: dict[str, Any], tensors: dict[str, Array]) -> Head:
    arrays = {part: tensors[f"{name}.{part}"] for part in ("weight", "bias", "mean", "centroids")}
    lists = {part: tuple(facts[part]) for part in ("classes", "share", "genes")}
    return Head(**{**facts, **lists, **arrays, "name": name})
