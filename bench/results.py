"""``docs/results.md`` from the bundles' manifests and the files of ``docs/measured``: python -m bench.results"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import fusion, gan_effect, generalisation, imaging, in_scope, papers
from ml.bundle import find_bundle, load_bundle
from ml.calibration import interval_text
from ml.cards import table
from ml.findings import BUNDLE_OF_MODALITY

TARGET = Path(__file__).resolve().parents[1] / "docs" / "results.md"
SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc_macro": "AUROC",
    "ece": "calibration error",
}
MEASURED: dict[str, Callable[[Any], list[str]]] = {
    "generalisation.json": generalisation.section,
    "papers.json": papers.section,
    "in_scope.json": in_scope.section,
    "gan.json": gan_effect.section,
    "imaging.json": imaging.section,
}
HEAD = """\
# Results

Every figure here is read from the manifest of a shipped bundle or from a file of `docs/measured`, below which stands
the command that wrote it (`python -m bench.results` writes this page; a test compares it). Held-out data only, 95 %
intervals by bootstrap over patients or blocks. What each model cannot do is in its card beside it
(`ml/bundles/*/*/card.md`); read that before you use a figure. All data are retrospective and public; nothing here has
been shown in a clinic.
"""


def page() -> str:
    parts = [HEAD]
    for name in BUNDLE_OF_MODALITY.values():
        manifest = load_bundle(find_bundle(name)).manifest
        parts += [f"\n## {name} {manifest['version']}\n", *_figures(manifest["metrics"]), "", *_baselines(manifest)]
        parts += [""] + [f"- {limit}" for limit in manifest["limits"][:3]]
    return "\n".join([*parts, "", *fusion.section(), *_measured()]) + "\n"


def _measured() -> list[str]:
    """A section for each measurement that has been made."""
    folder = TARGET.parent / "measured"
    files = {folder / name: section for name, section in MEASURED.items()}
    said = [
        ["", *section(json.loads(file.read_text("utf-8"))), "", f"Made by `python -m {section.__module__}`."]
        for file, section in files.items()
        if file.is_file()
    ]
    return [line for lines in said for line in lines]


def _figures(metrics: dict[str, Any]) -> list[str]:
    rows = [
        [name, said["data"], said["split"], said["n"], *(interval_text(said["figures"][key]) for key in SHOWN)]
        for name, said in metrics.items()
        if "figures" in said
    ]
    return table(("what", "data", "split", "n", *SHOWN.values()), rows)


def _baselines(manifest: dict[str, Any]) -> list[str]:
    rows = []
    for name, said in manifest["baselines"].items():
        values = {key: figure["value"] for key, figure in said["figures"].items()} if "figures" in said else said
        shown = {key: value for key, value in values.items() if "accuracy" in key or "auc" in key}
        rows.append([name, ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in shown.items())])
    return table(("beside it", ""), rows)


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
