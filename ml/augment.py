"""Random views of a batch of smears: geometry, focus and stain. Training folds alone see them."""

from __future__ import annotations

import math

import torch
from torch.nn import functional
from torchvision.transforms.v2 import functional as vision

Tensor = torch.Tensor


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def geometry(x: Tensor, generator: torch.Generator, scale: tuple[float, float] = (0.65, 1.5)) -> Tensor:
    """Any rotation, either handedness, and a magnification drawn log-uniformly from ``scale``; edges are mirrored."""
    n = len(x)
    angle = uniform(n, 0, 2 * math.pi, generator)
    zoom = torch.exp(-uniform(n, math.log(scale[0]), math.log(scale[1]), generator))
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    zero = torch.zeros(n)
    theta = torch.stack([cos * flip, -sin, zero, sin * flip, cos, zero], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def stain(x: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Another stain and camera: optical densities mixed and scaled per channel, then background and gamma."""
    n = len(x)
    density = -torch.log(x.clamp(1 / 255, 1))
    mix = torch.eye(3) + 0.12 * strength * torch.randn(n, 3, 3, generator=generator)
    gain = torch.exp(0.3 * strength * torch.randn(n, 3, 1, generator=generator))
    density = torch.einsum("nij,njhw->nihw", mix * gain, density).clamp(min=0)
    light = 1 - 0.15 * strength * torch.rand(n, 3, 1, 1, generator=generator)
    gamma = torch.exp(0.2 * strength * torch.randn(n, 1, 1, 1, generator=generator))
    return (light * torch.exp(-density)).clamp(0, 1) ** gamma


def focus(x: Tensor, generator: torch.Generator) -> Tensor:
    """Three in ten views are out of focus (σ up to 1.5 px); all carry a little noise."""
    blurred = torch.rand(len(x), generator=generator) < 0.3
    sigma = float(uniform(1, 0.4, 1.5, generator))
    x = torch.where(blurred[:, None, None, None], vision.gaussian_blur(x, [7, 7], [sigma, sigma]), x)
    return (x + 0.01 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def random_view(x: Tensor, generator: torch.Generator) -> Tensor:
    """One random view of each image in ``x`` (n, 3, h, w), 0–1; same shape and range."""
    return focus(stain(geometry(x, generator), generator), generator)
