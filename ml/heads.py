"""What is learned on top of the trunk: a projection, a small classifier, the distance to the training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from scipy.special import expit
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from pathlib import Path

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ROWS = 128  # a training step


@dataclass(frozen=True)
class Projection:
    """Standardised features → whitened principal components.

    ``centre``, ``spread`` (features,); ``axes`` (components, features); ``variance`` (components,); ``noise`` the mean
    variance of the discarded directions.
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
        return (np.asarray(features, dtype=np.float64) - self.centre) / self.spread


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

    def logits(self, z: Floats) -> Floats:
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


def fit_network(z: Floats, y: Labels, classes: int, seed: int, epochs: int = 15, hidden: int = 512) -> Head:
    """One hidden layer with dropout and label smoothing, trained by AdamW on a one-cycle schedule."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(z.shape[1], hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes)
    )
    x, truth = torch.tensor(z, dtype=torch.float32), torch.tensor(y)
    steps = epochs * -(-len(x) // ROWS)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(ROWS):
            optimiser.zero_grad()
            functional.cross_entropy(network(x[rows]), truth[rows], label_smoothing=0.05).backward()
            optimiser.step()
            schedule.step()
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    return Head(tuple((_array(layer.weight), _array(layer.bias)) for layer in linear))


def _array(parameter: torch.Tensor) -> Floats:
    return parameter.detach().numpy().astype(np.float64)


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


def save_arrays(path: Path, projection: Projection, **heads: Head) -> None:
    """Half precision, but for the scales, which need their range."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "centre": projection.centre.astype(np.float32),
        "spread": projection.spread.astype(np.float32),
        "axes": projection.axes.astype(np.float16),
        "variance": projection.variance.astype(np.float32),
        "noise": np.array([projection.noise], dtype=np.float32),
    }
    for name, head in heads.items():
        for k, (weight, bias) in enumerate(head.layers):
            arrays |= {f"{name}.{k}.weight": weight.astype(np.float32), f"{name}.{k}.bias": bias.astype(np.float32)}
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, path
    )  # it writes memory as it lies


def load_arrays(path: Path) -> tuple[Projection, dict[str, Head]]:
    a = {name: value.astype(np.float64) for name, value in load_file(path).items()}
    projection = Projection(a["centre"], a["spread"], a["axes"], a["variance"], float(a["noise"][0]))
    layers: dict[str, list[tuple[Floats, Floats]]] = {}
    for key in sorted(name for name in a if name.endswith(".weight")):
        layers.setdefault(key.split(".")[0], []).append((a[key], a[key.replace(".weight", ".bias")]))
    return projection, {name: Head(tuple(of_head)) for name, of_head in layers.items()}
