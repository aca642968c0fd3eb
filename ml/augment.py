"""Random views of a batch of smears: geometry, focus and stain. Training folds alone see them."""

from __future__ import annotations

import math

import torch
from torch.nn import functional
from torchvision.transforms.v2 import functional as vision

Tensor = torch.Tensor

FAR = 1.7  # strength of the stain changes for whole fields
REACHES = 0.08, 0.35  # of the distance channel: 0.2 to 0.9 red-cell diameters from the nucleus


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def geometry(
    x: Tensor, generator: torch.Generator, scale: tuple[float, float] = (0.65, 1.5), *, empty_border: bool = False
) -> Tensor:
    """Any rotation, either handedness, and a magnification drawn log-uniformly from ``scale``.

    Edges are mirrored, or are empty slide (1) where the image is one cell.
    """
    n = len(x)
    angle = uniform(n, 0, 2 * math.pi, generator)
    zoom = torch.exp(-uniform(n, math.log(scale[0]), math.log(scale[1]), generator))
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    zero = torch.zeros(n)
    theta = torch.stack([cos * flip, -sin, zero, sin * flip, cos, zero], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    if empty_border:
        return 1 - functional.grid_sample(1 - x, grid, padding_mode="zeros", align_corners=False)
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


def resolution(x: Tensor, generator: torch.Generator, least: float = 0.25) -> Tensor:
    """Half of the views as a coarser camera would have them: reduced to as little as ``least`` and enlarged again."""
    if float(torch.rand(1, generator=generator)) < 0.5:
        return x
    share = float(uniform(1, math.log(least), 0, generator).exp())
    small = functional.interpolate(x, scale_factor=share, mode="bilinear", antialias=True)
    return functional.interpolate(small, size=x.shape[2:], mode="bilinear").clamp(0, 1)


def cut_out(x: Tensor, generator: torch.Generator, share: float = 0.3) -> Tensor:
    """Half of the views lose a square of up to ``share`` of their side (DeVries & Taylor 2017, arXiv:1708.04552)."""
    n, _, h, w = x.shape
    side = uniform(n, 0, share, generator) * (torch.rand(n, generator=generator) < 0.5)
    y, left = torch.rand(n, generator=generator), torch.rand(n, generator=generator)
    rows, columns = torch.arange(h) / h, torch.arange(w) / w
    of_rows = (rows[None] >= y[:, None]) & (rows[None] < (y + side)[:, None])
    of_columns = (columns[None] >= left[:, None]) & (columns[None] < (left + side)[:, None])
    hole = of_rows[:, None, :, None] & of_columns[:, None, None, :]
    return torch.where(hole, x.mean(dim=(2, 3), keepdim=True), x)


def random_view(x: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """One random view of each image in ``x`` (n, 3, h, w), 0–1; same shape and range. ``strength`` of the stain."""
    return cut_out(focus(stain(geometry(x, generator), generator, strength), generator), generator)


def random_field(x: Tensor, generator: torch.Generator) -> Tensor:
    """``random_view`` in stains further from one's own than two laboratories usually are."""
    return random_view(x, generator, FAR)


def random_cell(x: Tensor, generator: torch.Generator, strength: float = 0.5) -> Tensor:
    """One random view of each cell in ``x`` (n, 4, h, w), 0–1: colours and distance (see ml.cell_view) → (n, 3, h, w).

    How much of the surroundings is shown varies too, so that a badly found edge is nothing new.
    """
    x = geometry(x, generator, (0.75, 1.33), empty_border=True)
    colour = cut_out(focus(resolution(stain(x[:, :3], generator, strength), generator), generator), generator, 0.2)
    reach = uniform(len(x), *REACHES, generator)[:, None, None, None]
    return torch.where(x[:, 3:] > reach, torch.ones(()), colour)


def shift(x: Tensor, generator: torch.Generator) -> Tensor:
    """A strong stain shift that no training view has: hue, saturation, contrast and brightness of each image in ``x``
    (n, 3, h, w) moved at random, as another scanner's colour processing does. For evaluation alone.
    """
    moved = []
    for image in x:
        hue, saturation, contrast, brightness = (
            float(uniform(1, *bounds, generator)) for bounds in ((-0.08, 0.08), (0.4, 1.7), (0.6, 1.5), (0.75, 1.2))
        )
        coloured = vision.adjust_saturation(vision.adjust_hue(image, hue), saturation)
        moved.append(vision.adjust_brightness(vision.adjust_contrast(coloured, contrast), brightness))
    return torch.stack(moved).clamp(0, 1)
