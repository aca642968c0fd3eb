"""Weights that a person brings: safetensors or .pth, read as tensors and nothing else, and fitted into a network."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ml.findings import InputRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from torch import nn

State = dict[str, Any]  # layer → tensor
WRAPPERS = ("teacher", "state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "backbone.")  # of DistributedDataParallel; of DINO checkpoints such as DinoBloom's
REMEDY = "Bring a state dict of this very network, as .safetensors, .pth or .pt."


@dataclass(frozen=True)
class Loaded:
    """Which layers of a file found no place: those of its own classifier, by name."""

    file: str
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        said = f"; left out of it: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{self.file}{said}"


def refused(path: Path, problem: str, remedy: str = REMEDY) -> InputRejected:
    return InputRejected("bad_weights", place=str(path), problem=problem, remedy=remedy)


def read_weights(path: Path) -> State:
    """Tensors by name, float32, without wrappers and prefixes of the training that made them."""
    if path.suffix not in READERS:
        raise refused(path, f"A file {path.suffix or 'without a suffix'} is no weights file.")
    if not path.is_file():
        raise refused(path, "There is no such file.", "Check the path.")
    state = _unwrapped(READERS[path.suffix](path))
    if not state or any(not isinstance(value, torch.Tensor) for value in state.values()):
        raise refused(path, "It holds no plain table of tensors.")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _safetensors(path: Path) -> State:
    try:
        return dict(load_file(path))
    except SafetensorError as fault:
        raise refused(path, f"It is no safetensors file ({fault}).") from None


def _pth(path: Path) -> State:
    """Tensors alone: a file that asks to run code is refused by torch."""
    try:
        said = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
        raise refused(path, "It is damaged, or holds other things than tensors.") from None
    return said if isinstance(said, dict) else {}


READERS: dict[str, Callable[[Path], State]] = {".safetensors": _safetensors, ".pth": _pth, ".pt": _pth}


def _unwrapped(state: State) -> State:
    for name in WRAPPERS:
        inner = state.get(name)
        if isinstance(inner, dict):
            state = inner
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return state


def fit_into(body: nn.Module, state: State, path: Path, tops: Collection[str]) -> Loaded:
    """Load ``state`` into ``body``; layers under a name of ``tops`` may be too many, all else must match exactly."""
    wanted = body.state_dict()
    spare = {key for key in state if key.split(".")[0] in tops} - set(wanted)
    strange = sorted(set(state) - set(wanted) - spare)
    absent = sorted(key for key in set(wanted) - set(state) if not key.endswith("num_batches_tracked"))
    shaped = sorted(key for key in set(wanted) & set(state) if wanted[key].shape != state[key].shape)
    if strange or absent or shaped:
        raise refused(path, f"It is of another network: {_named(absent, strange, shaped)}.")
    body.load_state_dict({key: value for key, value in state.items() if key not in spare}, strict=False)
    return Loaded(path.name, tuple(sorted(spare)))


def _named(absent: list[str], strange: list[str], shaped: list[str]) -> str:
    kinds = {"lacking": absent, "unknown": strange, "of another size": shaped}
    return "; ".join(f"{len(keys)} layers {kind} ({', '.join(keys[:3])} …)" for kind, keys in kinds.items() if keys)
