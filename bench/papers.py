"""The first paper's table of networks, under its own split and under one that keeps neighbours together.

python -m bench.papers --data smear_fields --weights mobilenet_v2_imagenet.safetensors

Writes ``docs/measured/papers.json`` after every network and split, and three pictures of each; what is there already is
not measured again. Every network has the same number of folds.
"""

import argparse
import json
import logging
from itertools import product
from pathlib import Path
from typing import Any

from ml import datasets
from ml.calibration import interval_text
from ml.cards import table
from ml.fit import Job, fit
from ml.fit_config import CONFIGS, read_config

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = "four-class-all"
SPLITS = {"random": "random stratified 5-fold", "grouped": "5-fold by blocks of neighbours"}
COMMON = {"batch": 32, "patience": 4, "warmup_epochs": 0.5, "threads": 1}
SETTINGS = {
    "mobilenet_v2": {"side": 96, "epochs": 6, "batchnorm": "folded"},
    "custom_cnn": {"side": 64, "epochs": 16},
    "cnn_lstm": {"side": 64, "epochs": 16},
    "efficientnet_b0": {"side": 64, "epochs": 12},
    "inception_v3": {"side": 75, "epochs": 8},
    "resnet50": {"side": 64, "epochs": 8},
    "vgg16": {"side": 64, "epochs": 5},
}
SHOWN = {
    "accuracy": "accuracy",
    "sensitivity_macro": "sensitivity",
    "specificity_macro": "specificity",
    "f1_macro": "macro F1",
    "auc_macro": "AUROC",
    "ece": "calibration error",
    "brier": "Brier",
}
PICTURES = ("confusion.png", "curves.png", "reliability.png")


def arguments():
    parser = argparse.ArgumentParser(prog="python -m bench.papers", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the four classes")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="files named after their network")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "measured")
    parser.add_argument("--work", type=Path, default=ROOT / "var" / "papers", help="checkpoints and decoded images")
    parser.add_argument("--networks", nargs="*", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--splits", nargs="*", choices=list(SPLITS), default=list(SPLITS))
    parser.add_argument("--folds", type=int, nargs="*", default=[0], help="of 0 to 4; the same for every network")
    parser.add_argument("--max-minutes", type=float, default=6, help="a network and fold, then it is cut off")
    return parser


def weights_of(network: str, files: list[Path]) -> Path | None:
    return next((file for file in files if file.name.startswith(network)), None)


def measure(said: argparse.Namespace, network: str, split: str) -> dict[str, Any]:
    """One row: the network's figures under ``split``, and the baselines' on the same images."""
    weights = weights_of(network, said.weights)
    config = read_config(CONFIGS / f"{network}.toml")
    config = config.but(**COMMON, **SETTINGS[network], max_minutes=said.max_minutes)
    out = said.work / f"{network}-{split}"
    images = datasets.load(LAYOUT, said.data)
    job = Job(network, images, split, config, out, weights, 0, tuple(said.folds), said.work / "cache")
    report = fit(job, resume=True)
    (said.out / "papers").mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        (said.out / "papers" / f"{network}-{split}-{name}").write_bytes((out / name).read_bytes())
    return row_of(report)


def row_of(report: dict[str, Any]) -> dict[str, Any]:
    """What the table keeps of a ``metrics.json``."""
    trained = report["trained"]
    row = {key: report[key] for key in ("network", "split", "n", "confusion", "labels", "per_class", "temperature")}
    kept = (
        "weights",
        "folds",
        "epochs",
        "best_epoch",
        "ended",
        "minutes",
        "processor_minutes",
        "device",
        "threads",
        "configuration",
    )
    row["trained"] = {key: trained[key] for key in kept}
    row["figures"] = {key: report["figures"][key] for key in SHOWN}
    row["baselines"] = {
        name: {"figures": {key: said["figures"][key] for key in ("accuracy", "f1_macro", "auc_macro", "ece", "brier")}}
        for name, said in report["baselines"].items()
    }
    return row


def run(said: argparse.Namespace) -> dict[str, Any]:
    """The rows of ``papers.json``, which is read again before each is added: the splits may be run side by side."""
    target = said.out / "papers.json"
    for network, split in product(said.networks, said.splits):
        name = f"{network}, {split}"
        row = read(target).get(name)
        if row is None or row["trained"]["folds"] != said.folds:
            row = measure(said, network, split)
            rows = read(target) | {name: row}
            target.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(name, f"accuracy {_interval(row['figures']['accuracy'])}", flush=True)
    return read(target)


def read(target: Path) -> dict[str, Any]:
    """Rows by name, in the order of SETTINGS."""
    rows = json.loads(target.read_text("utf-8")) if target.is_file() else {}
    return dict(sorted(rows.items(), key=lambda item: list(SETTINGS).index(item[1]["network"])))


def section(rows: dict[str, Any]) -> list[str]:
    """Markdown of ``papers.json``: the table, and in words how its networks were trained."""
    lines = ["## The papers' networks", "", *_trained(rows), ""]
    for split, meaning in SPLITS.items():
        of = [row for row in rows.values() if row["split"] == split]
        if of:
            head = ("network", *SHOWN.values(), "epochs", "side", "start", "processor minutes")
            lines += [f"{meaning.capitalize()}:", "", *table(head, [*map(_row, of), *_beside(of[0])]), ""]
    return [*lines, *_pictures(rows)]


def _pictures(rows: dict[str, Any]) -> list[str]:
    """Links to each network's pictures, relative to docs/results.md."""
    names = ("confusion", "curves", "reliability")
    shown = [
        [
            row["network"],
            row["split"],
            *(f"[{name}](measured/papers/{row['network']}-{row['split']}-{name}.png)" for name in names),
        ]
        for row in rows.values()
    ]
    return table(("network", "split", *names), shown)


def _row(row: dict[str, Any]) -> list[Any]:
    trained = row["trained"]
    start = "from scratch" if trained["weights"] == "from scratch" else "ImageNet"
    epochs = ", ".join(
        f"{n}{' (cut off)' if end == 'max_minutes' else ''}"
        for n, end in zip(trained["epochs"], trained["ended"], strict=True)
    )
    how = [epochs, trained["configuration"]["side"], start, trained["processor_minutes"]]
    return [row["network"], *(_interval(row["figures"][key]) for key in SHOWN), *how]


def _beside(row: dict[str, Any]) -> list[list[Any]]:
    return [
        [f"*{name}*", *(_interval(said["figures"].get(key)) for key in SHOWN), *["–"] * 4]
        for name, said in row["baselines"].items()
    ]


def _trained(rows: dict[str, Any]) -> list[str]:
    some = next(iter(rows.values()))["trained"]
    devices = sorted({row["trained"]["device"] for row in rows.values()})
    folds = f"fold {', '.join(map(str, some['folds']))} of 5" if len(some["folds"]) < 5 else "all five folds"
    start = sorted({row["network"] for row in rows.values() if row["trained"]["weights"] != "from scratch"})
    minutes = sum(row["trained"]["processor_minutes"] for row in rows.values())
    absent = [name for name in SETTINGS if not any(row["network"] == name for row in rows.values())]
    said = (
        f"Each network held out {folds} of the four-class smear fields and was trained on {', '.join(devices)} "
        f"({some['threads']} thread, {minutes:.0f} processor minutes in all) with random views, at the input side and "
        f"for the epochs that its row names; from ImageNet weights: {', '.join(start) or 'none'}, all others from "
        "scratch. "
        "So few epochs at so small a side say what a processor reaches in minutes, not what a network can reach."
    )
    return [said + (f" Not measured: {', '.join(absent)}." if absent else "")]


def _interval(figure: dict[str, float] | None) -> str:
    return interval_text(figure) if figure else "–"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    print("\n".join(section(run(arguments().parse_args()))))
