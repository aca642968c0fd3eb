"""A convolutional autoencoder of smears: a short code for each image, and how badly the image is remade from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ml.generative_training import Settings, Squares, load_half, read_settings, save_half, train
from ml.networks import BATCH, to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ml.generative_training import Rgb, Tensor

FILE = "autoencoder.safetensors"
SMALLEST = 4  # side of the map under which the code lies


@dataclass(frozen=True)
class AutoencoderSettings(Settings):
    """``width`` channels at full resolution, doubled at each halving up to eightfold; ``code`` numbers an image."""

    width: int = 24
    code: int = 96
    rate: float = 1e-3


def _widths(side: int, width: int) -> list[int]:
    """Channels after each halving from ``side`` to SMALLEST."""
    return [min(width << k, 8 * width) for k in range(int(math.log2(side // SMALLEST)))]


class Autoencoder(nn.Module):
    """(n, 3, side, side), 0–1 → the same shape and range, through ``code`` numbers an image."""

    def __init__(self, side: int, width: int, code: int) -> None:
        super().__init__()
        widths = _widths(side, width)
        flat = widths[-1] * SMALLEST**2
        down = [_halving(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True)]
        up = [_doubling(a, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)]
        self.side = side
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, code))
        self.decoder = nn.Sequential(
            nn.Linear(code, flat),
            nn.Unflatten(1, (widths[-1], SMALLEST, SMALLEST)),
            *up,
            nn.ConvTranspose2d(widths[0], 3, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        remade: Tensor = self.decoder(self.encoder(x))
        return remade


def _halving(a: int, b: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))


def _doubling(a: int, b: int) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class _Learner:
    def __init__(self, network: Autoencoder, rate: float) -> None:
        self.network = network.train()
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=rate)

    def step(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, float]:  # noqa: ARG002 (no labels)
        x = turned(x, generator)
        self.optimiser.zero_grad()
        loss = functional.mse_loss(self.network(x), x)
        loss.backward()
        self.optimiser.step()
        return {"squared error": float(loss.detach())}

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"network": self.network, "optimiser": self.optimiser}


def turned(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image of x (n, c, s, s) in one of its eight positions: a smear has no up and no left."""
    for change in (lambda x: x.flip(2), lambda x: x.flip(3), lambda x: x.transpose(2, 3)):
        chosen = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(chosen[:, None, None, None], change(x), x)
    return x


def fit_autoencoder(
    squares: Rgb, config: dict[str, Any], out: Path, *, seed: int | None = None, resume: bool = False
) -> Path:
    """Train on ``squares`` (n, side, side, 3); ``config`` as AutoencoderSettings. Returns the file of the weights."""
    settings = read_settings(AutoencoderSettings, config if seed is None else config | {"seed": seed})
    images = Squares(squares, np.zeros(len(squares), np.int64), ("smear",)).checked(settings.side)
    torch.manual_seed(settings.seed)
    network = Autoencoder(settings.side, settings.width, settings.code)
    train(_Learner(network, settings.rate), images, settings, out, resume=resume)
    return save_half(network, out / FILE, asdict(settings))


def load_autoencoder(path: Path) -> Autoencoder:
    def build(said: dict[str, Any]) -> nn.Module:
        return Autoencoder(said["side"], said["width"], said["code"])

    network = load_half(path, build)
    assert isinstance(network, Autoencoder)  # noqa: S101 (for the type checker)
    return network


def codes(model: Autoencoder, squares: Rgb) -> npt.NDArray[np.float32]:
    """The code of each square: (n, side, side, 3) → (n, code)."""
    return _by_batch(model, squares, model.encoder)


def reconstruction_error(model: Autoencoder, squares: Rgb) -> npt.NDArray[np.float32]:
    """Mean squared error of each remade square, channels in 0–1: (n, side, side, 3) → (n,)."""
    return _by_batch(model, squares, lambda x: (model(x) - x).square().mean(dim=(1, 2, 3)))


@torch.inference_mode()
def _by_batch(model: Autoencoder, squares: Rgb, what: Callable[[Tensor], Tensor]) -> npt.NDArray[np.float32]:
    model.eval()
    checked = Squares(squares, np.zeros(len(squares), np.int64), ("smear",)).checked(model.side, fewest=1).x
    rows = [what(to_tensor(checked[at : at + BATCH])).numpy() for at in range(0, len(checked), BATCH)]
    return np.concatenate(rows)
