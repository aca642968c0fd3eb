"""Fold numbers (n,) of an ImageSet: row i is held out in fold ``fold[i]``, and never where that is -1."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from ml.findings import InputRejected

if TYPE_CHECKING:
    import numpy.typing as npt

    from ml.datasets.image_set import ImageSet, Labels

HELD_OUT = 0.3


def split_70_30(images: ImageSet, seed: int) -> Labels:
    """0 for 30 % of each class, -1 for those to learn from. Images of one patient may be on both sides: such a figure
    is only comparable with figures that were got in the same way.
    """
    rng = np.random.default_rng(seed)
    fold = np.full(len(images.y), -1, dtype=np.int64)
    for k in range(len(images.labels)):
        rows = rng.permutation(np.flatnonzero(images.y == k))
        fold[rows[: round(HELD_OUT * len(rows))]] = 0
    if not (fold == 0).any():
        raise _too_few(images, "images", "two images of a class")
    return fold


def stratified_folds(images: ImageSet, folds: int, seed: int) -> Labels:
    """Classes in like shares, images of one group anywhere."""
    return _numbered(StratifiedKFold(folds, shuffle=True, random_state=seed), images, folds, images.y)


def grouped_folds(images: ImageSet, folds: int, seed: int, *, strata: npt.NDArray[Any] | None = None) -> Labels:
    """No group in two folds; classes, or the values of ``strata`` (n,), in shares as like as that allows."""
    if len(np.unique(images.groups)) < folds:
        raise _too_few(images, "groups", f"{folds} groups ({images.group_kind}s)")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return _numbered(splitter, images, folds, images.y if strata is None else strata)


def _numbered(splitter: Any, images: ImageSet, folds: int, strata: npt.NDArray[Any]) -> Labels:
    if np.unique(strata, return_counts=True)[1].max() < folds:
        raise _too_few(images, "images", f"{folds} images of a class")
    fold = np.zeros(len(strata), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rare classes: they may be absent from some folds
        for k, (_, held) in enumerate(splitter.split(strata, strata, images.groups)):
            fold[held] = k
    if len(np.unique(fold)) < folds:
        raise _too_few(images, "groups", f"{folds} groups of like size")
    return fold


def _too_few(images: ImageSet, what: str, least: str) -> InputRejected:
    return InputRejected(
        f"too_few_{what}",
        place=images.name,
        problem=f"{len(images.y)} images in {len(np.unique(images.groups))} groups cannot be divided so.",
        remedy=f"Bring at least {least}, or ask for fewer folds.",
    )
