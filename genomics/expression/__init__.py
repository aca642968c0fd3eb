"""Expression: RNA-seq tables of other laboratories → one finding a sample."""

from genomics.expression.model import predict
from genomics.expression.reader import ExpressionTable, canonicalise, load_canonical

__all__ = ["ExpressionTable", "canonicalise", "load_canonical", "predict"]
