"""The demo's images in both styles, side by side, and what the shipped bundles say of them: python -m bench.demo_images

Writes a sheet (upper row of each kind drawn, lower row with GAN cells) and prints, for each kind and style, how much in
scope the images are and what they are taken for.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ml import synthetic
from ml.bundle import find_bundle, load_bundle
from ml.cards import table
from ml.smear import load_model, read_images

STYLES = ("drawn", "gan")
CELLS = ("Blast", "APL promyelocyte", "Promyelocyte", "Monocyte", "Lymphocyte", "Segmented neutrophil", "Erythroblast")
BUNDLES = {"smear-cell": (CELLS, synthetic.draw_cell), "smear-field": (tuple(synthetic.FIELDS), synthetic.draw_field)}
SHOWN, SIDE = 6, 160


def row(pictures: list[Any]) -> Any:
    small = [np.asarray(Image.fromarray(picture).resize((SIDE, SIDE))) for picture in pictures[:SHOWN]]
    return np.concatenate(small, axis=1)


def said(pictures: list[Any], model: Any) -> list[str]:
    """Median in-scope score, usable images, and the most frequent answers."""
    readings = read_images([(str(k), picture) for k, picture in enumerate(pictures)], model)
    answers = Counter(reading.label or "no answer" for reading in readings).most_common(3)
    return [
        f"{np.median([reading.in_scope for reading in readings]):.2f}",
        f"{sum(reading.usable for reading in readings)} of {len(readings)}",
        ", ".join(f"{label} {n}" for label, n in answers),
    ]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.demo_images", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo_images.png"))
    parser.add_argument("--n", type=int, default=12, help="images of each kind and style")
    asked = parser.parse_args(words)
    rows, lines = [], []
    for name, (kinds, draw) in BUNDLES.items():
        model = load_model(load_bundle(find_bundle(name)))
        for kind in kinds:
            for style in STYLES:
                pictures = [draw(kind, seed, style=style) for seed in range(asked.n)]
                rows.append(row(pictures))
                lines.append([name, kind, style, *said(pictures, model)])
    Image.fromarray(np.concatenate(rows)).save(asked.out)
    print("\n".join(table(("bundle", "kind", "style", "median in scope", "usable", "taken for"), lines)))


if __name__ == "__main__":
    main()
