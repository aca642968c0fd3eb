"""``python -m genomics predict|evaluate|train expression|labs``: the bundles of tables from the command line.
``python -m genomics recalibrate|series labs``: a site's own calibration; the panels of one patient over time.

Expression: counts, CPM, TPM or FPKM, or their logarithm (log2, ln, log10), as CSV, TSV or Excel sheet, plain, gzip or
zip, or as HTSeq, STAR, featureCounts, Salmon, kallisto, RSEM and GDC write them; genes by Ensembl id, with or without
version, by symbol or by Entrez id; genes × samples or samples × genes. One answer a sample.
Labs: CSV with a column an analyte, its unit in the header (WBC_G_L, "MCHC [g/dL]"), a row a panel; CSV with the columns
code (LOINC or name), value, unit; JSON; FHIR Observations. One answer a panel, named by a column id or its row from 1.
Labels of evaluate: a CSV with the columns sample and label (also y or who; B-ALL, T-ALL, AML and Normal are lineages
without a subtype); for labs also a column Response or label beside the analytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genomics.batch import answer_file
from genomics.evaluation import evaluate
from genomics.expression.layouts import STRANDS
from genomics.expression.quality import SEXES
from genomics.expression.scale import SCALES
from genomics.labs import commands as of_labs
from genomics.sources.commands import add_arguments as add_fetch
from genomics.sources.commands import fetch
from ml.bundle import Bundle, BundleError, find_bundle, load_bundle
from ml.calibration import interval_text
from ml.findings import Finding, InputRejected

BUNDLES = ("expression", "labs")
READING = {  # options of the expression reader beside the scale
    "strand": (STRANDS, "which of STAR's or GDC's columns; found from the reads if not named"),
    "sex": (SEXES, "the record's, against which the sex genes are checked"),
    "sheet": (None, "of a workbook that has several"),
}
SHOWN = ("label", "probabilities", "in_scope", "quality", "reasons")


def arguments() -> argparse.ArgumentParser:
    how = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m genomics", description=__doc__, formatter_class=how)
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="one answer for each sample or panel")
    score = commands.add_parser("evaluate", help="the metrics of a labelled set")
    train = commands.add_parser("train", help="make a bundle")
    for command in (predict, score, train):
        command.add_argument("bundle", choices=BUNDLES)
    add_fetch(commands)
    predict.add_argument("files", nargs="+", type=Path, metavar="FILE")
    for option, (values, what) in READING.items():
        predict.add_argument(f"--{option}", choices=values, help=f"of expression: {what}")
    predict.add_argument("--sample", metavar="NAME", help="only this sample or panel")
    predict.add_argument("--site", type=Path, metavar="DIR", help="what `recalibrate labs` wrote for your site")
    score.add_argument("--data", type=Path, required=True, help="a table, or a folder laid out like the training set")
    score.add_argument("--labels", type=Path, help="CSV with sample and label")
    for command in (predict, score):
        command.add_argument("--scale", help=f"of expression: {', '.join(SCALES)}; found from each sample if not named")
        command.add_argument("--version", help="the newest, where none is named")
        command.add_argument("--json", action="store_true", help="one JSON object a line")
    train.add_argument("--data", type=Path, required=True, help="folder with expression/ and labs/")
    train.add_argument("--out", type=Path, required=True, help="folder of the bundles")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--oof", type=Path, help="folder for the held-out predictions, from which the fusion learns")
    of_labs.add(commands)
    return parser


def options(said: argparse.Namespace) -> dict[str, Any]:
    asked = {key: getattr(said, key, None) for key in ("scale", *READING, "sample")}
    named = {key: value for key, value in asked.items() if value is not None}
    if said.bundle == "labs" and (wrong := named.keys() - {"sample"}):
        option = min(wrong)
        raise InputRejected(
            "wrong_option",
            place=f"option --{option}",
            problem=f"Labs have no {option}.",
            remedy="Name the unit of each value in the file.",
        )
    if getattr(said, "site", None) and said.bundle != "labs":
        raise InputRejected(
            "wrong_option", place="option --site", problem="Only labs are recalibrated.", remedy="Leave it out."
        )
    return named


def predict(said: argparse.Namespace, bundle: Bundle) -> int:
    asked, refused = options(said), 0
    site = of_labs.read_site(said.site, bundle) if said.site else None
    for file in said.files:
        try:
            answered = answer_file(bundle, file, asked, site)
        except (InputRejected, OSError) as fault:
            print(fault, file=sys.stderr)
            refused += 1
            continue
        for name, finding in answered.findings:
            show(name, finding, as_json=said.json)
        for bad in answered.refused:
            print(bad, file=sys.stderr)
        refused += len(answered.refused)
    return 2 if refused else 0


def show(name: str, finding: Finding, *, as_json: bool) -> None:
    if as_json:
        whole = finding.as_dict()
        print(json.dumps({"id": name, **{key: whole[key] for key in SHOWN}}, ensure_ascii=False))
        return
    likely = sorted(finding.probabilities.items(), key=lambda pair: -pair[1])[:4]
    shares = ", ".join(f"{label} {p:.3f}" for label, p in likely)
    print(f"{name}\t{finding.label or '–'}\t{shares}\tin scope {finding.in_scope:.2f}")
    for sentence in (*finding.reasons, *(flag.message for flag in finding.quality)):
        print(f"\t{sentence}")


def show_metrics(metrics: dict[str, Any], *, as_json: bool) -> None:
    for fault in metrics["refused"]:
        print(f"{fault['place']}: {fault['problem']} {fault['remedy']}", file=sys.stderr)
    if as_json:
        print(json.dumps(without_nan(metrics), ensure_ascii=False, allow_nan=False))
        return
    for name, figure in metrics["figures"].items():
        print(f"{name}\t{interval_text(figure)}")
    print(f"n\t{metrics['n']}, withheld {metrics['withheld']}, unlabelled {metrics['unlabelled']}")
    print(metrics["note"])


def without_nan(said: Any) -> Any:
    """JSON has no NaN: a figure that this set cannot have (an AUC of one class) is null."""
    if isinstance(said, dict):
        return {key: without_nan(value) for key, value in said.items()}
    if isinstance(said, list):
        return [without_nan(value) for value in said]
    return None if isinstance(said, float) and said != said else said  # noqa: PLR0124


def train(said: argparse.Namespace) -> int:
    from genomics import training  # noqa: PLC0415 (what answers need not load what learns)

    bundle = training.train(said.bundle, said.data, said.out, seed=said.seed, oof=said.oof)
    print((bundle.path / "card.md").read_text("utf-8"))
    return 0


def run(said: argparse.Namespace) -> int:
    if said.command == "train":
        return train(said)
    if said.command == "fetch":
        print(json.dumps(fetch(said), ensure_ascii=False))
        return 0
    if said.command == "series":
        return of_labs.series(said)
    bundle = load_bundle(find_bundle(said.bundle, said.version))
    if said.command == "predict":
        return predict(said, bundle)
    if said.command == "recalibrate":
        return of_labs.recalibrate(said, bundle)
    show_metrics(evaluate(bundle, said.data, said.labels, options(said)), as_json=said.json)
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 where an input was refused or no such bundle is there."""
    try:
        return run(arguments().parse_args(words))
    except (InputRejected, BundleError, OSError) as fault:
        print(fault, file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
