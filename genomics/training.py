"""One bundle from the training folder, and the held-out predictions from which the fusion learns."""

from __future__ import annotations

from pathlib import Path

from genomics.expression import build
from genomics.labs import train as labs
from ml.bundle import Bundle, find_bundle, load_bundle
from ml.findings import InputRejected

NEEDED = {
    "expression": [Path("expression") / name for name in build.FILES],
    "labs": [Path("labs") / labs.FILE],
}
PAIRED = Path("expression") / "aml_labels_and_labs.csv"


def train(name: str, data: Path, out: Path, *, seed: int, oof: Path | None) -> Bundle:
    """Train ``name`` on ``data``, write it to ``out/name/VERSION``; with ``oof`` also ``oof/name.csv``.

    Once both bundles have their held-out predictions there, ``oof/pairs.csv`` says what both make of the same people.
    """
    for file in NEEDED[name]:
        if not (data / file).is_file():
            raise InputRejected(
                "missing_file", place=str(data / file), problem="There is no such file.", remedy="Check --data."
            )
    learn = {"expression": build.train, "labs": labs.train}[name]
    bundle = learn(data, out, seed=seed, oof=oof and oof / f"{name}.csv")
    if oof and all((oof / f"{one}.csv").is_file() for one in NEEDED) and (data / PAIRED).is_file():
        labs.pairs(data, load_bundle(find_bundle("labs", root=out)), oof / "expression.csv", oof / "pairs.csv")
    return bundle
