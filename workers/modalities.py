"""Which reader takes an item of which kind, and which model reads it: a table of names, imported when first used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from clinic.registry.models import ModelBundle
from ml.bundle import Bundle, BundleError, load_bundle
from ml.findings import BUNDLE_OF_MODALITY


@dataclass(frozen=True)
class Modality:
    """``module:function`` to read, to load what was read, and to predict; ``many``: predicts from all its items."""

    reader: str
    load: str
    predict: str
    many: bool


MODALITIES = {
    "smear_field": Modality("ml.images:canonicalise", "ml.images:load_canonical", "ml.smear_field:predict", many=True),
    "smear_cell": Modality("ml.images:canonicalise", "ml.images:load_canonical", "ml.smear_cell:predict", many=True),
    "expression": Modality(
        "genomics.expression:canonicalise",
        "genomics.expression:load_canonical",
        "genomics.expression:predict",
        many=False,
    ),
    "labs": Modality("genomics.labs:canonicalise", "genomics.labs:load_canonical", "genomics.labs:predict", many=False),
}


def function(name: str) -> Any:
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)


@lru_cache(maxsize=32)
def bundle_of(sha256: str) -> Bundle:
    """The registered bundle with this hash, read and verified once per process."""
    row = ModelBundle.objects.filter(sha256=sha256).first()
    if row is None:
        raise BundleError(f"No bundle with hash {sha256} is registered.")
    bundle = load_bundle(Path(row.path))
    if bundle.sha256 != sha256:
        raise BundleError(f"{row.path} is no longer the bundle {row.reference} that was registered.")
    return bundle


def import_all() -> None:
    """Import every model, the fusion and the explanations."""
    for name in (*(how.predict for how in MODALITIES.values()), "ml.fusion:fuse", "ml.explain:overlay_png"):
        function(name)


def warm_up() -> None:
    """Read and verify every active bundle, so that the first case is not the slow one."""
    for modality in MODALITIES:
        for row in ModelBundle.objects.filter(name=BUNDLE_OF_MODALITY[modality], status="active"):
            bundle_of(row.sha256)
