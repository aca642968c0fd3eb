"""Which reader takes an item of which kind, and which model reads it: a table of names, imported when first used."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from clinic.registry.models import ModelBundle
from ml.bundle import Bundle, BundleError, load_bundle
from ml.findings import BUNDLE_OF_MODALITY, COMPANION_OF_MODALITY

logger = logging.getLogger(__name__)


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


DRAWN = {"smear_field": "ml.synthetic:draw_field", "smear_cell": "ml.synthetic:draw_cell"}


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
    """Read and verify every active bundle, and have the networks read and explain one drawn image each, so that the
    first case is not the slow one. What fails here is only said: the case that needs it gives the reason.
    """
    active = dict(ModelBundle.objects.filter(status="active").values_list("name", "sha256"))
    bundles = {}
    for name, sha256 in active.items():
        try:
            bundles[name] = bundle_of(sha256)
        except (BundleError, OSError):
            logger.exception("the active bundle %s cannot be read", name)
    for modality, how in MODALITIES.items():
        if how.many and BUNDLE_OF_MODALITY[modality] in bundles:
            try:
                _read_one_drawn(modality, bundles)
            except Exception:
                logger.exception("the bundle of %s could not be tried", modality)


def _read_one_drawn(modality: str, bundles: dict[str, Bundle]) -> None:
    bundle = bundles[BUNDLE_OF_MODALITY[modality]]
    companion = bundles.get(COMPANION_OF_MODALITY.get(modality, ""))
    more = {"companion": companion} if companion else {}
    drawn = [("drawn/0", function(DRAWN[modality])("Pre-B" if modality == "smear_field" else "Blast", 0))]
    finding = function(MODALITIES[modality].predict)(drawn, bundle, **more)
    function("workers.pictures:of")(modality, drawn, finding, bundle, lambda *_: None)
