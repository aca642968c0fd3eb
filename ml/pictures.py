"""Pictures of a result, as PNG bytes: confusion, learning curves, reliability. Small, and drawn without a screen."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

DPI = 80
BINS = 10


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def confusion_png(matrix: npt.ArrayLike, labels: Sequence[str], title: str = "") -> bytes:
    """``matrix`` (k, k) of counts, rows are the truth; each cell is shaded by its share of the row."""
    counts = np.asarray(matrix)
    size = 2.2 + 0.55 * len(labels)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        shade = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set(xlabel="answer", ylabel="truth", title=title)
    return _png(figure)


def curves_png(histories: Mapping[str, Sequence[Mapping[str, Any]]], title: str = "") -> bytes:
    """Accuracy and loss by epoch, for each fold; rows have ``epoch``, ``train_loss``, ``train_accuracy``,
    ``validation_loss`` and ``validation_accuracy``. Solid lines are training, dashed ones validation.
    """
    figure = Figure(figsize=(7, 3), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for k, (fold, rows) in enumerate(histories.items()):
            for part, line in (("train", "-"), ("validation", "--")):
                values = [row[f"{part}_{what}"] for row in rows]
                label = f"fold {fold}, {part}"
                axes.plot([row["epoch"] for row in rows], values, line, marker=".", color=f"C{k}", label=label)
        axes.set(xlabel="epoch", ylabel=what)
    axes.legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    return _png(figure)


def reliability_png(p: npt.NDArray[np.float64], y: npt.NDArray[np.int64], title: str = "") -> bytes:
    """How often the top answer is right against how sure it is. ``p`` (n, k) probabilities, ``y`` (n,) truth.

    Below: how many answers are that sure.
    """
    sure, right = p.max(axis=1), p.argmax(axis=1) == y
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    used = np.unique(bins)
    figure = Figure(figsize=(3.6, 4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="grey", linewidth=1)
    upper.plot([sure[bins == b].mean() for b in used], [right[bins == b].mean() for b in used], "o-")
    upper.set(ylabel="share right", xlim=(0, 1), ylim=(0, 1), title=title)
    lower.hist(sure, bins=BINS, range=(0, 1))
    lower.set(xlabel="stated probability", ylabel="n")
    return _png(figure)


def coverage_png(
    answers: Mapping[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]], title: str = ""
) -> bytes:
    """Share right among the surest answers against their share of all; ``answers``: name → (p (n, k), y (n,))."""
    figure = Figure(figsize=(4.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, (p, y) in answers.items():
        right = (p.argmax(axis=1) == y)[np.argsort(-p.max(axis=1), kind="stable")]
        answered = np.arange(1, len(y) + 1)
        axes.plot(answered / len(y), np.cumsum(right) / answered, label=name)
    axes.set(xlabel="share answered, surest first", ylabel="share right", xlim=(0, 1), ylim=(0.4, 1.01), title=title)
    axes.grid(visible=True, linewidth=0.4)
    axes.legend(fontsize=8)
    return _png(figure)
