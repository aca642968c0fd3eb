"""What is learned on top of the trunk: a projection, a small classifier, the distance to the training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy.special import expit
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from pathlib import Path

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Projection:
    """Standardised features → whitened principal components.

    It reads the first ``len(centre)`` of the features that it is given. ``centre``, ``spread`` (features,); ``axes``
    (components, features); ``variance`` (components,); ``noise`` the mean variance of the discarded directions.
    """

    centre: Floats
    spread: Floats
    axes: Floats
    variance: Floats
    noise: float

    def apply(self, features: npt.ArrayLike) -> Floats:
        """(n, features) → (n, components), unit variance over the training images."""
        return np.asarray(self._standard(features) @ self.axes.T / np.sqrt(self.variance))

    def distance(self, features: npt.ArrayLike) -> Floats:
        """Ln of the mean squared Mahalanobis distance to the training images under probabilistic PCA (Tipping & Bishop
        1999, doi:10.1111/1467-9868.00196): within the components and, with equal say, outside them. (n,)
        """
        x = self._standard(features)
        z = x @ self.axes.T
        inside = (z**2 / self.variance).mean(axis=1)
        outside = ((x**2).sum(axis=1) - (z**2).sum(axis=1)) / (self.noise * (x.shape[1] - len(self.axes)))
        return np.asarray(np.log((inside + outside) / 2))

    def _standard(self, features: npt.ArrayLike) -> Floats:
        return (np.asarray(features, dtype=np.float64)[:, : len(self.centre)] - self.centre) / self.spread


def fit_projection(features: npt.NDArray[Any], components: int, seed: int = 0) -> Projection:
    """At most ``components`` of them, and fewer than half the rows, so that noise is left to be measured."""
    x, components = features.astype(np.float64), min(components, len(features) // 2)
    centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-3
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit((x - centre) / spread)
    return Projection(centre, spread, pca.components_, pca.explained_variance_, float(pca.noise_variance_))


@dataclass(frozen=True)
class Head:
    """A classifier on projected features: ``layers`` of (weight (out, in), bias (out,)), with ReLU between them."""

    layers: tuple[tuple[Floats, Floats], ...]

    def logits(self, z: npt.NDArray[Any]) -> Floats:
        for weight, bias in self.layers[:-1]:
            z = np.maximum(z @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        return np.asarray(z @ weight.T + bias)


def fit_linear(z: Floats, y: Labels, penalty: float) -> Head:
    """Two-class logistic regression with an L2 ``penalty`` per row."""
    fitted = LogisticRegression(C=1 / (penalty * len(y)), max_iter=1000).fit(z, y)
    return Head(
        ((np.vstack([-fitted.coef_, fitted.coef_]) / 2, np.hstack([-fitted.intercept_, fitted.intercept_]) / 2),)
    )


@dataclass(frozen=True)
class Scope:
    """ln distance → in-scope score in (0, 1): ½ at ``limit``, 0.95 at ``usual``."""

    usual: float
    limit: float

    def score(self, distance: Floats) -> Floats:
        return np.asarray(expit(np.log(19) * (self.limit - distance) / max(self.limit - self.usual, 1e-6)))


def fit_scope(distance: Floats) -> Scope:
    """From held-out training images: 90 % of them score 0.95 or more, one in 50 below one half.

    That many of our own are given up because images of other laboratories lie just beyond.
    """
    return Scope(float(np.percentile(distance, 90)), float(np.percentile(distance, 98)))


def save_arrays(path: Path, projection: Projection, near: Projection | None, **heads: Head) -> None:
    """``near``: the projection whose distance judges what is in scope, where it is one of its own."""
    arrays = _stored(projection, "") | (_stored(near, "near.") if near else {})
    for name, head in heads.items():
        for k, (weight, bias) in enumerate(head.layers):
            arrays |= {f"{name}.{k}.weight": weight.astype(np.float32), f"{name}.{k}.bias": bias.astype(np.float32)}
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, path
    )  # it writes memory as it lies


def _stored(projection: Projection, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Half precision, but for the scales, which need their range."""
    return {
        f"{prefix}centre": projection.centre.astype(np.float32),
        f"{prefix}spread": projection.spread.astype(np.float32),
        f"{prefix}axes": projection.axes.astype(np.float16),
        f"{prefix}variance": projection.variance.astype(np.float32),
        f"{prefix}noise": np.array([projection.noise], dtype=np.float32),
    }


def _loaded(a: dict[str, Floats], prefix: str) -> Projection:
    centre, spread, axes, variance, noise = (
        a[prefix + name] for name in ("centre", "spread", "axes", "variance", "noise")
    )
    return Projection(centre, spread, axes, variance, float(noise[0]))


def load_arrays(path: Path) -> tuple[Projection, Projection, dict[str, Head]]:
    """The projection, the one for the in-scope distance (the same where there is no other), and the heads."""
    a = {name: value.astype(np.float64) for name, value in load_file(path).items()}
    projection = _loaded(a, "")
    near = _loaded(a, "near.") if "near.centre" in a else projection
    layers: dict[str, list[tuple[Floats, Floats]]] = {}
    for key in sorted(name for name in a if name.endswith(".weight")):
        layers.setdefault(key.split(".")[0], []).append((a[key], a[key.replace(".weight", ".bias")]))
    return projection, near, {name: Head(tuple(of_head)) for name, of_head in layers.items()}
