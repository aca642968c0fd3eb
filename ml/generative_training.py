"""What the training of the autoencoder and of the GAN share: settings, squares, the loop with its checkpoint, files."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from ml.findings import InputRejected
from ml.networks import to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Rgb = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Tensor = torch.Tensor

CHECKPOINT, RECORD = "checkpoint.pt", "training.json"
FEWEST = 8  # images from which anything is learned
MAY_BE_ZERO = {"seed", "warm_steps"}
SIDES = (16, 32, 64, 128)


@dataclass(frozen=True)
class Settings:
    """What every configuration file may say. ``side`` in pixels; ``centre`` is the share of the image that is used."""

    side: int = 64
    centre: float = 1.0
    steps: int = 1000
    batch: int = 32
    save_every: int = 100
    threads: int = 1
    seed: int = 0


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S], said: dict[str, Any], place: str = "the configuration") -> S:
    """``said`` as a ``kind``; refuses names that it does not have, other types, and what is not above zero."""
    known = {field.name: field.default for field in fields(kind)}
    for name, value in said.items():
        if name not in known:
            raise InputRejected(
                "bad_config",
                place=place,
                problem=f"There is no setting {name!r}.",
                remedy=f"The settings are {', '.join(known)}.",
            )
        if not _fits(name, value, known[name]) or (name == "side" and value not in SIDES):
            raise InputRejected(
                "bad_config",
                place=f"{place}, {name}",
                problem=f"{value!r} cannot be used.",
                remedy=f"Choose from {SIDES}." if name == "side" else f"Write a positive value like {known[name]!r}.",
            )
    return kind(**said)


def _fits(name: str, value: Any, like: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (value > 0 or (name in MAY_BE_ZERO and value == 0)) and (isinstance(like, float) or isinstance(value, int))


@dataclass(frozen=True)
class Squares:
    """Prepared images ``x`` (n, side, side, 3) uint8; ``y`` (n,) indexes ``labels``."""

    x: Rgb
    y: Labels
    labels: tuple[str, ...]

    def checked(self, side: int, place: str = "the images", fewest: int = FEWEST) -> Squares:
        """Itself, or a refusal where there are too few images or their shape is not (n, side, side, 3)."""
        if self.x.dtype != np.uint8 or self.x.shape[1:] != (side, side, 3):
            raise InputRejected(
                "wrong_shape",
                place=place,
                problem=f"They are {self.x.dtype} {self.x.shape}; expected uint8 (n, {side}, {side}, 3).",
                remedy="Resize them, or set side in the configuration.",
            )
        if len(self.x) < fewest:
            raise InputRejected(
                "too_few_images",
                place=place,
                problem=f"There are {len(self.x)} images; at least {fewest} are needed.",
                remedy="Name a folder with more, or let the groups name more classes.",
            )
        return self


class Learner(Protocol):
    """What the loop trains. ``parts`` is all that a checkpoint must hold."""

    def step(self, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One step on x (n, 3, side, side), 0–1, and y (n,). Returns the losses."""

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]: ...


def train(learner: Learner, squares: Squares, settings: Settings, out: Path, *, resume: bool) -> None:
    """``settings.steps`` steps, with a checkpoint in ``out`` every ``save_every`` and at the end.

    The same settings give the same weights, whether the training ran through or was resumed. Classes are drawn in
    proportion to the root of their size: rare ones more often than they are, yet not until they are known by heart.
    """
    torch.set_num_threads(settings.threads)
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(settings.seed)
    history = _load_checkpoint(out, learner, generator, settings) if resume else []
    began, chance = time.monotonic(), _chance(squares.y)
    left = range(len(history), settings.steps)
    for step in tqdm(left, initial=len(history), total=settings.steps, disable=not sys.stderr.isatty()):
        rows = torch.multinomial(chance, settings.batch, replacement=True, generator=generator)
        history.append(learner.step(to_tensor(squares.x[rows.numpy()]), torch.from_numpy(squares.y)[rows], generator))
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            _save_checkpoint(out, learner, generator, settings, history)
    _write_record(out, squares, settings, history, time.monotonic() - began)


def _chance(y: Labels) -> Tensor:
    return torch.from_numpy(1 / np.sqrt(np.bincount(y)[y]))


def _save_checkpoint(
    out: Path, learner: Learner, generator: torch.Generator, settings: Settings, history: list[dict[str, float]]
) -> None:
    """Written beside and moved into place, so that a killed training leaves a whole file."""
    kept: dict[str, Any] = {name: part.state_dict() for name, part in learner.parts().items()}
    kept |= {"generator": generator.get_state(), "settings": _lasting(settings), "history": history}
    torch.save(kept, out / f"{CHECKPOINT}.part")
    (out / f"{CHECKPOINT}.part").replace(out / CHECKPOINT)


def _load_checkpoint(
    out: Path, learner: Learner, generator: torch.Generator, settings: Settings
) -> list[dict[str, float]]:
    """The history so far; empty where there is no checkpoint yet."""
    if not (out / CHECKPOINT).is_file():
        return []
    kept = torch.load(out / CHECKPOINT, weights_only=True)
    if kept["settings"] != _lasting(settings):
        raise InputRejected(
            "other_settings",
            place=str(out / CHECKPOINT),
            problem="It was written with other settings.",
            remedy="Give the settings it was begun with (steps may differ), or start in another folder.",
        )
    for name, part in learner.parts().items():
        part.load_state_dict(kept[name])
    generator.set_state(kept["generator"])
    return list(kept["history"])


def _lasting(settings: Settings) -> dict[str, Any]:
    """What a resumed training must share with its first part."""
    return {name: value for name, value in asdict(settings).items() if name not in {"steps", "save_every", "threads"}}


def _write_record(
    out: Path, squares: Squares, settings: Settings, history: Sequence[dict[str, float]], seconds: float
) -> None:
    names, tail = history[-1] if history else (), history[-settings.save_every :]
    losses = {name: float(np.mean([said[name] for said in tail if name in said])) for name in names}
    counts = np.bincount(squares.y, minlength=len(squares.labels)).tolist()
    said = {
        "settings": asdict(settings),
        "images": dict(zip(squares.labels, counts, strict=True)),
        "steps_done": len(history),
        "losses_at_the_end": losses,
        "minutes_of_this_run": round(seconds / 60, 2),
    }
    (out / RECORD).write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")


def save_half(network: nn.Module, path: Path, said: dict[str, Any]) -> Path:
    """The weights at half precision, with what is needed to build the network again."""
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in network.state_dict().items()}
    save_file(half, path, metadata={"said": json.dumps(said, ensure_ascii=False)})
    return path


def load_half(path: Path, build: Callable[[dict[str, Any]], nn.Module]) -> nn.Module:
    """The network that ``build`` makes from what ``save_half`` was told, with its weights, ready for use."""
    if not path.is_file():
        raise InputRejected("missing_file", place=str(path), problem="There is no such file.", remedy="Train it first.")
    with safe_open(path, framework="pt") as file:
        network = build(json.loads(file.metadata()["said"]))
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    return network.eval()
