"""Labs: blood counts, coagulation and LDH of other laboratories → one finding a panel.

The names are looked up when first asked for: who wants only the table of analytes waits for no model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genomics.labs.model import predict
    from genomics.labs.reader import LabPanels, canonicalise, load_canonical

_HOMES = {"LabPanels": "reader", "canonicalise": "reader", "load_canonical": "reader", "predict": "model"}

__all__ = ["LabPanels", "canonicalise", "load_canonical", "predict"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"genomics.labs.{_HOMES[name]}"), name)
