"""Public image sets as their owners publish them, but drawn and tiny: one function a layout, in DRAWN."""

from __future__ import annotations

import csv

import numpy as np
from PIL import Image

CLASSES = ("Benign", "Early", "Pre", "Pro")
PRELIM = "C-NMC_test_prelim_phase_data"
SIDE = 64


def draw(*paths):
    """Small pictures, each of another colour."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.frombuffer(str(path).encode()[-12:], np.uint8).reshape(4, 3)
        Image.fromarray(np.resize(colour, (SIDE, SIDE, 3))).save(path, format="BMP")  # content decides, not the name


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding)


def four_class(folder, n=3):
    draw(*(folder / name / f"WBC-{name}-{k}.jpg" for name in CLASSES for k in range(1, n + 1)))


def c_nmc(folder):
    training = folder / "C-NMC_training_data"
    for fold in range(3):
        for k in (1, 2):
            draw(training / f"fold_{fold}" / "all" / f"UID_{fold + 1}_{k}_1_all.bmp")
            draw(training / f"fold_{fold}" / "hem" / f"UID_H{fold + 1}_{k}_1_hem.bmp")
    draw(*(folder / PRELIM / f"{k}.bmp" for k in (1, 2)))
    prelim_table(folder / PRELIM, ["UID_57_29_1_all.bmp", "1.bmp", 1], ["UID_H49_35_1_hem.bmp", "2.bmp", 0])


def prelim_table(folder, *rows):
    table(folder / f"{PRELIM}_labels.csv", ["Patient_ID", "new_names", "labels"], *rows)


def table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


def all_idb1(folder):
    draw(*(folder / "im" / f"Im00{k}_{k % 2}.jpg" for k in (1, 2, 3)))
    write(folder / "xyc" / "Im001_1.xyc", "10 20\n30\t40\n\n")
    write(folder / "xyc" / "Im002_0.xyc", "")
    write(folder / "xyc" / "Im003_1.xyc", "64 0\n")


def all_idb2(folder):
    draw(*(folder / "img" / f"Im00{k}_{k % 2}.tif" for k in (1, 2, 3)))


CELL_HEADER = ["file", "patient", "diagnosis", "cell_class"]
CELL_ROWS = [["images/a.jpg", "P1", "AML", "Monocyte"], ["images/b.jpg", "P2", "APL", "Blast"]]


def cells(folder):
    draw(*(folder / "images" / f"{name}.jpg" for name in "abz"))
    table(folder / "cells.csv", CELL_HEADER, *CELL_ROWS)


def voc(*objects, size=(SIDE, SIDE)):
    said = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in objects
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{said}</annotation>"


def bccd(folder):
    draw(*(folder / "JPEGImages" / f"B{k}.jpg" for k in (1, 2, 3)))
    write(folder / "Annotations" / "B1.xml", voc(("WBC", 5, 6, 20, 30), ("RBC", -4, 50, 90, 80)))
    write(folder / "Annotations" / "B2.xml", voc(("Platelets", 9, 9, 9, 9), ("RBC", 70, 1, 80, 9)))
    write(folder / "Annotations" / "B3.xml", voc())


DRAWN = {
    "four-class-all": four_class,
    "c-nmc": c_nmc,
    "all-idb1": all_idb1,
    "all-idb2": all_idb2,
    "cells": cells,
    "bccd": bccd,
}
