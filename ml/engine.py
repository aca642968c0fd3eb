"""A bundle's network as OpenVINO runs it: made once from the torch module, checked against it, kept as a file.

Torch is the reference. Where OpenVINO is absent, cannot read the network or answers otherwise than torch by more than
the tolerance, torch runs it; ``Engine.describe`` says which it is and why.

OpenVINO does not survive a fork: a process may fork before its first image, not after it (the child would wait for
threads that it does not have). A child forked later gets torch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.special import softmax as scipy_softmax

from ml import synthetic
from ml.networks import TURNS, load_trunk, to_tensor
from ml.networks import embed as embed_by_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from ml.bundle import Bundle

    Answer = Callable[["Features"], npt.NDArray[Any]]

Features = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)

TRUNK = "trunk.safetensors"
NETWORK, WEIGHTS, FACTS = "network.xml", "network.bin", "export.json"
BATCH = 32
FORKED = "The process was forked after OpenVINO had run in its parent."
TOLERANCE = 0.01  # of an image's features, by length: a hundredth moves no probability by more than a few thousandths
_HOME: list[tuple[Path, int | None]] = []  # where this process keeps its exports, and how many threads it may use
_ENGINES: dict[tuple[Any, ...], Engine] = {}
_RAN_IN: list[int] = []  # the process in which OpenVINO first ran


class Unavailable(Exception):
    """Why OpenVINO does not run this network here."""


def precisions() -> tuple[str, ...]:
    """Bfloat16 first where the processor multiplies its matrices (AMX), then single precision.

    AVX-512's bfloat16 alone is slower than single precision (``python -m bench.imaging`` measures it). Eight-bit
    integers are not used: they need ranges learned from images, and moved probabilities by more than a tenth.
    """
    try:
        amx = "amx_bf16" in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        amx = False
    return ("bf16", "f32") if amx else ("f32",)


@dataclass(frozen=True)
class Plan:
    """``side`` pixels of the square input; ``precisions`` in the order in which they are tried."""

    side: int = 224
    tolerance: float = TOLERANCE
    precisions: tuple[str, ...] = field(default_factory=precisions)


@dataclass
class Engine:
    """(n, h, w, 3) uint8 or (n, 3, h, w) float 0–1 → (n, features). ``compiled``: by the type of the images."""

    module: nn.Module
    plan: Plan
    precision: str = "f32"
    difference: float = 0.0
    threads: int = 1
    reason: str = ""
    model: Any = None
    process: int = field(default_factory=os.getpid)
    compiled: dict[str, Any] = field(default_factory=dict)

    @property
    def by_openvino(self) -> bool:
        return self.model is not None and self.process == os.getpid()

    def describe(self) -> dict[str, Any]:
        """What runs: OpenVINO in which precision, how far from torch (see ``distance``), or torch and why."""
        if not self.by_openvino:
            return {"runtime": "torch", "reason": self.reason or FORKED}
        said = {"precision": self.precision, "difference": self.difference, "threads": self.threads}
        return {"runtime": "openvino", **said}

    def run(self, images: npt.NDArray[Any]) -> Features:
        """One batch."""
        if not self.by_openvino:
            return _by_torch(self.module, images)
        kind = images.dtype.name
        if kind not in self.compiled:
            self.compiled[kind] = _compiled(self.model, kind, self.precision, self.threads)
        request = self.compiled[kind].create_infer_request()  # one for each call: they may come from several threads
        return np.array(request.infer(np.ascontiguousarray(images))[0], dtype=np.float32)


@torch.inference_mode()
def _by_torch(module: nn.Module, images: npt.NDArray[Any]) -> Features:
    x = to_tensor(images) if images.dtype == np.uint8 else torch.from_numpy(np.ascontiguousarray(images))
    return cast("Features", module(x).float().numpy())


def features(engine: Engine, images: npt.NDArray[Any], turns: int = 1) -> Features:
    """(n, features) of equally sized images, as ``Engine`` takes them; ``turns`` as ``ml.networks.embed``."""
    shift = 1 if images.dtype == np.uint8 else 0  # TURNS name the axes of (n, 3, h, w)
    if not len(images):
        return engine.run(np.zeros((1, *images.shape[1:]), dtype=images.dtype))[:0]
    rows = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        seen = [engine.run(np.flip(batch, tuple(axis - shift for axis in way))) for way in TURNS[:turns]]
        rows.append(np.mean(seen, axis=0))
    return np.concatenate(rows)


def keep_in(folder: Path | None, threads: int | None = None) -> None:
    """Where this process keeps exports from now on; None: it makes none and runs torch (see ``embed``)."""
    _HOME[:] = [(folder, threads)] if folder else []


def embed(module: nn.Module, key: str, images: npt.NDArray[np.uint8], turns: int = 1) -> Features:
    """As ``ml.networks.embed``; through the export where ``keep_in`` has named a folder for it."""
    if not _HOME or not len(images):
        return embed_by_torch(module, images, turns=turns)  # type: ignore[arg-type]
    folder, threads = _HOME[0]
    return features(engine_of(module, key, folder, Plan(side=images.shape[1]), threads), images, turns)


def engine_of(
    module: nn.Module, key: str, folder: Path | None = None, plan: Plan | None = None, threads: int | None = None
) -> Engine:
    """The engine of a network, built once per process. ``key``: the bundle's SHA-256, which names its folder in
    ``folder`` (None: nothing is kept). ``threads``: by default the cores that this process may use.
    """
    plan, threads = plan or Plan(), threads or cores()
    asked = (os.getpid(), key, folder, plan, threads)
    if asked not in _ENGINES:
        _ENGINES[asked] = _build(module, key, folder, plan, threads)
        logger.info("network %s runs by %s", key[:12], _ENGINES[asked].describe())
    return _ENGINES[asked]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _build(module: nn.Module, key: str, folder: Path | None, plan: Plan, threads: int) -> Engine:
    try:
        wanted = facts_of(key, plan)
        kept = _stored(folder / key, wanted) if folder else None
        if kept:
            return Engine(module, plan, kept[1]["precision"], kept[1]["difference"], threads, model=kept[0])
        engine = _checked(module, plan, threads)
    except Exception as fault:  # noqa: BLE001 (whatever the converter dislikes, torch can run)
        logger.warning("network %s runs by torch: %s", key[:12], fault)
        return Engine(module, plan, threads=threads, reason=str(fault))
    if folder:
        _keep(engine, wanted, folder / key)
    return engine


def openvino() -> Any:
    """The library, without its telemetry, which would report every import and conversion to its makers.

    Raises Unavailable where it is absent or must not be used.
    """
    if _RAN_IN and _RAN_IN[0] != os.getpid():
        raise Unavailable(FORKED)
    sys.modules.setdefault("openvino_telemetry", cast("Any", None))
    try:
        import openvino as library  # type: ignore[import-untyped]  # noqa: PLC0415 (a second, and not everyone has it)
    except ImportError as fault:
        raise Unavailable(f"OpenVINO is not installed ({fault}).") from fault
    return library


def _checked(module: nn.Module, plan: Plan, threads: int) -> Engine:
    """In the first precision that stays within the tolerance. Raises Unavailable where none does."""
    model, images = converted(module, plan.side), drawn(plan.side)
    reference = _by_torch(module, images)
    for precision in plan.precisions:
        engine = Engine(module, plan, precision, threads=threads, model=model)
        engine.difference = distance(reference, features(engine, images))
        if engine.difference <= plan.tolerance:
            return engine
        logger.warning("%s moves the features by %.4f", precision, engine.difference)
    raise Unavailable(f"OpenVINO moves the features by {engine.difference:.4f}; {plan.tolerance} are allowed.")


def distance(reference: Features, other: Features) -> float:
    """The largest difference between an image's two rows of features, relative to the row's length."""
    apart = np.linalg.norm(reference - other, axis=1) / np.maximum(np.linalg.norm(reference, axis=1), 1e-12)
    return float(apart.max()) if np.isfinite(apart).all() else float("inf")


def drawn(side: int) -> npt.NDArray[np.uint8]:
    """Two drawn fields and two drawn cells, (4, side, side, 3): the same on every machine."""
    pictures = [synthetic.draw_field(kind, 1) for kind in ("haematogones", "Pre-B")]
    pictures += [synthetic.draw_cell(kind, 1) for kind in ("Blast", "Lymphocyte")]
    return np.stack([np.asarray(Image.fromarray(picture).resize((side, side))) for picture in pictures])


def converted(module: nn.Module, side: int) -> Any:
    """OpenVINO's model of a torch module, any number of images at once."""
    library = openvino()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the tracing that OpenVINO's converter does
        example = torch.zeros(2, 3, side, side)
        model = library.convert_model(module, example_input=example, input=[([-1, 3, side, side],)])
    model.set_friendly_name("network")  # by itself it would have a number of this process
    return model


def _compiled(model: Any, kind: str, precision: str, threads: int) -> Any:
    """For uint8 images the division by 255 becomes part of the network. Cores are left to the system to choose:
    pinned, all processes of a machine would want the same ones.
    """
    library = openvino()
    model = model.clone()
    if kind == "uint8":
        steps = library.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(library.Type.u8).set_layout(library.Layout("NHWC"))
        steps.input().preprocess().convert_element_type(library.Type.f32).scale(255.0)
        steps.input().model().set_layout(library.Layout("NCHW"))
        model = steps.build()
    _RAN_IN[:] = _RAN_IN or [os.getpid()]
    how = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    return library.Core().compile_model(model, "CPU", how | {"ENABLE_CPU_PINNING": False})


def facts_of(key: str, plan: Plan) -> dict[str, Any]:
    """What an export must be made from to be used again."""
    versions = {"openvino": openvino().get_version(), "torch": torch.__version__}
    return {"key": key, **versions, **asdict(plan), "precisions": list(plan.precisions)}


def _stored(folder: Path, wanted: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """The export in ``folder`` and its facts, if it is the one wanted and whole. Hashed as it is read, not before."""
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        content = {name: (folder / name).read_bytes() for name in (NETWORK, WEIGHTS)}
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict) or {name: facts.get(name) for name in wanted} != wanted:
        return None
    if facts.get("files") != _hashes(content):
        logger.warning("the export in %s is damaged; it is made again", folder)
        return None
    return openvino().Core().read_model(content[NETWORK], content[WEIGHTS]), facts


def _hashes(content: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(said).hexdigest() for name, said in content.items()}


def _keep(engine: Engine, wanted: dict[str, Any], folder: Path) -> None:
    """Each file whole or not at all, the facts last: whoever reads in between makes the export again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
            new = Path(temporary)
            openvino().save_model(engine.model, new / NETWORK, compress_to_fp16=False)
            hashes = _hashes({name: (new / name).read_bytes() for name in (NETWORK, WEIGHTS)})
            said = {"precision": engine.precision, "difference": engine.difference, "files": hashes}
            (new / FACTS).write_text(json.dumps(wanted | said, indent=1, sort_keys=True) + "\n", "utf-8")
            for name in (NETWORK, WEIGHTS, FACTS):
                (new / name).replace(folder / name)
    except OSError as fault:
        logger.warning("the export could not be kept in %s: %s", folder, fault)


def export_bundle(bundle: Bundle, folder: Path, plan: Plan | None = None) -> dict[str, Any] | None:
    """Make or check the export of a bundle in ``folder / its SHA-256``; what runs it, as ``Engine.describe`` says.

    None for a bundle without a network of images.
    """
    if TRUNK not in bundle.manifest["files"]:
        return None
    plan = plan or Plan(side=int(bundle.manifest["preprocessing"]["side"]))
    return engine_of(load_trunk(bundle.file(TRUNK)), bundle.sha256, folder, plan).describe()


def check(
    engine: Engine, module: nn.Module, images: npt.NDArray[np.uint8], answer: Answer | None = None
) -> dict[str, Any]:
    """Engine against torch on images (n, h, w, 3): the largest difference of a probability, and changed labels.

    ``answer``: features (n, features) → probabilities (n, labels); by default the softmax of the features.
    """
    reference, other = embed_by_torch(module, images), features(engine, images)  # type: ignore[arg-type]
    p, q = ((answer or _softmax)(rows) for rows in (reference, other))
    return {
        "n": len(images),
        "features": distance(reference, other),
        "probability": float(np.abs(p - q).max()),
        "changed": int((p.argmax(axis=1) != q.argmax(axis=1)).sum()),
    }


def _softmax(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(scipy_softmax(logits, axis=1))
