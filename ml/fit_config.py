"""How a network is trained, as one frozen fact: the defaults, a TOML file over them, and what is refused."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ml.findings import InputRejected

CONFIGS = Path(__file__).resolve().parent / "configs"
CHOICES = {
    "stain": ("none", "two-point", "reinhard", "macenko"),
    "balance": ("none", "loss", "sampler"),
    "optimiser": ("adamw", "sgd"),
    "schedule": ("constant", "cosine"),
    "freeze": ("none", "backbone"),
    "normalisation": ("imagenet", "half"),
    "batchnorm": ("auto", "learned", "frozen", "folded"),
}
SHARES = ("masked_corner", "validation", "dropout", "label_smoothing")


@dataclass(frozen=True)
class FitConfig:
    """Lengths in pixels, times in minutes. ``patience`` counts epochs without a lower validation loss.

    ``batchnorm``: ``frozen`` keeps BatchNorm at the statistics of the weights file, ``folded`` also multiplies them
    into the convolutions before training (twice as fast on a CPU), ``auto`` is frozen with ImageNet weights and learned
    from scratch. ``normalisation``: what the weights file expects of RGB, ImageNet's mean and deviation or 0.5 and 0.5.
    ``max_minutes`` and ``threads``: 0 is no limit and torch's own choice.
    """

    side: int = 224
    masked_corner: float = 0.15
    stain: str = "two-point"
    augment: bool = True
    balance: str = "loss"
    normalisation: str = "imagenet"
    batchnorm: str = "auto"
    freeze: str = "none"
    dropout: float = 0.2
    series: int = 4
    hidden: int = 128
    backbone: str = "vit_small_patch14_dinov2"
    optimiser: str = "adamw"
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    batch: int = 32
    epochs: int = 40
    patience: int = 8
    validation: float = 0.15
    max_minutes: float = 0.0
    threads: int = 0

    def but(self, **changes: Any) -> FitConfig:
        return checked(replace(self, **changes), "the configuration")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_config(path: Path) -> FitConfig:
    """The TOML file ``path`` over the defaults; a key, type or value that is not known is refused by its name."""
    return checked(FitConfig(**_typed(read_toml(path), path)), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError:
        raise _refused(path, "There is no such configuration file.", "Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise _refused(path, f"It is not TOML ({fault}).", "Write lines such as: epochs = 40") from None


def _typed(said: dict[str, Any], path: Path) -> dict[str, Any]:
    known = {field.name: type(getattr(FitConfig(), field.name)) for field in fields(FitConfig)}
    unknown = sorted(set(said) - set(known))
    if unknown:
        raise _refused(path, f"Unknown keys: {', '.join(unknown)}.", f"The keys are {', '.join(known)}.")
    for key, value in said.items():
        fits = (int, float) if known[key] is float else (known[key],)
        if type(value) not in fits:
            raise _refused(path, f"{key} = {value!r} is not of type {known[key].__name__}.", "Correct the value.")
    return {key: known[key](value) for key, value in said.items()}


def checked(config: FitConfig, place: str) -> FitConfig:
    """``config`` itself, or InputRejected for the first value that cannot be."""
    for key, choices in CHOICES.items():
        if getattr(config, key) not in choices:
            raise _refused(place, f"{key} = {getattr(config, key)!r}.", f"It is one of {', '.join(choices)}.")
    for key in SHARES:
        if not 0 <= getattr(config, key) < 1:
            raise _refused(place, f"{key} = {getattr(config, key)}.", "It is a share, from 0 to below 1.")
    for key in ("side", "series", "hidden", "batch", "epochs", "patience", "learning_rate", "validation"):
        if getattr(config, key) <= 0:
            raise _refused(place, f"{key} = {getattr(config, key)}.", "It is greater than 0.")
    return config


def _refused(place: object, problem: str, remedy: str) -> InputRejected:
    return InputRejected("bad_config", place=str(place), problem=problem, remedy=remedy)
