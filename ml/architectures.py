"""Networks by name: a body that turns an image (or an ordered series of them) into features, and one dense layer.

Input is RGB 0–1: (n, 3, h, w), for a series (n, t, 3, h, w); output are logits (n, classes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import timm
import torch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import nn
from torchvision import models

from ml.findings import InputRejected
from ml.networks import folded
from ml.weights_files import Loaded, fit_into, read_weights, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml.fit_config import FitConfig
    from ml.weights_files import State

WIDTHS = (32, 64, 128, 256)
SCALES = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3)}
Body = tuple[nn.Module, int]


class Network(nn.Module):
    """``body`` gives (n, features). What ``config`` keeps frozen stays in evaluation mode while the rest trains."""

    def __init__(self, body: nn.Module, features: int, classes: int, config: FitConfig) -> None:
        super().__init__()
        mean, deviation = SCALES[config.normalisation]
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.body, self.head = body, nn.Linear(features, classes)
        self.drop = nn.Dropout(config.dropout)
        self.frozen_body, self.frozen_batchnorm = config.freeze == "backbone", False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - self.mean) / self.deviation  # type: ignore[operator]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_body):
            features = self.body(x)
        return cast("torch.Tensor", self.head(self.drop(features)))

    def train(self, mode: bool = True) -> Network:  # noqa: FBT001, FBT002 (torch's signature)
        super().train(mode)
        if self.frozen_body:
            self.body.eval()
        if self.frozen_batchnorm:
            for layer in self.modules():
                if isinstance(layer, (nn.BatchNorm2d, nn.SyncBatchNorm)):
                    layer.eval()
        return self


def _block(width_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )


def _custom_cnn(config: FitConfig) -> Body:  # noqa: ARG001 (one signature for all)
    blocks = [_block(a, b) for a, b in zip((3, *WIDTHS), WIDTHS, strict=False)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()), WIDTHS[-1]


class Series(nn.Module):
    """The features of each image of a series in their order → LSTM → its last state (n, hidden)."""

    def __init__(self, each: nn.Module, features: int, hidden: int) -> None:
        super().__init__()
        self.each, self.lstm = each, nn.LSTM(features, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t = x.shape[:2]
        _, (last, _) = self.lstm(self.each(x.flatten(0, 1)).view(n, t, -1))
        return cast("torch.Tensor", last[-1])


def _cnn_lstm(config: FitConfig) -> Body:
    each, features = _custom_cnn(config)
    return Series(each, features, config.hidden), config.hidden


def _torchvision(name: str, top: str, features: int, **said: Any) -> Callable[[FitConfig], Body]:
    def make(config: FitConfig) -> Body:  # noqa: ARG001 (one signature for all)
        body = getattr(models, name)(weights=None, **said)
        setattr(body, top, nn.Identity())
        return body, features

    return make


def _vgg16(config: FitConfig) -> Body:  # noqa: ARG001 (one signature for all)
    """Pooled over the image: 124 of VGG16's 138 million weights are in the dense layers of 1,000 classes."""
    body = models.vgg16(weights=None)
    body.avgpool, body.classifier = nn.AdaptiveAvgPool2d(1), nn.Identity()
    return body, 512


def _vit(config: FitConfig) -> Body:
    if config.backbone not in timm.list_models("vit_*"):
        known = ", ".join(timm.list_models("vit_*_dinov2"))
        raise _unbuildable(f"{config.backbone!r} is no vision transformer that timm knows.", f"Such as: {known}.")
    body = timm.create_model(config.backbone, pretrained=False, num_classes=0, img_size=config.side)
    return body, int(cast("int", body.num_features))


@dataclass(frozen=True)
class Kind:
    """``tops``: the classifier's names in a weights file. ``download``: torchvision's weights and the ``scale`` of RGB
    that they expect. ``least``: pixels. ``series``: images in order have one answer.
    """

    make: Callable[[FitConfig], Body]
    tops: tuple[str, ...] = ()
    download: str | None = None
    scale: str = "imagenet"
    least: int = 32
    series: bool = False


NETWORKS = {
    "custom_cnn": Kind(_custom_cnn, least=16),
    "vgg16": Kind(_vgg16, ("classifier",), "VGG16_Weights"),
    "resnet50": Kind(_torchvision("resnet50", "fc", 2048), ("fc",), "ResNet50_Weights"),
    "efficientnet_b0": Kind(
        _torchvision("efficientnet_b0", "classifier", 1280), ("classifier",), "EfficientNet_B0_Weights"
    ),
    "inception_v3": Kind(
        _torchvision("inception_v3", "fc", 2048, aux_logits=False, init_weights=False),
        ("fc", "AuxLogits"),
        "Inception_V3_Weights",
        scale="half",
        least=75,
    ),
    "mobilenet_v2": Kind(_torchvision("mobilenet_v2", "classifier", 1280), ("classifier",), "MobileNet_V2_Weights"),
    "cnn_lstm": Kind(_cnn_lstm, least=16, series=True),
    "vit_file": Kind(_vit, ("head", "dino_head", "ibot_head"), least=14),
}


def kind_of(name: str) -> Kind:
    if name not in NETWORKS:
        raise InputRejected(
            "unknown_network",
            place=name,
            problem="There is no network of this name.",
            remedy=f"The networks are {', '.join(NETWORKS)}.",
        )
    return NETWORKS[name]


def build(name: str, classes: int, config: FitConfig, weights: Path | None = None) -> tuple[Network, str]:
    """The network, and in words where its weights come from.

    ``weights``: a state dict of this network as torchvision (or, for ``vit_file``, timm, DINOv2 or DinoBloom) names its
    layers, or a ``model.safetensors`` that ``fit`` wrote. Raises InputRejected if it is of another network.
    """
    kind = kind_of(name)
    if config.side < kind.least:
        raise _unbuildable(f"{name} sees nothing in {config.side} pixels.", f"Set side to {kind.least} or more.")
    body, features = kind.make(config)
    network = Network(body, features, classes, config)
    if name == "vit_file":
        _check_patches(body, config)
    state = read_weights(weights) if weights else _needs_none(name)
    own = any(key.startswith("body.") for key in state)
    said = "from scratch"
    if weights and not own:
        said = str(_load_body(network, state, weights, kind))
    _settle_batchnorm(network, config, pretrained=weights is not None)
    if weights and own:
        said = str(_load_own(network, state, weights))
    for parameter in body.parameters() if config.freeze == "backbone" else ():
        parameter.requires_grad_(False)
    return network, said


def _needs_none(name: str) -> State:
    if name == "vit_file":
        raise _unbuildable("vit_file learns from a file of weights.", "Name it: --weights FILE (.safetensors, .pth).")
    return {}


def _unbuildable(problem: str, remedy: str) -> InputRejected:
    return InputRejected("unbuildable_network", place="network", problem=problem, remedy=remedy)


def _check_patches(body: nn.Module, config: FitConfig) -> None:
    patch = cast("Any", body).patch_embed.patch_size[0]
    if config.side % patch:
        raise _unbuildable(f"side = {config.side} is no multiple of {patch}.", f"Such as {patch * 16}.")


def _load_body(network: Network, state: State, weights: Path, kind: Kind) -> Loaded:
    if isinstance(network.body, timm.models.VisionTransformer):
        state = _for_vit(state, network.body, weights)
    return fit_into(network.body, state, weights, kind.tops)


def _for_vit(state: State, body: timm.models.VisionTransformer, weights: Path) -> State:
    """Timm's names, and position embeddings resized to this input (bicubic)."""
    state = {re.sub(r"^blocks\.\d+\.(\d+\.)", r"blocks.\1", key): value for key, value in state.items()}
    try:
        return dict(checkpoint_filter_fn(state, body))
    except (RuntimeError, KeyError, AttributeError, ValueError):
        raise refused(weights, f"Its layers are not those of {body.__class__.__name__}.") from None


def _load_own(network: Network, state: State, weights: Path) -> Loaded:
    """A file of ``fit``; its head is left out where it has other classes."""
    head = {key for key in state if key.startswith("head.")}
    if state["head.weight"].shape == network.head.weight.shape:
        fit_into(network, state, weights, ())
        return Loaded(weights.name, ())
    fit_into(network, state | {k: v for k, v in network.state_dict().items() if k in head}, weights, ())
    return Loaded(weights.name, tuple(sorted(head)))


def _settle_batchnorm(network: Network, config: FitConfig, *, pretrained: bool) -> None:
    network.frozen_batchnorm = config.batchnorm == "frozen" or (config.batchnorm == "auto" and pretrained)
    if config.batchnorm == "folded":
        folded(network.eval())


def download(name: str) -> Path:
    """Torchvision's own ImageNet weights, in torch's cache folder, checked by the hash in their name."""
    kind = kind_of(name)
    if kind.download is None:
        raise _unbuildable(f"There are no ImageNet weights of {name}.", "Leave --download out.")
    source = getattr(models, kind.download).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / source.rsplit("/", 1)[1]
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(source, str(path), hash_prefix=path.stem.rsplit("-", 1)[1])
    except (OSError, RuntimeError) as fault:
        raise _unbuildable(f"{source} could not be fetched ({fault}).", "Fetch it elsewhere: --weights.") from None
    return path
