"""A bundle's card for people, rendered from its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml.calibration import interval_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHOWN = ("accuracy", "balanced_accuracy", "f1_macro", "auc_macro", "log_loss", "brier", "ece")


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    columns = list(head)
    return [f"| {' | '.join(map(str, row))} |" for row in [columns, ["---"] * len(columns), *rows]]


def render(manifest: Mapping[str, Any]) -> str:
    """Markdown: what it is for, what it knows, what was measured on what, where it fails."""
    sections = {
        "Intended use": [manifest["intended_use"]],
        "Labels": _labels(manifest),
        "Data": _data(manifest),
        "Measured": _metrics(manifest),
        "Confusion": _confusions(manifest),
        "Beside it": _baselines(manifest),
        "In scope and out of scope": _scope(manifest),
        "Known limits": [f"- {limit}" for limit in manifest["limits"]],
        "How it was made": [f"- {key}: {value}" for key, value in manifest["trained"].items()],
    }
    lines = [f"# {manifest['name']} {manifest['version']} ({manifest['licence']})"]
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _labels(manifest: Mapping[str, Any]) -> list[str]:
    rows = [
        (label, said["name"], f"{said['training_share']:.3f}", len(said["leaves"]))
        for label, said in manifest["labels"].items()
    ]
    return table(("label", "meaning", "share of the training set", "diagnoses it can mean"), rows)


def _data(manifest: Mapping[str, Any]) -> list[str]:
    return table(
        ("data", "n", "licence", "source"),
        [[d[k] for k in ("name", "n", "licence", "source")] for d in manifest["data"]],
    )


def _metrics(manifest: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, said in manifest["metrics"].items():
        figures = [said["figures"][key] for key in SHOWN]
        rows.append([name, said["n"], *map(interval_text, figures)])
    note = "95 % intervals by bootstrap over groups; temperatures fitted on the other folds. Splits and data by name: "
    return [
        *table(("split", "n", *SHOWN), rows),
        "",
        note
        + "; ".join(f"{name}: {said['data']}, {said['split']}" for name, said in manifest["metrics"].items())
        + ".",
    ]


def _confusions(manifest: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, said in manifest["metrics"].items():
        rows = [[f"**{label}**", *row] for label, row in zip(said["labels"], said["confusion"], strict=True)]
        lines += [f"{name} (rows: truth, columns: answer)", "", *table(("", *said["labels"]), rows), ""]
    return lines[:-1]


def _baselines(manifest: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, said in manifest["baselines"].items():
        figures = said.get("figures", {})
        value = [figures[k]["value"] if figures else said[k] for k in ("accuracy", "balanced_accuracy")]
        rows.append([name, *(f"{v:.3f}" for v in value)])
    return table(("baseline", "accuracy", "balanced accuracy"), rows)


def _scope(manifest: Mapping[str, Any]) -> list[str]:
    said = manifest["in_scope"]
    lines = [
        said["method"],
        "",
        *table(("images", "n", "median score", "below ½", "AUROC against held-out training images"), _checks(said)),
    ]
    return lines + [""] + [f"- {sentence}" for sentence in said.get("notes", ())]


def _checks(said: Mapping[str, Any]) -> list[list[Any]]:
    return [
        [
            name,
            c["n"],
            f"{c['median']:.3f}",
            f"{c['below_half']:.3f}",
            "–" if c.get("auroc") is None else f"{c['auroc']:.3f}",
        ]
        for name, c in said["checks"].items()
    ]
