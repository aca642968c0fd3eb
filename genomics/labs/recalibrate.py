"""``python -m genomics recalibrate labs``: what a few dozen labelled cases of one site change, and whether it helps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import KFold

from genomics.batch import answer_file
from genomics.evaluation import read_truths
from genomics.labs.features import CLASSES
from genomics.labs.site import NAME, UNCHANGED, VERSION, Site, learn
from ml.bundle import Bundle, seal_bundle
from ml.calibration import interval_text, log_loss, metrics_report
from ml.findings import InputRejected
from ml.pictures import reliability_png

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

LEAST_CASES = 20
FOLDS, SEED, ROUNDS = 10, 0, 1000
SHOWN = ("accuracy", "log_loss", "brier", "ece")


@dataclass(frozen=True)
class Cases:
    """Local cases: probabilities (n, 3) of the shipped model, classes (n,), and how many could not be used, and why."""

    p: Array
    y: Rows
    left_out: dict[str, int]


@dataclass(frozen=True)
class Effect:
    """Before and after on cases that the recalibration has not seen (ten folds of them)."""

    before: Array
    after: Array
    y: Rows
    gain: tuple[float, float, float]

    @property
    def helps(self) -> bool:
        return self.gain[0] > 0


def recalibrate(bundle: Bundle, data: Path, out: Path, *, picked: bool = False) -> Bundle:
    """Learn from the labelled panels of ``data`` and write the recalibration and its pictures to ``out``.

    ``picked``: the cases were chosen, so that their class shares say nothing of the site. Where cross-validation does
    not show a gain, what is written changes nothing, and says so. InputRejected (too_few_cases, one_class, not_empty,
    and what the reader refuses).
    """
    if out.is_dir() and any(out.iterdir()):
        raise InputRejected(
            "not_empty", place=str(out), problem="This folder holds files.", remedy="Name a new or empty folder."
        )
    cases = read_cases(bundle, data)
    effect = cross_validate(cases, picked=picked)
    site = learn(cases.p, cases.y, picked=picked) if effect.helps else UNCHANGED
    out.mkdir(parents=True, exist_ok=True)
    (out / "before.png").write_bytes(reliability_png(effect.before, effect.y, "before"))
    (out / "after.png").write_bytes(reliability_png(effect.after, effect.y, "after, cross-validated"))
    manifest = _manifest(bundle, site, cases, effect, picked=picked)
    (out / "card.md").write_text(card(manifest), "utf-8")
    return seal_bundle(out, manifest)


def read_cases(bundle: Bundle, data: Path) -> Cases:
    """The panels of ``data`` that have a label, can be read and are in scope."""
    truths = read_truths(data, bundle)
    answered = answer_file(bundle, data, {})
    known = [(truths[n].label, f) for n, f in answered.findings if n in truths and truths[n].label]
    used = [(label, f) for label, f in known if f.label is not None]
    left_out = {
        "refused": len(answered.refused),
        "unlabelled": len(answered.findings) - len(known),
        "out_of_scope": len(known) - len(used),
    }
    _check_enough(used, left_out, data)
    p = np.array([[f.probabilities[name] for name in CLASSES] for _, f in used])
    return Cases(p, np.array([CLASSES.index(label) for label, _ in used], dtype=np.int64), left_out)


def _check_enough(used: list[tuple[str, Any]], left_out: dict[str, int], data: Path) -> None:
    if len(used) < LEAST_CASES:
        raise InputRejected(
            "too_few_cases",
            place=data.name,
            problem=f"{len(used)} labelled cases can be used ({_left_out(left_out)}); {LEAST_CASES} are needed.",
            remedy="Add consecutive cases of this site whose diagnosis is certain.",
        )
    if len({label for label, _ in used}) < 2:
        raise InputRejected(
            "one_class",
            place=data.name,
            problem=f"All {len(used)} cases are {used[0][0]}.",
            remedy="Send consecutive cases, not those of one diagnosis.",
        )


def cross_validate(cases: Cases, *, picked: bool) -> Effect:
    """Each case, recalibrated by the others of nine of ten folds; the gain in log-loss with its 95 % interval."""
    after = np.empty_like(cases.p)
    for train, test in KFold(FOLDS, shuffle=True, random_state=SEED).split(cases.p):
        after[test] = learn(cases.p[train], cases.y[train], picked=picked).apply(cases.p[test])
    rows, rng = np.arange(len(cases.y)), np.random.default_rng(SEED)
    each = np.log(np.clip(after[rows, cases.y], 1e-15, 1)) - np.log(np.clip(cases.p[rows, cases.y], 1e-15, 1))
    drawn = [float(each[rng.integers(0, len(each), len(each))].mean()) for _ in range(ROUNDS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    gain = log_loss(cases.p, cases.y) - log_loss(after, cases.y)
    return Effect(cases.p, after, cases.y, (gain, float(low), float(high)))


def _manifest(bundle: Bundle, site: Site, cases: Cases, effect: Effect, *, picked: bool) -> dict[str, Any]:
    count = np.bincount(cases.y, minlength=len(CLASSES)).tolist()
    reports = {
        "before": metrics_report(effect.before, effect.y, CLASSES),
        "after": metrics_report(effect.after, effect.y, CLASSES),
    }
    return {
        "name": NAME,
        "version": VERSION,
        "modality": "labs",
        "recalibrates": {"reference": bundle.reference, "sha256": bundle.sha256},
        "adopted": effect.helps,
        "calibration": {
            "temperature": site.temperature,
            "bias": dict(zip(CLASSES, site.bias, strict=True)),
            "prior": site.shares(),
        },
        "cases": {"n": len(cases.y), "by_class": dict(zip(CLASSES, count, strict=True)), **asdict(cases)["left_out"]},
        "picked": picked,
        "gain_in_log_loss": dict(zip(("value", "low", "high"), effect.gain, strict=True)),
        "metrics": {f"{name}, cross-validated": said for name, said in reports.items()},
        "licence": bundle.manifest["licence"],
        "intended_use": f"Recalibrates {bundle.reference} for the one site that it was learned at.",
        "limits": [
            "Learned from few cases: look at the interval of the gain, and make it again when more are known.",
            "The shares of the classes are those of the cases: they must have been consecutive, or marked as picked.",
        ],
    }


def _left_out(said: dict[str, Any]) -> str:
    return ", ".join(f"{said[key]} {key.replace('_', ' ')}" for key in ("refused", "unlabelled", "out_of_scope"))


def card(manifest: dict[str, Any]) -> str:
    """What the recalibration says, for people."""
    learned, cases, gain = manifest["calibration"], manifest["cases"], manifest["gain_in_log_loss"]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in learned["prior"].items())
    bias = ", ".join(f"{name} {value:+.2f}" for name, value in learned["bias"].items())
    by_class = ", ".join(f"{n} {name}" for name, n in cases["by_class"].items())
    verdict = "adopted" if manifest["adopted"] else "not adopted: it did not help, so nothing is changed"
    lines = [
        f"# {manifest['name']} for {manifest['recalibrates']['reference']}",
        "",
        f"**For {manifest['licence']}.** {manifest['intended_use']} **{verdict.capitalize()}.**",
        "",
        f"- {cases['n']} cases ({by_class}); left out: {_left_out(cases)}.",
        f"- Temperature {learned['temperature']:.2f}; bias in nats: {bias}; prior: {shares}.",
        f"- Gain in log-loss, cross-validated: {gain['value']:.3f} ({gain['low']:.3f} to {gain['high']:.3f}).",
        "",
        "| | " + " | ".join(SHOWN) + " |",
        "|---|" + "---|" * len(SHOWN),
    ]
    for name, said in manifest["metrics"].items():
        figures = [said["figures"][key] for key in SHOWN]
        lines.append(f"| {name} | " + " | ".join(map(interval_text, figures)) + " |")
    lines += ["", "Reliability: before.png and after.png.", "", *(f"- {limit}" for limit in manifest["limits"])]
    return "\n".join(lines) + "\n"
