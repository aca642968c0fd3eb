"""One fold's training: epochs, checkpoints from which it continues exactly, early stop; one process or several.

Everything random in an epoch is seeded by (seed, epoch): a run that was cut off and resumed ends with the weights of
one that was not.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import distributed
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from ml.findings import InputRejected
from ml.fit_data import balanced_weights, seed_of, views

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ml.architectures import Network
    from ml.fit_config import FitConfig
    from ml.fit_data import Batches, Floats, Rgb, Rows

logger = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"
State = dict[str, torch.Tensor]
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """One process among those of ``torchrun``; the only one where there is none."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def agree(self, number: float) -> float:
        """The leader's number."""
        if self.size == 1:
            return number
        said = torch.tensor([number], dtype=torch.float64, device=self.device)
        distributed.broadcast(said, 0)
        return float(said)


@contextmanager
def world() -> Iterator[World]:
    """The processes that torchrun's environment describes, joined (NCCL on GPUs, else gloo) and left again."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
        torch.backends.cudnn.deterministic = True
    if size > 1:
        distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield World(rank, size, device)
    finally:
        if size > 1:
            distributed.destroy_process_group()


@dataclass
class Progress:
    """What a fold's training carries from epoch to epoch. ``ended``: why it is over."""

    epoch: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    ended: str | None = None
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Fold:
    """A fold's training: batches, the units that decide when to stop, where its checkpoint is, whose run it is."""

    batches: Batches
    check: Rows
    folder: Path
    run: dict[str, Any]
    seed: int

    @property
    def config(self) -> FitConfig:
        return self.batches.config


def train_fold(network: Network, fold: Fold, here: World, *, resume: bool) -> Progress:
    """Train ``network`` in place and leave in it the weights of the epoch with the lowest validation loss."""
    network.to(here.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = optimiser_of(network, fold.config)
    progress, best = Progress(), _copied(network)
    if resume and (fold.folder / CHECKPOINT).is_file():
        progress, best = _restore(fold, network, optimiser, here)
    wrapped = _distributed(network, here)
    while progress.ended is None:
        started, busy = time.monotonic(), time.process_time()
        row = _epoch(wrapped, optimiser, fold, progress, here)
        row |= _validated(network, fold, here)
        progress.seconds += time.monotonic() - started
        progress.processor_seconds += time.process_time() - busy
        if row["validation_loss"] < progress.best_loss:
            progress.best_loss, progress.best_epoch, best = row["validation_loss"], progress.epoch, _copied(network)
        progress.history.append(row)
        progress.ended = _ended(progress, fold.config, here)
        if here.leads:
            _log(progress, fold)
            _save(fold, network, optimiser, progress, best)
    network.load_state_dict(best)
    return progress


def _distributed(network: Network, here: World) -> torch.nn.Module:
    if here.size == 1:
        return network
    if here.device.type == "cuda":
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return DistributedDataParallel(network)


def _epoch(
    network: torch.nn.Module, optimiser: torch.optim.Optimizer, fold: Fold, progress: Progress, here: World
) -> dict[str, float]:
    """One pass over the training units, cut short where the minutes are used up; its mean loss and accuracy."""
    progress.epoch += 1
    config, steps = fold.config, len(fold.batches)
    torch.manual_seed(seed_of(fold.seed, progress.epoch, here.rank))
    weights = class_weights(fold.batches).to(here.device)
    network.train()
    started, seen, loss_sum, right = time.monotonic(), 0, 0.0, 0
    batches = ahead(fold.batches.epoch(progress.epoch, fold.seed))
    shown = tqdm(
        batches, f"epoch {progress.epoch}", steps, leave=False, disable=not (here.leads and sys.stderr.isatty())
    )
    for step, (x, y) in enumerate(shown):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * rate(config, progress.epoch - 1 + step / steps)
        x, y = x.to(here.device), y.to(here.device)  # noqa: PLW2901
        logits = network(x)
        smoothing = config.label_smoothing
        loss = (functional.cross_entropy(logits, y, reduction="none", label_smoothing=smoothing) * weights[y]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen, right = seen + len(y), right + int((logits.argmax(1) == y).sum())
        loss_sum += loss.item() * len(y)
        shown.set_postfix(loss=f"{loss_sum / seen:.3f}")
        if config.max_minutes and here.agree(_out_of_time(progress, config, time.monotonic() - started)):
            progress.ended = "max_minutes"
            break
    return {"epoch": progress.epoch, "train_loss": loss_sum / seen, "train_accuracy": right / seen}


def _out_of_time(progress: Progress, config: FitConfig, more: float) -> bool:
    return progress.seconds + more > 60 * config.max_minutes


def ahead(items: Iterator[T]) -> Iterator[T]:
    """``items``, each prepared while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item


def class_weights(batches: Batches) -> torch.Tensor:
    """(classes,) weights of the loss, 1 where the classes are not balanced by it."""
    y = batches.y[batches.units[:, 0]]
    weights = np.ones(int(batches.y.max()) + 1)
    if batches.config.balance == "loss":
        weights[y] = balanced_weights(y)
    return torch.from_numpy(weights).float()


def rate(config: FitConfig, epoch: float) -> float:
    """The share of the learning rate at a (fractional) epoch: a linear start, then constant or half a cosine to 0."""
    start = config.warmup_epochs
    if epoch < start:
        return (epoch + 0.05) / (start + 0.05)
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (epoch - start) / max(config.epochs - start, 1e-9)))


def optimiser_of(network: Network, config: FitConfig) -> torch.optim.Optimizer:
    parameters = [p for p in network.parameters() if p.requires_grad]
    if config.optimiser == "sgd":
        return torch.optim.SGD(parameters, config.learning_rate, config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)


@torch.inference_mode()
def logits_of(network: Network, images: Rgb, units: Rows, device: torch.device, batch: int = 64) -> Floats:
    """Logits (m, classes) of the units (m, t), without augmentation."""
    network.eval()
    parts = [
        network(views(images, units[k : k + batch]).to(device)).double().cpu() for k in range(0, len(units), batch)
    ]
    return torch.cat(parts).numpy()


def _validated(network: Network, fold: Fold, here: World) -> dict[str, float]:
    """Loss and accuracy of the validation part, as the leader measures them."""
    loss = accuracy = 0.0
    if here.leads:
        logits = torch.from_numpy(logits_of(network, fold.batches.images, fold.check, here.device))
        y = torch.from_numpy(fold.batches.y[fold.check[:, 0]])
        loss = float(functional.cross_entropy(logits, y))
        accuracy = float((logits.argmax(1) == y).double().mean())
    return {"validation_loss": here.agree(loss), "validation_accuracy": here.agree(accuracy)}


def _ended(progress: Progress, config: FitConfig, here: World) -> str | None:
    last = progress.history[-1]
    reasons = {
        "diverged": not math.isfinite(here.agree(last["train_loss"])),
        "max_minutes": progress.ended == "max_minutes",
        "epochs": progress.epoch >= config.epochs,
        "patience": progress.epoch - progress.best_epoch >= config.patience,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _log(progress: Progress, fold: Fold) -> None:
    last = progress.history[-1]
    shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in last.items() if name != "epoch")
    end = f" ({progress.ended})" if progress.ended else ""
    logger.info("%s epoch %d: %s%s", fold.folder.name, progress.epoch, shown, end)


def _copied(network: Network) -> State:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _save(fold: Fold, network: Network, optimiser: torch.optim.Optimizer, progress: Progress, best: State) -> None:
    """One file, replaced in one step: a run that is killed while writing keeps the checkpoint before."""
    tables = {"model": network.state_dict(), "best": best, "optimiser": _flat(optimiser)}
    tensors = chain.from_iterable(((f"{name}/{k}", v) for k, v in table.items()) for name, table in tables.items())
    fold.folder.mkdir(parents=True, exist_ok=True)
    part = fold.folder / (CHECKPOINT + ".part")
    said = {"progress": json.dumps(asdict(progress)), "run": json.dumps(fold.run)}
    save_file({key: value.detach().cpu().contiguous().clone() for key, value in tensors}, part, said)
    part.replace(fold.folder / CHECKPOINT)


def _flat(optimiser: torch.optim.Optimizer) -> State:
    return {f"{k}/{name}": value for k, of in optimiser.state_dict()["state"].items() for name, value in of.items()}


def _restore(fold: Fold, network: Network, optimiser: torch.optim.Optimizer, here: World) -> tuple[Progress, State]:
    path = fold.folder / CHECKPOINT
    with safe_open(path, "pt", str(here.device)) as file:
        said = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    check_run(json.loads(said["run"]), fold.run, path)
    network.load_state_dict(_under("model", tensors))
    state: dict[int, State] = {}
    for key, value in _under("optimiser", tensors).items():
        number, name = key.split("/")
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return Progress(**json.loads(said["progress"])), _under("best", tensors)


def _under(name: str, tensors: State) -> State:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def check_run(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """InputRejected where ``path`` was written by another run, naming what differs."""
    other = [key for key in wanted if found.get(key) != wanted[key]]
    if other:
        raise InputRejected(
            "another_run",
            place=str(path),
            problem=f"It is of a run with another {', '.join(other)}.",
            remedy="Name another --out, or leave --resume out to start anew.",
        )
