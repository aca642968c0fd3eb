"""A small conditional GAN of single white cells (DCGAN's shape), for cells that are of nobody.

Hinge loss and projection discriminator (Miyato & Koyama 2018, arXiv:1802.05637), spectral normalisation (Miyato et al.
2018, arXiv:1802.05957), differentiable augmentation because the images are few (Zhao et al. 2020, arXiv:2006.10738),
and a running mean of the generator's weights, which is what is kept. The generator begins as the decoder of a
variational autoencoder (Larsen et al. 2016, arXiv:1512.09300): a few hundred steps that spare thousands.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ml.autoencoder import turned
from ml.findings import InputRejected
from ml.generative_training import Settings, Squares, load_half, read_settings, save_half, train
from ml.networks import BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ml.generative_training import Labels, Rgb, Tensor

FILE = "generator.safetensors"
LARGEST_FILE = 4 * 2**20
GAIN = 1.8  # after each normalised layer, so that what a small discriminator says does not fade
PULL = 2.0  # weight of the squared error of remade cells against the discriminator's word
SURPRISE = 3e-5  # weight of the divergence from the normal distribution, per image, against the mean squared error
FIRST = 4  # side of the generator's first map


@dataclass(frozen=True)
class GanSettings(Settings):
    """``width`` channels next to the image, doubled at each halving up to eightfold; ``noise`` numbers make a cell."""

    width: int = 32
    noise: int = 96
    rate: float = 2e-4
    rate_of_discriminator: float = 4e-4
    mean_over: float = 0.998  # the share of the running mean that a step keeps
    warm_steps: int = 300  # of all steps, the first ones, which remake real cells
    warm_rate: float = 1e-3


def _widths(side: int, width: int) -> list[int]:
    """Channels from the image inwards, one for each halving from ``side`` to FIRST."""
    return [min(width << k, 8 * width) for k in range(int(math.log2(side // FIRST)))]


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and bias depend on the class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.bias = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        shown: Tensor = self.norm(x) * self.gain(y)[..., None, None] + self.bias(y)[..., None, None]
        return shown


class Generator(nn.Module):
    """noise (n, noise) and class (n,) → (n, 3, side, side) in −1…1, white background at 1."""

    def __init__(self, side: int, width: int, noise: int, labels: Sequence[str]) -> None:
        super().__init__()
        self.noise, self.labels = noise, tuple(labels)
        widths = _widths(side, width)[::-1]
        self.of_class = nn.Embedding(len(self.labels), noise)
        self.first = nn.Linear(2 * noise, widths[0] * FIRST**2)
        self.norms = nn.ModuleList(ConditionalNorm(w, len(self.labels)) for w in widths)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in zip(widths, [*widths[1:], 3], strict=True)
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x = self.first(torch.cat([z, self.of_class(y)], dim=1)).unflatten(1, (-1, FIRST, FIRST))
        x = x.contiguous(memory_format=torch.channels_last)
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(functional.relu(norm(x, y)))
        return torch.tanh(x)


class Discriminator(nn.Module):
    """(n, 3, side, side) in −1…1 and class (n,) → (n,): positive for what looks like a cell of that class."""

    def __init__(self, side: int, width: int, classes: int) -> None:
        super().__init__()
        widths = _widths(side, width)
        pairs = zip([3, *widths[:-1]], widths, strict=True)
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in pairs)
        self.last = nn.Linear(widths[-1] * FIRST**2, 1)
        self.of_class = nn.Embedding(classes, widths[-1])
        nn.init.normal_(self.of_class.weight, std=widths[-1] ** -0.5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        maps = x
        for layer in self.layers:
            maps = GAIN * functional.leaky_relu(layer(maps), 0.2)
        likeness = (self.of_class(y) * maps.mean(dim=(2, 3))).sum(dim=1)
        said: Tensor = self.last(maps.flatten(1)).squeeze(1) + likeness
        return said


class Warmth(nn.Module):
    """The encoder of the first steps: (n, 3, side, side) → mean and log variance (n, noise). Counts the steps done."""

    def __init__(self, side: int, width: int, noise: int) -> None:
        super().__init__()
        widths = _widths(side, width)
        pairs = zip([3, *widths[:-1]], widths, strict=True)
        layers = [layer for a, b in pairs for layer in (nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))]
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * FIRST**2, 2 * noise))
        self.done: Tensor
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    @property
    def steps(self) -> int:
        return int(self.done)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.encoder(x).chunk(2, dim=1)
        return mean, spread.clamp(-8, 4)


def shaken(x: Tensor, generator: torch.Generator) -> Tensor:
    """Colour, place and a missing patch at random, so that gradients pass; drawn and real cells see the same kind."""
    n, side = len(x), x.shape[-1]

    def chance(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)

    x = x + chance(-0.15, 0.15)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * chance(0.6, 1.4) + grey
    theta = torch.eye(2, 3).repeat(n, 1, 1)
    theta[:, :, 2] = 0.25 * (2 * torch.rand(n, 2, generator=generator) - 1)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, mode="nearest", padding_mode="border", align_corners=False)
    steps = torch.arange(side)
    away = [(steps - chance(0, side).flatten(1)).abs() for _ in range(2)]
    missing = (away[0] < side / 6)[:, None, :, None] & (away[1] < side / 6)[:, None, None, :]
    return x.masked_fill(missing, 0)


class _Learner:
    def __init__(self, generator: Generator, settings: GanSettings) -> None:
        self.settings, self.generator = settings, generator.train()
        self.discriminator = Discriminator(settings.side, settings.width, len(generator.labels))
        self.warmth = Warmth(settings.side, settings.width, settings.noise)
        self.mean = copy.deepcopy(generator).requires_grad_(requires_grad=False)
        for network in (self.generator, self.discriminator, self.mean, self.warmth):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        together = [*generator.parameters(), *self.warmth.parameters()]
        self.remake = torch.optim.Adam(together, lr=settings.warm_rate)
        self.make = torch.optim.Adam(generator.parameters(), lr=settings.rate, betas=(0.0, 0.99))
        judging, rate = self.discriminator.parameters(), settings.rate_of_discriminator
        self.judge = torch.optim.Adam(judging, lr=rate, betas=(0.0, 0.99))

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        names = ("generator", "discriminator", "warmth", "mean", "remake", "make", "judge")
        return {f"{name}_state": getattr(self, name) for name in names}

    def step(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, float]:
        x = turned(2 * x - 1, generator)
        if self.warmth.steps < self.settings.warm_steps:
            losses = {"remade": _descend(self.remake, self._remade(x, y, generator))}
        else:
            losses = {"discriminator": self._judge(x, y, generator), "generator": self._make(x, y, generator)}
        self._follow()
        return losses

    def _remade(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """How far the cells x are from what the generator makes of their own noise."""
        mean, spread = self.warmth(x)
        z = mean + torch.exp(spread / 2) * self._noise(len(y), generator)
        surprise = 0.5 * (mean.square() + spread.exp() - spread - 1).sum(dim=1).mean()
        return functional.mse_loss(self.generator(z, y), x) + SURPRISE * surprise

    def _noise(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.generator.noise, generator=generator)

    def _judge(self, real: Tensor, y: Tensor, generator: torch.Generator) -> float:
        with torch.no_grad():
            drawn = self.generator(self._noise(len(y), generator), y)
        said = self.discriminator(shaken(torch.cat([real, drawn]), generator), torch.cat([y, y]))
        loss = functional.relu(1 - said[: len(y)]).mean() + functional.relu(1 + said[len(y) :]).mean()
        return _descend(self.judge, loss)

    def _make(self, x: Tensor, y: Tensor, generator: torch.Generator) -> float:
        """Please the discriminator, and still remake a quarter of the cells: different noise stays different cells."""
        self.discriminator.requires_grad_(requires_grad=False)
        drawn = self.generator(self._noise(len(y), generator), y)
        loss = -self.discriminator(shaken(drawn, generator), y).mean()
        some = slice(0, max(2, len(y) // 4))
        said = _descend(self.make, loss + PULL * self._remade(x[some], y[some], generator))
        self.discriminator.requires_grad_(requires_grad=True)
        return said

    @torch.no_grad()
    def _follow(self) -> None:
        """The running mean: of the last tenth of the steps, until that is as long as the settings want it."""
        done = self.warmth.steps
        keep = min(self.settings.mean_over, (1 + done) / (10 + done))
        self.warmth.done.fill_(done + 1)
        for kept, now in zip(self.mean.state_dict().values(), self.generator.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(now, 1 - keep)
            else:
                kept.copy_(now)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def fit_gan(
    squares: Rgb,
    y: Labels,
    labels: Sequence[str],
    config: dict[str, Any],
    out: Path,
    *,
    seed: int | None = None,
    resume: bool = False,
) -> Path:
    """Train on ``squares`` (n, side, side, 3), whose classes ``y`` (n,) index ``labels``; ``config`` as GanSettings.

    Returns the file of the generator, half precision, at most 4 MiB.
    """
    settings = read_settings(GanSettings, config if seed is None else config | {"seed": seed})
    images = Squares(squares, np.asarray(y, np.int64), tuple(labels)).checked(settings.side)
    torch.manual_seed(settings.seed)
    generator = Generator(settings.side, settings.width, settings.noise, labels)
    _check_size(generator)
    learner = _Learner(generator, settings)
    train(learner, images, settings, out, resume=resume)
    return save_half(learner.mean, out / FILE, asdict(settings) | {"labels": list(labels)})


def _check_size(generator: Generator) -> None:
    size = 2 * sum(value.numel() for value in generator.state_dict().values())
    if size > LARGEST_FILE:
        raise InputRejected(
            "bad_config",
            place="the configuration, width",
            problem=f"The generator's file would have {size / 2**20:.1f} MiB; 4 are allowed.",
            remedy="Choose a smaller width, noise or side.",
        )


def load_generator(path: Path) -> Generator:
    def build(said: dict[str, Any]) -> nn.Module:
        return Generator(said["side"], said["width"], said["noise"], said["labels"])

    network = load_half(path, build)
    assert isinstance(network, Generator)  # noqa: S101 (for the type checker)
    return network


@torch.inference_mode()
def sample(generator: Generator, label: str, n: int, seed: int, spread: float = 1.0) -> Rgb:
    """``n`` cells of a class (n, side, side, 3); the same seed gives the same ones. Below 1, ``spread`` keeps to the
    usual ones. Raises KeyError for a label that the generator does not know.
    """
    class_of = {name: k for k, name in enumerate(generator.labels)}
    chance = torch.Generator().manual_seed(seed)
    z = spread * torch.randn(n, generator.noise, generator=chance)
    y = torch.full((n,), class_of[label])
    drawn = [generator.eval()(z[at : at + BATCH], y[at : at + BATCH]) for at in range(0, n, BATCH)]
    levels = ((torch.cat(drawn) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.asarray(levels.permute(0, 2, 3, 1).contiguous())
