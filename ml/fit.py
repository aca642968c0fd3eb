"""``python -m ml fit NETWORK``: any network on any labelled image folder, fold by fold, scored on what it has not seen.

Under ``torchrun`` every process trains on its part of each batch; the first one measures and writes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

from ml import datasets, generative
from ml.architectures import NETWORKS, build, download, kind_of
from ml.findings import InputRejected
from ml.fit_config import CONFIGS, FitConfig, read_config, read_toml
from ml.fit_data import Batches, read_squares, units_of, validation_part
from ml.fit_loop import CHECKPOINT, Fold, check_run, logits_of, train_fold, world
from ml.fit_report import Result, baselines_of, by_image, metrics_of, summary, temperature_of, write_report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ml.architectures import Network
    from ml.fit_data import Rows, Squares
    from ml.fit_loop import Progress, World

logger = logging.getLogger(__name__)
FOLDS = 5
MODEL, RESULT = "model.safetensors", "result.json"
CHOICES = (*NETWORKS, *generative.FITS)
SPLITS: dict[str, Callable[[datasets.ImageSet, int], list[tuple[Rows, Rows]]]] = {
    "grouped": lambda images, seed: _parts(datasets.grouped_folds(images, FOLDS, seed)),
    "random": lambda images, seed: _parts(datasets.stratified_folds(images, FOLDS, seed)),
    "70-30": lambda images, seed: _parts(datasets.split_70_30(images, seed)),
}


@dataclass(frozen=True)
class Job:
    """A run by its parts. ``folds``: which of them are trained and scored, all where none is named."""

    network: str
    images: datasets.ImageSet
    split: str
    config: FitConfig
    out: Path
    weights: Path | None = None
    seed: int = 0
    folds: tuple[int, ...] = ()
    cache: Path | None = None

    @property
    def series(self) -> bool:
        return kind_of(self.network).series

    def units(self, rows: Rows) -> Rows:
        length = self.config.series if self.series else 1
        return units_of(rows, self.images.groups, self.images.y, length)

    def run(self, fold: int) -> dict[str, Any]:
        """What must be the same for a checkpoint of this run to be continued."""
        said = {"network": self.network, "split": self.split, "fold": fold, "seed": self.seed}
        said |= {"images": len(self.images.y), "weights": self.weights.name if self.weights else None}
        return said | {"configuration": self.config.as_dict()}


def _parts(fold: Rows) -> list[tuple[Rows, Rows]]:
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold[fold >= 0])]


def folds_of(job: Job) -> dict[int, tuple[Rows, Rows]]:
    """Fold → (training rows, held-out rows), of those that the job names."""
    if len(np.unique(job.images.y)) < 2:
        raise InputRejected(
            "one_class",
            place=job.images.name,
            problem="There are images of one class only.",
            remedy="Bring images of at least two.",
        )
    made = SPLITS[job.split](job.images, job.seed)
    strange = sorted(set(job.folds) - set(range(len(made))))
    if strange:
        raise InputRejected(
            "unknown_fold",
            place="--folds",
            problem=f"There are no folds {strange}.",
            remedy=f"The {job.split} split has the folds {', '.join(map(str, range(len(made))))}.",
        )
    return {k: made[k] for k in job.folds or range(len(made))}


def fit(job: Job, *, resume: bool = False) -> dict[str, Any]:
    """Train and score the job's folds; write ``metrics.json``, three pictures and each fold's weights into its ``out``.

    Returns what ``metrics.json`` holds. With ``resume``, finished folds are kept and a cut one continues.
    """
    started = time.monotonic()
    if job.config.threads:
        torch.set_num_threads(job.config.threads)
    folds, images = folds_of(job), job.images
    build(job.network, len(images.labels), job.config, job.weights)  # what cannot be built is refused before reading
    squares = read_squares(images.paths, job.config, job.cache)
    with world() as here:
        results = [_fold(job, k, parts, squares, here, resume=resume) for k, parts in folds.items()]
    if not here.leads:
        return {}
    said: dict[str, Any] = {
        "network": job.network,
        "split": job.split,
        "data": datasets.describe(images),
        "seed": job.seed,
    }
    said |= metrics_of(results, images.y, tuple(images.labels), images.groups, series=job.series)
    said["trained"] = _trained(job, results, here)
    said["trained"]["minutes_all"] = round((time.monotonic() - started) / 60, 1)
    said["baselines"] = _baselines(job, folds, squares)
    write_report(job.out, said, results, images.y)
    return said


def _baselines(job: Job, folds: dict[int, tuple[Rows, Rows]], squares: Squares) -> dict[str, Any]:
    """Measured once for all networks that share a cache, images and folds."""
    key = repr([[path.name for path in job.images.paths], job.split, sorted(folds), job.seed])
    kept = job.cache and job.cache / f"baselines-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if kept and kept.is_file():
        return dict(json.loads(kept.read_text("utf-8")))
    of = job.images
    said = baselines_of(list(folds.values()), squares, of.y, tuple(of.labels), of.groups, job.seed)
    if kept:
        kept.write_text(json.dumps(said), "utf-8")
    return said


def _fold(job: Job, k: int, parts: tuple[Rows, Rows], squares: Squares, here: World, *, resume: bool) -> Result:
    learn, held = parts
    y, groups = job.images.y, job.images.groups
    train, check = validation_part(learn, y, groups, job.config.validation, job.seed)
    batches = Batches(squares.images, y, job.units(train), job.config, here.rank, here.size)
    fold = Fold(batches, job.units(check), job.out / f"fold-{k}", job.run(k), job.seed + 1000 * k)
    finished = fold.folder / RESULT
    if resume and finished.is_file():
        result = Result.read(finished)
        check_run(result.trained["run"], fold.run, finished)
        return result
    if here.leads:
        finished.unlink(missing_ok=True)
    torch.manual_seed(fold.seed)
    network, whence = build(job.network, len(job.images.labels), job.config, job.weights)
    progress = train_fold(network, fold, here, resume=resume)
    result = _scored(network, fold, job.units(held), (k, held), here)
    result.trained.update(_how(progress, fold, whence))
    if here.leads:
        _keep(network, result, fold.folder)
    here.agree(0)
    return result


def _scored(network: Network, fold: Fold, units: Rows, of: tuple[int, Rows], here: World) -> Result:
    images, y = fold.batches.images, fold.batches.y
    checked = logits_of(network, images, fold.check, here.device)
    logits = by_image(logits_of(network, images, units, here.device), units, of[1])
    logits = np.round(logits, 6)  # as it is written
    return Result(of[0], of[1], logits, temperature_of(checked, y[fold.check[:, 0]]), {})


def _how(progress: Progress, fold: Fold, whence: str) -> dict[str, Any]:
    return {
        "run": fold.run,
        "weights": whence,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "ended": progress.ended,
        "minutes": round(progress.seconds / 60, 2),
        "processor_minutes": round(progress.processor_seconds / 60, 2),
        "units": {"train": len(fold.batches.units), "validation": len(fold.check)},
        "history": progress.history,
    }


def _keep(network: Network, result: Result, folder: Path) -> None:
    """The weights and the result of a finished fold; its checkpoint is not needed any more."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.cpu().contiguous() for key, value in network.state_dict().items()}, folder / MODEL)
    result.write(folder / RESULT)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _trained(job: Job, results: list[Result], here: World) -> dict[str, Any]:
    of = [result.trained for result in results]
    return {
        "weights": of[0]["weights"],
        "folds": [result.fold for result in results],
        "epochs": [trained["epochs"] for trained in of],
        "best_epoch": [trained["best_epoch"] for trained in of],
        "ended": [trained["ended"] for trained in of],
        "minutes": round(sum(trained["minutes"] for trained in of), 1),
        "processor_minutes": round(sum(trained["processor_minutes"] for trained in of), 1),
        "device": torch.cuda.get_device_name(here.device) if here.device.type == "cuda" else "cpu",
        "processes": here.size,
        "threads": torch.get_num_threads(),
        "configuration": job.config.as_dict(),
        "history": {str(result.fold): result.trained["history"] for result in results},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", choices=CHOICES, metavar="NETWORK", help=", ".join(CHOICES))
    parser.add_argument("--layout", required=True, choices=sorted(datasets.LAYOUTS), help="how the folder is labelled")
    parser.add_argument("--data", type=Path, required=True, help="folder of the images")
    parser.add_argument("--split", choices=SPLITS, default="grouped", help="grouped: no patient in two folds")
    parser.add_argument("--config", type=Path, help="TOML; ml/configs/NETWORK.toml where none is named")
    parser.add_argument("--out", type=Path, required=True)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--weights", type=Path, help="state dict to start from: .safetensors, .pth")
    source.add_argument("--download", action="store_true", help="start from torchvision's ImageNet weights")
    parser.add_argument("--resume", action="store_true", help="continue what --out holds")
    parser.add_argument("--folds", type=_numbers, default=(), help="such as 0,1; all where none is named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="folder for decoded images, so that a second run starts at once")


def _numbers(word: str) -> tuple[int, ...]:
    return tuple(int(part) for part in word.split(","))


def from_arguments(said: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = said.config or CONFIGS / f"{said.network}.toml"
    images = datasets.load(said.layout, said.data)
    if said.network in generative.FITS:
        settings = read_toml(path)
        logger.info("%s", generative.fit(said.network, images, settings, said.out, said.seed, resume=said.resume))
        return 0
    config, weights = read_config(path), said.weights
    if said.download:
        weights, config = download(said.network), config.but(normalisation=kind_of(said.network).scale)
    job = Job(said.network, images, said.split, config, said.out, weights, said.seed, said.folds, said.cache)
    report = fit(job, resume=said.resume)
    logger.info("%s", "\n".join(summary(report)) if report else "")
    return 0
