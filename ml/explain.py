"""Where an image's answer came from: Grad-CAM (Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74)."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerGradCam
from PIL import Image
from torch import nn
from torch.nn import functional

from ml.cell_view import on_image
from ml.networks import MIDDLE, to_tensor
from ml.smear import SmearModel, load_model, prepare

if TYPE_CHECKING:
    from ml.bundle import Bundle
    from ml.heads import Head

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

OPACITY = 0.55
LONGEST_SIDE = 640  # pixels of an overlay


class Whole(nn.Module):
    """Trunk and head of one bundle as one differentiable network: (n, 3, h, w), 0–1 → logits."""

    def __init__(self, model: SmearModel) -> None:
        super().__init__()
        self.trunk = model.trunk
        self.head = nn.Sequential(*_layers(model.heads["image"]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.head(self.trunk(x)))


def _linear(weight: Floats, bias: Floats) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def _layers(head: Head) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for weight, bias in head.layers:
        layers += [_linear(weight, bias), nn.ReLU()]
    return layers[:-1]


def grad_cam(image: Rgb, bundle: Bundle, label: str) -> Floats:
    """How much each place of ``image`` (h, w, 3) speaks for ``label``: (h, w), 0 to 1.

    ``label`` is one of the image labels of the bundle (KeyError otherwise). Resolution: grids of 14 × 14 and 7 × 7,
    enlarged. All zero where nothing speaks for the label.
    """
    model = load_model(bundle)
    target = dict(zip(model.image_labels, range(len(model.image_labels)), strict=True))[label]
    preprocessing = bundle.manifest["preprocessing"]
    picture, _ = prepare(image, preprocessing)
    heat = cam_of(Whole(model), picture, target, picture.shape[:2])
    return PLACED[preprocessing["view"]](heat, image)


def on_field(heat: Floats, image: Rgb) -> Floats:
    return np.asarray(cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float64)


PLACED: dict[str, Callable[[Floats, Rgb], Floats]] = {"field": on_field, "cell": on_image}


def cam_of(network: Whole, square: Rgb, target: int, shape: tuple[int, ...]) -> Floats:
    """The map of a prepared image for the logit ``target``, enlarged to ``shape``.

    The mean of the maps of both layers that the head sees, each with its own maximum at 1.
    """
    x = to_tensor(square[None]).requires_grad_()
    layers = (network.trunk.features[MIDDLE], network.trunk.features[-1])
    heat = sum(_share(LayerGradCam(network, layer), x, target, shape) for layer in layers)
    return np.asarray(heat / max(float(np.max(heat)), 1e-12), dtype=np.float64)


def _share(method: LayerGradCam, x: torch.Tensor, target: int, shape: tuple[int, ...]) -> Floats:
    heat = method.attribute(x, target=target, relu_attributions=True).detach()
    heat = functional.interpolate(heat, size=shape, mode="bilinear", align_corners=False)[0, 0].numpy()
    return np.asarray(heat / max(float(heat.max()), 1e-12), dtype=np.float64)


def overlay_png(image: Rgb, bundle: Bundle, label: str) -> bytes:
    """``image`` with its map for ``label`` laid over it, at most LONGEST_SIDE pixels a side, as PNG."""
    heat = grad_cam(image, bundle, label)[..., None]
    colour = mpl.colormaps["inferno"](heat[..., 0])[..., :3] * 255
    mixed = image * (1 - OPACITY * heat) + colour * OPACITY * heat
    picture = Image.fromarray(np.round(mixed).astype(np.uint8))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
