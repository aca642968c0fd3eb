"""The trunk: MobileNetV2 up to its pooled features, and the float16 files in which its weights travel."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import mobilenet_v2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

MIDDLE, LAST = 13, 18  # blocks of MobileNetV2 whose pooled outputs are the features: texture, then shape
MIDDLE_FEATURES = 96
FEATURES = MIDDLE_FEATURES + 1280
BATCH = 32


M = TypeVar("M", bound=nn.Module)


class Trunk(nn.Module):
    """(n, 3, h, w), RGB 0–1 → (n, 1376): the 14th and the last block of MobileNetV2, averaged over the image.

    Batch normalisation is folded into the convolutions: its statistics are those of the pretraining for ever, so that
    a batch's mix of classes or another laboratory's cannot move the operating point; and it is a third quicker.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = folded(mobilenet_v2(weights=None).features.eval())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = self.features[: MIDDLE + 1]((x - 0.5) / 0.5)
        last = self.features[MIDDLE + 1 :](middle)
        return torch.cat([middle.mean(dim=(2, 3)), last.mean(dim=(2, 3))], dim=1)


def folded(module: M) -> M:
    """Every convolution followed by batch normalisation made one convolution, in place; names stay."""
    children = list(module.named_children())
    for (name, child), (after, following) in pairwise([*children, ("", nn.Identity())]):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            module.add_module(name, fuse_conv_bn_eval(child, following))
            module.add_module(after, nn.Identity())
        else:
            folded(child)
    return module


def load_trunk(path: Path) -> Trunk:
    """A trunk from a file of torchvision's ``mobilenet_v2``, or one that save_trunk wrote; a classifier is ignored."""
    weights = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    weights = {k.removeprefix("features."): v for k, v in weights.items() if k.startswith("features.")}
    trunk = Trunk()
    if any(name.endswith("running_mean") for name in weights):
        network = mobilenet_v2(weights=None).features.eval()
        network.load_state_dict(weights)
        trunk.features = folded(network)
    else:
        trunk.features.load_state_dict(weights)
    return trunk.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def save_trunk(trunk: Trunk, path: Path) -> None:
    """Half precision: 4.5 MB instead of 9; the features move by less than a thousandth of their spread."""
    half = {k: v.half() if v.is_floating_point() else v for k, v in trunk.state_dict().items()}
    save_file({k: v.contiguous() for k, v in half.items()}, path)


def to_tensor(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """(n, h, w, 3) uint8 → (n, 3, h, w) float32, 0–1, channels last in memory."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return x.float().div(255).contiguous(memory_format=torch.channels_last)


TURNS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))  # as it is, upside down, mirrored, both


@torch.inference_mode()
def embed(
    trunk: Trunk,
    images: npt.NDArray[np.uint8],
    view: Callable[[torch.Tensor], torch.Tensor] | None = None,
    progress: Callable[[int], object] | None = None,
    turns: int = 1,
) -> npt.NDArray[np.float32]:
    """Features (n, 1376) of equally sized images (n, h, w, 3); ``view`` alters each batch first (augmentation).

    With ``turns`` 2 or 4 the features are the mean over that many of TURNS: smears have no up or down.
    """
    rows = []
    for start in range(0, len(images), BATCH):
        x = to_tensor(images[start : start + BATCH])
        x = view(x) if view else x
        rows.append(sum(trunk(x.flip(way) if way else x).float().numpy() for way in TURNS[:turns]) / turns)
        if progress:
            progress(len(rows[-1]))
    return np.concatenate(rows) if rows else np.zeros((0, FEATURES), dtype=np.float32)
