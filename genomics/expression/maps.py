"""A map of the training cohort for each step, with the case placed on it: principal components of the class means.

A linear projection of within-sample ranks, so that a case alone lands where it would in a batch, and a gene that is
absent moves it nowhere. Axes through the class means show what the classes differ in; distances on paper are no
probabilities.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

if TYPE_CHECKING:
    from pathlib import Path

    from genomics.expression.heads import HeadSays
    from ml.bundle import Bundle

Array = npt.NDArray[np.float64]

FILE = "maps.safetensors"
METHOD = "principal components of the class means, of within-sample ranks"
TITLES = {"lineage": "Lineage", "b_all": "Subtypes of B-ALL", "aml": "Subtypes of AML"}
DECIMALS = 2


@dataclass(frozen=True)
class CohortMap:
    """``axes`` (2, g) and ``mean`` (g,) of ranks; ``points`` (n, 2) of the training samples, ``label`` (n,) of names.

    ``spread`` (2,) is the share of the variance between the class means along each axis.
    """

    axes: Array
    mean: Array
    points: Array
    label: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    spread: tuple[float, ...]

    @cached_property
    def cohort(self) -> dict[str, list[list[float]]]:
        """Class → the points of its training samples, rounded."""
        return {name: self.points[self.label == k].round(DECIMALS).tolist() for k, name in enumerate(self.names)}

    def place(self, ranks: Array) -> Array:
        """(…, g) ranks, NaN where the gene is absent → (…, 2)."""
        return np.asarray(np.nan_to_num(ranks - self.mean) @ self.axes.T)


def fit_map(ranks: Array, label: npt.NDArray[Any], seed: int) -> CohortMap:
    """From the ranks (n, g) of training samples and their classes (n,); in an order that says nothing of the files."""
    names = sorted(set(label))
    means = np.array([np.nanmean(ranks[label == name], axis=0) for name in names])
    mean = means.mean(axis=0)
    _, singular, axes = np.linalg.svd(means - mean, full_matrices=False)
    spread = np.square(singular[:2]) / np.square(singular).sum()
    order = np.random.default_rng(seed).permutation(len(label))
    points = np.nan_to_num(ranks[order] - mean) @ axes[:2].T
    which = np.array([names.index(name) for name in label[order]], dtype=np.uint8)
    return CohortMap(axes[:2], mean, points, which, tuple(names), tuple(spread.tolist()))


def save_maps(maps: dict[str, CohortMap], folder: Path) -> dict[str, Any]:
    """Writes FILE; returns what the manifest has to say of it."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for head, one in maps.items():
        tensors |= {f"{head}.{part}": getattr(one, part).astype(np.float16) for part in ("axes", "mean", "points")}
        tensors[f"{head}.label"] = one.label
    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, folder / FILE)
    return {head: {"labels": list(one.names), "spread": list(one.spread)} for head, one in maps.items()}


def load_maps(bundle: Bundle) -> dict[str, CohortMap]:
    """The maps of a bundle by head; none of a bundle from before there were any."""
    known: dict[str, Any] = bundle.manifest.get("maps", {})
    return _read(bundle.file(FILE), bundle.sha256, json.dumps(known)) if known else {}


def _as_map(head: str, said: dict[str, Any], tensors: dict[str, Array]) -> CohortMap:
    axes, mean, points = (tensors[f"{head}.{part}"] for part in ("axes", "mean", "points"))
    label = tensors[f"{head}.label"].astype(np.uint8)
    return CohortMap(axes, mean, points, label, tuple(said["labels"]), tuple(said["spread"]))


@lru_cache(maxsize=4)
def _read(path: Path, sha256: str, known: str) -> dict[str, CohortMap]:  # noqa: ARG001 (the hash is part of the key)
    tensors = {name: tensor.astype(np.float64) for name, tensor in load_file(path).items()}
    return {head: _as_map(head, said, tensors) for head, said in json.loads(known).items()}


def place_case(maps: dict[str, CohortMap], says: dict[str, HeadSays], way: list[str]) -> list[dict[str, Any]]:
    """JSON for each map along ``way``: the case's coordinates, and those of the training samples by class."""
    return [_placed(head, maps[head], says[head]) for head in way if head in maps and says[head].speaks]


def _placed(head: str, one: CohortMap, said: HeadSays) -> dict[str, Any]:
    x, y = one.place(said.ranks).round(DECIMALS).tolist()
    return {
        "head": head,
        "title": TITLES[head],
        "method": METHOD,
        "axes": [f"component {k + 1} ({share:.0%} of the spread)" for k, share in enumerate(one.spread)],
        "x": x,
        "y": y,
        "cohort": one.cohort,
    }
