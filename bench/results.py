"""``docs/results.md`` from the bundles' manifests and the files of ``docs/measured``: python -m bench.results"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import (
    fusion,
    gan_effect,
    generalisation,
    genomics_pictures,
    genomics_speed,
    imaging,
    in_scope,
    papers,
    site_sets,
)
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
    "site_sets.json": site_sets.section,
    "papers.json": papers.section,
    "in_scope.json": in_scope.section,
    "gan.json": gan_effect.section,
    "genomics.json": genomics_pictures.section,
    "genomics_speed.json": genomics_speed.section,
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


NOTES = {
    "labs": (
        (
            "That the three classes weigh alike was chosen with the figures of the centre left out in view (equal "
            "0.736, the training centre's shares 0.605, half of each 0.682; decision 011): look at the interval of "
            "*other centre*, not at its third digit."
        ),
    ),
}


def page() -> str:
    parts = [HEAD]
    for name in BUNDLE_OF_MODALITY.values():
        manifest = load_bundle(find_bundle(name)).manifest
        parts += [f"\n## {name} {manifest['version']}\n", *_figures(manifest["metrics"]), "", *_baselines(manifest)]
        parts += (
            ["", *_answers(manifest["metrics"])]
            if any("answered" in said for said in manifest["metrics"].values())
            else []
        )
        parts += [""] + [f"- {limit}" for limit in manifest["limits"][:3]]
        parts += [f"- {note}" for note in NOTES.get(name, ())]
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


def _answers(metrics: dict[str, Any]) -> list[str]:
    """How deep answers go under thresholds from other people's answers; and the cohorts and classes left out."""
    rows = [
        [
            name.removeprefix("answers, "),
            said["n"],
            *(
                _share(said[key])
                for key in ("answered", "answered_right", "parent_sure", "parent_sure_right", "unclassified")
            ),
        ]
        for name, said in metrics.items()
        if "answered" in said
    ]
    head = ("answers", "n", "answered", "of these right", "only the parent sure", "of these right", "unclassified")
    left_out = [
        f"- {name} ({said['split']}, n = {said['n']}): "
        + ", ".join(
            f"{key.replace('_', ' ')} {value:.3f}" if isinstance(value, float) else f"{key.replace('_', ' ')} {value}"
            for key, value in said.items()
            if key not in ("data", "split", "n")
        )
        for name, said in metrics.items()
        if said["split"].startswith("leave one") and "figures" not in said
    ]
    return [*table(head, rows), "", *left_out]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _baselines(manifest: dict[str, Any]) -> list[str]:
    rows = []
    for name, said in manifest["baselines"].items():
        values = {key: figure["value"] for key, figure in said["figures"].items()} if "figures" in said else said
        shown = {key: value for key, value in values.items() if "accuracy" in key or "auc" in key}
        rows.append([name, ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in shown.items())])
    return table(("beside it", ""), rows)


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
