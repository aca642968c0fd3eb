"""``python -m ml predict|cells|evaluate|site|train|fit``: the image bundles and networks by name, from a shell."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml import datasets, field_cells, fit, site_threshold, smear_cell, smear_field, train_cell, train_field
from ml.blast_evaluation import evaluate_blasts
from ml.bundle import Bundle, BundleError, find_bundle, load_bundle
from ml.calibration import interval_text
from ml.evaluation import evaluate
from ml.findings import InputRejected
from ml.images import read_image
from ml.smear import load_model, read_images
from ml.training import Strangers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ml.smear import Rgb

PREDICT = {"smear_field": smear_field.predict, "smear_cell": smear_cell.predict}
TRAIN = {"smear-field": train_field.train, "smear-cell": train_cell.train}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="one answer for each image (a cell bundle names the cell)")
    predict.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    predict.add_argument("--case", action="store_true", help="one finding for all images together, as one case")
    score = commands.add_parser("evaluate", help="the metrics of a labelled set")
    score.add_argument("--data", type=Path, required=True, help="class folders, or a folder with cells.csv")
    score.add_argument(
        "--layout", choices=sorted(datasets.LAYOUTS), help="smear-cell on a public set: leukaemic or not"
    )
    predict.add_argument("--site", type=Path, help="a threshold for blasts that the command site wrote")
    site = commands.add_parser("site", help="a laboratory's own threshold for blasts, from cells known to be normal")
    site.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    site.add_argument("--out", type=Path, required=True, help="JSON file to write")
    cells = commands.add_parser("cells", help="the white cells of whole fields: found, named and counted")
    cells.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    cells.set_defaults(bundle="smear-cell")
    for command in (predict, score, site, cells):
        command.add_argument("--version", help="the newest, where none is named")
        command.add_argument("--json", action="store_true", help="one JSON object a line")
    for command in (predict, score, site):
        command.add_argument("--bundle", required=True, choices=sorted(TRAIN))
    train = commands.add_parser("train", help="make a bundle")
    train.add_argument("bundle", choices=sorted(TRAIN))
    train.add_argument("--data", type=Path, required=True, help="as for evaluate")
    train.add_argument("--weights", type=Path, required=True, help="mobilenet_v2_imagenet.safetensors")
    train.add_argument("--out", type=Path, required=True, help="the bundle's folder, named after its version")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--foreign", type=Path, help="images of another laboratory: asked, never learned from")
    train.add_argument("--slides", type=Path, help="images of other organs' slides: asked, never learned from")
    train.add_argument("--fields", type=Path, help="for smear-cell: class folders, for their cells")
    train.add_argument("--cache", type=Path, help="folder for features, so that a second run is quick")
    train.add_argument("--oof", type=Path, help="CSV for the held-out predictions, from which the fusion learns")
    fit.add_arguments(commands.add_parser("fit", help="train and score a network by name"))
    return parser


def read_frames(paths: Sequence[Path]) -> tuple[list[tuple[str, Rgb]], int]:
    """(id, frame) of every readable file, and how many files were refused; each refusal is printed on stderr."""
    frames, refused = [], 0
    for path in paths:
        try:
            of_file = list(read_image(existing(path))[0])
        except InputRejected as fault:
            print(fault, file=sys.stderr)
            refused += 1
            continue
        ids = [str(path)] if len(of_file) == 1 else [f"{path}#{k}" for k in range(1, len(of_file) + 1)]
        frames += list(zip(ids, of_file, strict=True))
    return frames, refused


def existing(path: Path) -> Path:
    if not path.is_file():
        raise InputRejected("missing_file", place=str(path), problem="There is no such file.", remedy="Check the path.")
    return path


def predict(said: argparse.Namespace, bundle: Bundle) -> int:
    frames, refused = read_frames(said.images)
    if said.case and frames:
        finding = PREDICT[bundle.manifest["modality"]](frames, bundle).as_dict()
        show(finding | {"id": "case"}, as_json=said.json)
    elif frames:
        judge = blast_judge(bundle, said.site)
        for reading in read_images(frames, load_model(bundle)):
            show(reading.as_dict() | judge(reading.probabilities), as_json=said.json)
    return 2 if refused else 0


def cells(said: argparse.Namespace, bundle: Bundle) -> int:
    frames, refused = read_frames(said.images)
    found = field_cells.read_cells(frames, bundle)
    if said.json:
        print(json.dumps(found, ensure_ascii=False))
        return 2 if refused else 0
    for field in found["fields"]:
        blast = "–" if field["blast"] is None else f"{field['blast']:.3f}"
        print(f"{field['id']}\t{field['cells']} cells\tmean blast {blast}")
    print(", ".join(f"{name} {count}" for name, count in found["differential"].items()) or "no cells")
    return 2 if refused else 0


def blast_judge(bundle: Bundle, site: Path | None) -> Callable[[Mapping[str, float]], dict[str, Any]]:
    """For a cell bundle: P(blast), and whether it reaches the threshold, the site's own where there is one."""
    if "blast" not in bundle.manifest["thresholds"]:
        return lambda _: {}
    home = site_threshold.home_of(bundle)["threshold"]
    threshold = site_threshold.read(site, bundle).threshold if site else home

    def judge(probabilities: Mapping[str, float]) -> dict[str, Any]:
        p = site_threshold.blast_probability(probabilities)
        return {"blast": {"probability": p, "threshold": threshold, "called": p >= threshold}}

    return judge


def site(said: argparse.Namespace, bundle: Bundle) -> int:
    frames, refused = read_frames(said.images)
    readings = read_images(frames, load_model(bundle)) if frames else []
    learned = site_threshold.of_normal_cells(readings, bundle, f"{len(said.images)} files")
    learned.write(said.out)
    print(f"{learned.cells} normal cells: blast from {learned.threshold:.3f} (at home {learned.home:.3f})")
    return 2 if refused else 0


def show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
        return
    likely = sorted(answer["probabilities"].items(), key=lambda pair: -pair[1])[:4]
    shares = ", ".join(f"{label} {p:.3f}" for label, p in likely)
    blast = f"\tblast {answer['blast']['probability']:.3f}" if "blast" in answer else ""
    print(f"{answer['id']}\t{answer['label'] or '–'}\t{shares}{blast}\tin scope {answer['in_scope']:.2f}")
    for sentence in answer["reasons"]:
        print(f"\t{sentence}")


def show_metrics(metrics: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(metrics, ensure_ascii=False))
        return
    for name, figure in metrics["figures"].items():
        print(f"{name}\t{interval_text(figure)}")
    print(metrics["note"])


def train(said: argparse.Namespace) -> int:
    learn = TRAIN[said.bundle]
    kept = {"strangers": Strangers(said.foreign, said.slides), "cache": said.cache, "oof": said.oof}
    kept |= {"fields": said.fields} if said.fields else {}
    bundle = learn(said.data, said.weights, said.out, said.seed, **kept)
    print((bundle.path / "card.md").read_text("utf-8"))
    return 0


def score(said: argparse.Namespace, bundle: Bundle) -> int:
    """Of the bundle's own labels or, with a layout, of leukaemic against normal."""
    public = datasets.load(said.layout, said.data) if said.layout else None
    show_metrics(evaluate_blasts(bundle, public) if public else evaluate(bundle, said.data), as_json=said.json)
    return 0


WITH_BUNDLE = {"predict": predict, "cells": cells, "evaluate": score, "site": site}
OWN = {"train": train, "fit": fit.from_arguments}  # commands that need no bundle


def run(said: argparse.Namespace) -> int:
    if said.command in OWN:
        return OWN[said.command](said)
    bundle = load_bundle(find_bundle(said.bundle, said.version))
    return WITH_BUNDLE[said.command](said, bundle)


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 where an input was refused or no such bundle is there."""
    try:
        return run(arguments().parse_args(words))
    except (InputRejected, BundleError) as fault:
        print(fault, file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
