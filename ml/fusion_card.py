"""The fusion's card for people, and its pictures, from the manifest."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from ml.calibration import interval_text
from ml.cards import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VIRTUAL, REAL = "virtual patients: ", "real pairs: labs and expression of the same person"
ALL = "virtual patients: all combinations"
DPI = 80


def combinations(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Combination → its figures, in the order of the manifest."""
    return {name.removeprefix(VIRTUAL): said for name, said in metrics.items() if "fusion" in said}


def card(manifest: Mapping[str, Any]) -> str:
    """The card for people."""
    metrics, chosen = manifest["metrics"], manifest["calibration"]["chosen"]
    lines = [
        f"# {manifest['name']} {manifest['version']}",
        "",
        manifest["intended_use"],
        "",
        "## Learned",
        "",
        *_learned(manifest),
        "",
        f"Active: {chosen['method']}. Mean log-loss held out: "
        + ", ".join(f"{name} {value:.3f}" for name, value in chosen["mean_log_loss"].items())
        + ". The other stays in the bundle.",
        f"Thresholds of the answer by depth (rare combinations): {manifest['thresholds']['level']['otherwise']}.",
        f"Contradiction from {np.exp(manifest['thresholds']['discordance']):.0f} to 1 on each side.",
        "",
        "## Measured, on people of whom neither weights nor thresholds know",
        "",
        *measured(metrics),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in manifest["limits"]),
        "",
        f"Data: {'; '.join(d['name'] for d in manifest['data'])}. Licence: {manifest['licence']}.",
        f"Reproduce: `{manifest['trained']['command']}`.",
    ]
    return "\n".join(lines) + "\n"


def _learned(manifest: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            m,
            f"{w:.2f}",
            f"{manifest['thresholds']['in_scope'][m]:.2f}",
            f"{manifest['in_scope'][m]['usable']:.3f}" if m in manifest["in_scope"] else "–",
            manifest["bundles"].get(m, {}).get("reference", "–"),
        )
        for m, w in manifest["weights"].items()
    ]
    return table(("modality", "weight", "in-scope minimum", "usable in validation", "learned with"), rows)


def measured(metrics: Mapping[str, Any]) -> list[str]:
    """Every table of the results, as lines of Markdown."""
    return [
        "Each method on the same patients, over the lineages that all of a combination's modalities see. Best alone:",
        "the single modality, as its own bundle says it, that is best on these patients. 95 % intervals by bootstrap",
        "over people.",
        "",
        *_methods(metrics),
        "",
        "Each modality alone, on the patients of each combination of several:",
        "",
        *_alone(metrics),
        "",
        "Sets, answers and the APL alert. A set is the conformal one; where nothing fits, the best there is is shown,",
        "and what is shown covers no less.",
        "",
        *_answered(metrics),
        "",
        *_overall(metrics[ALL]),
        "",
        "Results of two people mixed up (a finding of another lineage), noticed as a contradiction:",
        "",
        *_mixed(metrics["virtual patients: results of two people mixed up"]),
        "",
        "Next best test: bits that it was expected to give, and gave.",
        "",
        *_next(metrics["next test: bits expected and found"]),
    ]


def _figure(of: Mapping[str, Any] | None) -> str:
    return interval_text(of) if of else "–"


def _methods(metrics: Mapping[str, Any]) -> list[str]:
    said = combinations(metrics) | (
        {"real pairs, subtype": metrics[REAL], "real pairs, lineage": metrics[REAL]["lineage"]}
        if REAL in metrics
        else {}
    )
    head = (
        "patients",
        "n",
        "accuracy",
        "log-loss",
        "Brier",
        "ECE",
        "stacking: log-loss",
        "evidence: log-loss",
        "log-loss against best alone",
        "accuracy against best alone",
    )
    return table(head, [_method(name, one, metrics) for name, one in said.items()])


def _method(name: str, one: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Any]:
    against = one.get("against_best")
    both = (
        [f"{a['modality']} {_signed(a)}" for a in (against["log_loss"], against["accuracy"])] if against else ["–", "–"]
    )
    figures = [_figure(one["figures"][key]) for key in ("accuracy", "log_loss", "brier", "ece")]
    others = [f"{one['methods'][m]['log_loss']['value']:.3f}" for m in ("stacking", "evidence")]
    return [name, one.get("n", metrics.get(REAL, {}).get("n", "–")), *figures, *others, *both]


def _signed(of: Mapping[str, float]) -> str:
    return f"{of['value']:+.3f} ({of['low']:+.3f} to {of['high']:+.3f})"


def _alone(metrics: Mapping[str, Any]) -> list[str]:
    said = combinations(metrics) | ({"real pairs, subtype": metrics[REAL]} if REAL in metrics else {})
    rows = [
        [name, m, *(_figure(figures[key]) for key in ("accuracy", "log_loss", "brier", "ece"))]
        for name, one in said.items()
        for m, figures in one["alone"].items()
    ]
    return table(("patients", "modality alone", "accuracy", "log-loss", "Brier", "ECE"), rows)


def _answered(metrics: Mapping[str, Any]) -> list[str]:
    head = (
        *("patients", "90 % set covers", "nodes", "nothing fits", "95 % set covers", "nodes"),
        *("abstained", "right when assessed", "APL: alert", "others: alert"),
    )
    return table(head, [_answer(name, one["fusion"]) for name, one in combinations(metrics).items()])


def _answer(name: str, said: Mapping[str, Any]) -> list[Any]:
    row: list[Any] = [name]
    for promise, sets in said["sets"].items():
        row += [_figure(sets.get("covers")), sets.get("nodes", "–")]
        row += [_figure(sets.get("nothing_fits"))] if promise == "90%" else []
    return [
        *row,
        *(
            _figure(said.get(key))
            for key in ("abstained", "right_when_assessed", "apl_alert_in_apl", "apl_alert_in_others")
        ),
    ]


def _overall(said: Mapping[str, Any]) -> list[str]:
    apl, others = said["apl_alert_in_apl"], said["apl_alert_in_others"]
    sets = "; ".join(
        f"{promise} set covers {of['covers']['value']:.3f} (as shown {of['as_shown']['value']:.3f})"
        for promise, of in said["sets"].items()
    )
    return [
        f"Over all combinations alike (n = {said['n']}): {sets}.",
        f"APL alert in {apl['value']:.3f} of those with APL (n = {apl['n']}), {others['value']:.3f} of the others.",
        f"Area under the risk–coverage curve: {said['risk_coverage']['area']:.4f}.",
    ]


def _mixed(said: Mapping[str, Any]) -> list[str]:
    rows = [[key, _figure(one["contradiction"]), _figure(one["usual"])] for key, one in said.items()]
    return table(("combination", "mixed up", "of one person"), rows)


def _next(said: Mapping[str, Any]) -> list[str]:
    return table(
        ("present → then", "expected", "found"), [[key, one["expected"], one["found"]] for key, one in said.items()]
    )


def pictures(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """File name → PNG."""
    metrics = manifest["metrics"]
    return {
        "log_loss.png": _losses(metrics, manifest["method"]),
        "risk_coverage.png": _risk(metrics[ALL]["risk_coverage"]),
        "set_coverage.png": _coverage(metrics),
        "apl_alert.png": _apl(metrics),
    }


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def _losses(metrics: Mapping[str, Any], method: str) -> bytes:
    said = {name: one for name, one in combinations(metrics).items() if len(one["alone"]) > 1}
    if REAL in metrics:
        said |= {"real pairs, subtype": metrics[REAL]}
    figure = Figure(figsize=(7.5, 0.6 + 0.42 * len(said)), layout="constrained")
    axes = figure.subplots()
    for row, one in enumerate(said.values()):
        for k, (m, figures) in enumerate(sorted(one["alone"].items())):
            axes.plot(figures["log_loss"]["value"], row, "o", color=f"C{k + 2}", label=None, markersize=5)
            axes.annotate(m, (figures["log_loss"]["value"], row), fontsize=6, xytext=(3, 4), textcoords="offset points")
        for name, mark in (("evidence", "|"), ("stacking", "x")):
            axes.plot(one["methods"][name]["log_loss"]["value"], row, mark, color="black", markersize=9)
    axes.plot(
        [], [], "|", color="black", markersize=9, label="fusion by evidence" + " (active)" * (method == "evidence")
    )
    axes.plot([], [], "x", color="black", label="stacked ensemble" + " (active)" * (method == "stacking"))
    axes.plot([], [], "o", color="C2", label="one modality alone")
    axes.set_yticks(range(len(said)), list(said), fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="held-out log-loss (less is better)", xscale="symlog")
    axes.legend(fontsize=7)
    return _png(figure)


def _risk(said: Mapping[str, Any]) -> bytes:
    figure = Figure(figsize=(4.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(said["coverage"], said["risk"], ".-")
    axes.set(xlabel="share answered, surest first", ylabel="share wrong", xlim=(0, 1), ylim=(0, None))
    axes.grid(visible=True, linewidth=0.4)
    return _png(figure)


def _coverage(metrics: Mapping[str, Any]) -> bytes:
    said = {name: one["fusion"]["sets"] for name, one in combinations(metrics).items()}
    figure = Figure(figsize=(6.5, 0.6 + 0.36 * len(said)), layout="constrained")
    axes = figure.subplots()
    for k, promise in enumerate(("90%", "95%")):
        axes.axvline(float(promise[:-1]) / 100, color=f"C{k}", linewidth=1)
        for row, sets in enumerate(said.values()):
            if covers := sets[promise].get("covers"):
                axes.plot([covers["low"], covers["high"]], [row + 0.2 * k] * 2, color=f"C{k}")
                axes.plot(covers["value"], row + 0.2 * k, "o", color=f"C{k}", markersize=4)
    axes.set_yticks(range(len(said)), list(said), fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="share of held-out patients whose set holds the truth (lines: promised)", xlim=(0.8, 1.005))
    return _png(figure)


def _apl(metrics: Mapping[str, Any]) -> bytes:
    said = {name: one["fusion"] for name, one in combinations(metrics).items() if "apl_alert_in_apl" in one["fusion"]}
    figure = Figure(figsize=(6.5, 0.8 + 0.36 * len(said)), layout="constrained")
    axes = figure.subplots()
    parts: Iterable[tuple[str, str, str]] = (
        ("apl_alert_in_apl", "C3", "with APL"),
        ("apl_alert_in_others", "C0", "others"),
    )
    for key, colour, name in parts:
        values = [one[key]["value"] if one[key] else np.nan for one in said.values()]
        axes.plot(values, range(len(said)), "o", color=colour, label=name)
    axes.axvline(0.99, color="grey", linewidth=0.6)
    axes.set_yticks(range(len(said)), list(said), fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="share with an APL alert", xlim=(-0.02, 1.02))
    axes.legend(fontsize=7)
    return _png(figure)
