"""The cards of the autoencoder and of the GAN: from what they were trained, and whether they learned it by heart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.autoencoder import load_autoencoder, reconstruction_error
from ml.gan import load_generator, sample
from ml.generative_training import RECORD

if TYPE_CHECKING:
    from pathlib import Path

    from ml.generative_training import Rgb, Squares

Floats = npt.NDArray[np.float32]

COMPARED = 400  # drawn cells, at most
SMALL = 32  # side at which cells are compared: shape and stain, not grain
GAN_CARD = """\
# GAN of single white cells

Draws single white cells, {side} × {side} pixels, on a white background: {labels}.

**Every image it draws is synthetic: of no patient, and evidence of nothing.** For demonstration, and for augmentation
where that is measured.

- Licence: research use, as its training images.
- Trained on: {images}; {settings[steps]} steps of {settings[batch]} images, seed {settings[seed]}.
- Made by: `python -m ml fit gan --layout cells --data DIR --config ml/configs/gan.toml --out DIR`
- File: half precision, {size:.1f} MB.

## Are they copies?

{likeness}
"""
AUTOENCODER_CARD = """\
# Autoencoder of smears

Remakes a square of {side} × {side} pixels from {settings[code]} numbers. Its reconstruction error is a candidate for an
in-scope score: large where an image is unlike those below.

- Licence: research use, as its training images.
- Trained on: {images}; {settings[steps]} steps of {settings[batch]} images, seed {settings[seed]}.
- File: half precision, {size:.1f} MB.

## Reconstruction error (mean squared, channels in 0–1)

{errors}
"""


def gan_card(path: Path, seen: Squares, held: Squares) -> str:
    """The card of the generator in ``path``, trained on ``seen`` and compared with ``held``."""
    generator = load_generator(path)
    share = np.bincount(seen.y, minlength=len(seen.labels)) / len(seen.y)
    drawn = [
        sample(generator, label, max(1, round(share[k] * min(COMPARED, len(seen.y)))), seed=k)
        for k, label in enumerate(seen.labels)
    ]
    likeness = _likeness(np.concatenate(drawn), seen.x, held.x)
    return GAN_CARD.format(labels=", ".join(seen.labels), likeness=likeness, **_common(path, seen))


def autoencoder_card(path: Path, seen: Squares, held: Squares) -> str:
    model = load_autoencoder(path)
    rows = [("trained on", seen.x), ("held out", held.x)]
    said = ["| images | n | median | 95th percentile |", "|---|---|---|---|"]
    for name, x in rows:
        if len(x):
            middle, high = np.percentile(reconstruction_error(model, x), [50, 95])
            said.append(f"| {name} | {len(x)} | {middle:.5f} | {high:.5f} |")
    return AUTOENCODER_CARD.format(errors="\n".join(said), **_common(path, seen))


def _common(path: Path, seen: Squares) -> dict[str, Any]:
    record = json.loads((path.parent / RECORD).read_text("utf-8"))
    images = ", ".join(f"{count} {label}" for label, count in record["images"].items())
    return {
        "images": images,
        "settings": record["settings"],
        "side": seen.x.shape[1],
        "size": path.stat().st_size / 1e6,
    }


def _likeness(drawn: Rgb, seen: Rgb, held: Rgb) -> str:
    """In words: the distance of each drawn cell to its nearest training image, beside that of real unseen cells."""
    ours = nearest(drawn, seen)
    text = (
        f"Distance to the nearest training image in any of its eight positions (root mean square of grey levels, at "
        f"{SMALL} × {SMALL}): {len(drawn)} drawn cells, median {np.median(ours):.1f}, least {ours.min():.1f}"
    )
    if not len(held):
        return f"{text}. No real cells were held out to compare with."
    real = nearest(held, seen)
    closer = (ours < np.percentile(real, 1)).mean()
    return (
        f"{text}; {len(held)} real cells of patients that were held out, median {np.median(real):.1f}, least "
        f"{real.min():.1f}. {closer:.1%} of the drawn cells lie nearer to a training image than 99 % of the held-out "
        f"real ones do. A copy would lie near 0."
    )


def nearest(images: Rgb, among: Rgb) -> Floats:
    """Distance of each of ``images`` (n, s, s, 3) to the nearest of ``among`` (m, s, s, 3), turned and mirrored in
    every way: (n,), root mean square of grey levels at SMALL × SMALL.
    """
    library = _small(among).reshape(len(among), -1)
    squares = (library**2).mean(axis=1)
    best = np.full(len(images), np.inf, np.float32)
    for mirrored in (False, True):
        for turns in range(4):
            view = np.rot90(_small(images)[:, :, :: -1 if mirrored else 1], turns, axes=(1, 2)).reshape(len(images), -1)
            cross = view @ library.T / library.shape[1]
            best = np.minimum(best, ((view**2).mean(axis=1)[:, None] + squares - 2 * cross).min(axis=1))
    return np.sqrt(np.maximum(best, 0))


def _small(images: Rgb) -> Floats:
    n, side = images.shape[:2]
    step = max(1, side // SMALL)
    return images.reshape(n, side // step, step, side // step, step, 3).mean(axis=(2, 4), dtype=np.float32)
