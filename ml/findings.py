"""What is said of an input: a Finding, a quality flag, or a rejection.

Light on purpose (standard library only): the web process imports it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

MODALITIES = ("smear_field", "smear_cell", "expression", "labs")
BUNDLE_OF_MODALITY = {
    "smear_field": "smear-field",
    "smear_cell": "smear-cell",
    "expression": "expression",
    "labs": "labs",
}
MODALITY_NAMES = {  # in a sentence
    "smear_field": "the smear fields",
    "smear_cell": "the single cells",
    "expression": "gene expression",
    "labs": "the laboratory values",
}
COMPANION_OF_MODALITY = {"smear_field": "smear-cell"}  # a second bundle that reads the same items, for explanation


class InputRejected(Exception):
    """Bad input: which place, what is wrong, what to do. Shown to the person as it is.

    ``code`` is a stable machine word (``truncated``, ``unknown_unit`` …); ``place`` names the file, row, column or tag.
    """

    def __init__(self, code: str, *, place: str, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem} {remedy}")
        self.code, self.place, self.problem, self.remedy = code, place, problem, remedy

    def as_dict(self) -> dict[str, str]:
        return {"code": self.code, "place": self.place, "problem": self.problem, "remedy": self.remedy}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rejected, (self.as_dict(),))


def _rejected(said: dict[str, str]) -> InputRejected:
    said = dict(said)
    return InputRejected(said.pop("code"), **said)


@dataclass(frozen=True)
class QualityFlag:
    """One thing about an input that a reader of the result must know; ``blocking`` means: not to be used."""

    code: str
    message: str
    blocking: bool = False


def percent(p: float) -> str:
    """A probability as a person should read it: never 0% and never 100%, which no model knows."""
    return "> 99%" if p > 0.99 else "< 1%" if p < 0.01 else f"{p:.0%}"


@dataclass(frozen=True)
class Finding:
    """What one modality says of one case.

    ``probabilities`` has one calibrated probability for each label of the bundle (sums to 1), ``leaves`` the leaves of
    the diagnosis tree that each label means, ``training_share`` each label's share of the training set: with them a
    stored finding can be fused again without its bundle. ``in_scope`` in [0, 1] is how far the input resembles what the
    bundle was trained on; ``explanation`` is JSON, its keys are the modality's.
    """

    modality: str
    bundle: str
    bundle_sha256: str
    label: str | None
    probabilities: dict[str, float]
    in_scope: float
    leaves: dict[str, tuple[str, ...]]
    training_share: dict[str, float]
    quality: tuple[QualityFlag, ...] = ()
    reasons: tuple[str, ...] = ()
    explanation: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"quality": [asdict(q) for q in self.quality], "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> Finding:
        quality = tuple(QualityFlag(**q) for q in said.get("quality", ()))
        leaves = {label: tuple(ids) for label, ids in said["leaves"].items()}
        return cls(**{**said, "quality": quality, "leaves": leaves, "reasons": tuple(said.get("reasons", ()))})
