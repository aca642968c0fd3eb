"""Coverage, calibration and confusion of expression and labs as pictures, from the held-out predictions of training.

python -m bench.genomics_pictures --oof DIR    writes docs/measured/genomics.json and docs/measured/genomics/*.png

DIR has expression.csv and labs.csv as ``python -m genomics train … --oof DIR`` writes them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, f1_score

from ml.cards import table
from ml.pictures import confusion_png, coverage_png, reliability_png

MEASURED = Path(__file__).resolve().parents[1] / "docs" / "measured"
TARGET = MEASURED / "genomics.json"
FOLDER = MEASURED / "genomics"
SHARES = (0.5, 0.7, 0.85, 0.9, 1.0)
REST = ("B-ALL other", "AML other", "Normal")
AML = ("CBFB::MYH11", "CEBPA", "KMT2A-r AML", "NPM1", "PML::RARA", "RUNX1::RUNX1T1", "TP53-mutated")
FEWEST = 5


def groups_of(name: str, frame: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, list[str]]]:
    """What is drawn → (rows, the labels among which they are judged), as the cards' figures have it."""
    if name == "labs":
        return {"labs": (frame, sorted(frame["y"].unique()))}
    of = frame["y"].value_counts()
    b_and_t = [label for label in of.index if of[label] >= FEWEST + 2 and label not in REST and label not in AML]
    aml = [label for label in AML if of.get(label, 0) >= FEWEST]
    rows = frame[frame["y"].isin(b_and_t)]
    return {
        "all-subtypes": (rows, sorted(b_and_t)),
        "all-subtypes-without-cohort-7-8": (rows[rows["cohort"] != "Cohort7_8"], sorted(b_and_t)),
        "aml-subtypes": (frame[frame["y"].isin(aml)], sorted(aml)),
        "expression-all-labels": (frame, sorted(frame["y"].unique())),
    }


def held_out(rows: pd.DataFrame, labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    p = rows[[f"p:{label}" for label in labels]].to_numpy(float)
    return p / p.sum(axis=1, keepdims=True), np.array([labels.index(label) for label in rows["y"]])


def draw(name: str, p: np.ndarray, y: np.ndarray, labels: list[str]) -> dict[str, Any]:
    """Writes the pictures; returns the figures that stand beside them."""
    matrix = confusion_matrix(y, p.argmax(axis=1), labels=range(len(labels)))
    (FOLDER / f"{name}-confusion.png").write_bytes(confusion_png(matrix, labels, name))
    (FOLDER / f"{name}-reliability.png").write_bytes(reliability_png(p, y, name))
    (FOLDER / f"{name}-coverage.png").write_bytes(coverage_png({name: (p, y)}, name))
    right = (p.argmax(axis=1) == y)[np.argsort(-p.max(axis=1), kind="stable")]
    surest = {f"{share:g}": float(right[: max(int(np.ceil(share * len(y))), 1)].mean()) for share in SHARES}
    macro = float(f1_score(y, p.argmax(axis=1), average="macro", labels=range(len(labels)), zero_division=0))
    return {"n": len(y), "classes": len(labels), "accuracy": float(right.mean()), "macro_f1": macro, "surest": surest}


def measure(oof: Path) -> dict[str, Any]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    said = {}
    for bundle in ("expression", "labs"):
        frame = pd.read_csv(oof / f"{bundle}.csv", dtype={"id": str, "group": str, "y": str}, keep_default_na=False)
        for name, (rows, labels) in groups_of(bundle, frame).items():
            said[name] = draw(name, *held_out(rows, labels), labels)
    return said


def section(said: dict[str, Any]) -> list[str]:
    lines = ["## Expression and labs: coverage, calibration, confusion", ""]
    lines += ["Held-out predictions of the five folds; accuracy among the surest answers, the surest first.", ""]
    head = (
        "what",
        "n",
        "classes",
        "accuracy",
        "macro F1",
        *(f"surest {float(share):.0%}" for share in SHARES),
        "pictures",
    )
    rows = []
    for name, of in said.items():
        kinds = ("confusion", "reliability", "coverage")
        pictures = ", ".join(f"[{kind}](measured/genomics/{name}-{kind}.png)" for kind in kinds)
        shares = [f"{of['surest'][f'{share:g}']:.3f}" for share in SHARES]
        rows.append([name, of["n"], of["classes"], f"{of['accuracy']:.3f}", f"{of['macro_f1']:.3f}", *shares, pictures])
    return [*lines, *table(head, rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--oof", type=Path, required=True)
    TARGET.write_text(json.dumps(measure(parser.parse_args().oof), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
