"""Labs: blood counts, coagulation and LDH of other laboratories → one finding a panel."""

from genomics.labs.model import predict
from genomics.labs.reader import LabPanels, canonicalise, load_canonical

__all__ = ["LabPanels", "canonicalise", "load_canonical", "predict"]
