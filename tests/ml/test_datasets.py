"""Public image sets: every layout as it is published, every way in which a folder can be another, and the splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml.datasets import (
    BLOCK,
    FIELD_LABELS,
    LAYOUTS,
    Box,
    describe,
    grouped_folds,
    load,
)
from ml.datasets.folders import natural
from ml.findings import InputRejected
from ml.smear_data import load_cells, load_fields
from tests.drawn_datasets import (
    CELL_HEADER,
    CELL_ROWS,
    CLASSES,
    DRAWN,
    PRELIM,
    all_idb1,
    all_idb2,
    bccd,
    c_nmc,
    cells,
    draw,
    four_class,
    prelim_table,
    table,
    voc,
    write,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the training images are not on this machine")


@pytest.mark.parametrize("layout", DRAWN)
def test_every_layout_gives_whole_columns(tmp_path, layout):
    DRAWN[layout](tmp_path)
    draw(tmp_path / "unasked.jpg")
    images = load(layout, tmp_path)
    n = len(images.paths)
    assert images.layout == layout
    assert all(path.is_file() and path.name != "unasked.jpg" for path in images.paths)
    assert len(images.y) == len(images.groups) == len(images.part) == n > 1
    assert (images.y.dtype, images.groups.dtype.kind) == (np.int64, "U")
    said = describe(images)
    assert sum(said["classes"].values()) == said["n"] == n
    assert (list(said["classes"]), said["group_kind"]) == (list(images.labels), images.group_kind)


def test_fields_are_in_the_order_of_their_numbers_and_grouped_by_neighbours(tmp_path):
    four_class(tmp_path, BLOCK + 2)
    draw(tmp_path / "Pre" / "WBC-Pre-0.PNG")
    for stray in ("Thumbs.db", ".DS_Store", "._WBC-Pre-1.jpg", "notes.txt"):
        write(tmp_path / "Pre" / stray, "no image")
    images = load("four-class-all", tmp_path)
    assert images.labels == FIELD_LABELS
    pre = images.y == 2
    assert [p.stem for p, there in zip(images.paths, pre, strict=True) if there] == [
        f"WBC-Pre-{k}" for k in range(BLOCK + 3)
    ]
    assert np.unique(images.groups[pre], return_counts=True)[1].tolist() == [BLOCK, 3]
    assert len(np.unique(images.groups)) == 8
    assert images.part[pre] == pytest.approx(np.arange(BLOCK + 3) / (BLOCK + 3))
    assert images.notes == ("Passed over in Pre/, as no image: notes.txt.",)


@pytest.mark.parametrize("segmented", [False, True])
def test_original_or_segmented_is_chosen(tmp_path, segmented):
    four_class(tmp_path / "Original")
    four_class(tmp_path / "Segmented", 2)
    images = load("four-class-all", tmp_path, segmented=segmented)
    assert len(images.y) == (8 if segmented else 12)
    assert ("segmented" in images.name) == segmented
    assert len(load("four-class-all", tmp_path / "Segmented").y) == 8


def test_a_class_without_images_and_images_that_are_there_twice_are_noted(tmp_path):
    four_class(tmp_path)
    for path in (tmp_path / "Pro").iterdir():
        path.unlink()
    (tmp_path / "Pre" / "WBC-Pre-9.jpg").write_bytes((tmp_path / "Pre" / "WBC-Pre-1.jpg").read_bytes())
    images = load("four-class-all", tmp_path)
    assert describe(images)["classes"]["Pro-B"] == 0
    assert images.notes[0] == "There is no image of Pro-B."
    assert "Same bytes as an earlier image (1): WBC-Pre-9.jpg." in images.notes


def test_class_folders_of_the_other_publication(tmp_path):
    draw(*(tmp_path / name / "1.jpg" for name in ("Benign", "[Malignant] early Pre-B", "[Malignant] Pre-B", "PRO")))
    assert load("four-class-all", tmp_path).y.tolist() == [0, 1, 2, 3]


def test_c_nmc_whole_one_folder_or_one_fold(tmp_path):
    c_nmc(tmp_path)
    images = load("c-nmc", tmp_path)
    assert describe(images)["classes"] == {"normal": 7, "ALL": 7}
    assert set(images.groups) == {"1", "2", "3", "H1", "H2", "H3", "57", "H49"}
    assert np.unique(images.subset, return_counts=True)[1].tolist() == [4, 4, 4, 2]
    assert set(images.subset[images.groups == "H49"]) == {"prelim"}
    assert all(("all" in path.name) == y for path, y in zip(images.paths[:12], images.y, strict=False))
    training = tmp_path / "C-NMC_training_data"
    assert [len(load("c-nmc", f).y) for f in (training, training / "fold_1", tmp_path / PRELIM)] == [12, 4, 2]
    assert set(load("c-nmc", training / "fold_1").subset) == {"fold_1"}


@pytest.mark.parametrize("inner", [PRELIM, "."])
def test_c_nmc_as_it_is_mirrored(tmp_path, inner):
    for name in ("all", "hem"):
        draw(tmp_path / "training_data" / "fold_0" / name / f"UID_{'H' * (name == 'hem')}3_1_1_{name}.bmp")
    draw(*(tmp_path / "validation_data" / inner / f"{k}.bmp" for k in (1, 2)))
    prelim_table(tmp_path / "validation_data", ["UID_57_29_1_all.bmp", "1.bmp", 1])
    images = load("c-nmc", tmp_path)
    assert images.subset.tolist() == ["fold_0", "fold_0", "prelim"]
    assert any("does not list: 1" in note for note in images.notes)


def test_all_idb_points_labels_and_twins(tmp_path):
    all_idb1(tmp_path)
    (tmp_path / "im" / "Im108_0.jpg").write_bytes((tmp_path / "im" / "Im002_0.jpg").read_bytes())
    images = load("all-idb1", tmp_path)
    assert images.y.tolist() == [1, 0, 1, 0]
    assert images.points == (((10, 20), (30, 40)), (), ((64, 0),), ())
    assert images.groups.tolist() == ["Im001_1", "Im002_0", "Im003_1", "Im002_0"]
    all_idb2(tmp_path)
    assert load("all-idb2", tmp_path).y.tolist() == [1, 0, 1]


def test_cells_of_the_table_only(tmp_path):
    cells(tmp_path)
    images = load("cells", tmp_path)
    assert [path.name for path in images.paths] == ["a.jpg", "b.jpg"]
    assert (images.labels, images.y.tolist()) == (("Blast", "Monocyte"), [1, 0])
    assert (images.groups.tolist(), images.diagnosis.tolist()) == (["P1", "P2"], ["AML", "APL"])


def test_boxes_are_clipped_and_empty_ones_counted(tmp_path):
    bccd(tmp_path)
    write(tmp_path / "Annotations" / "B9.xml", voc())
    images = load("bccd", tmp_path)
    assert images.boxes == ((Box("WBC", 5, 6, 20, 30), Box("RBC", 0, 50, 64, 64)), (), ())
    assert images.subset is None
    assert images.notes == ("Empty boxes dropped (2): B2.xml, B2.xml.", "Annotations without an image (1): B9.")
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "B1\nB3 1\n\n")
    write(tmp_path / "ImageSets" / "Main" / "val.txt", "B2\n")
    assert load("bccd", tmp_path).subset.tolist() == ["train", "val", "train"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("other", [*DRAWN, "nothing"])
def test_a_folder_of_another_layout_is_refused_with_what_is_there(tmp_path, layout, other):
    if layout == other:
        return
    (tmp_path / "some folder").mkdir()
    DRAWN.get(other, lambda folder: None)(tmp_path)
    with pytest.raises(InputRejected) as caught:
        load(layout, tmp_path)
    assert caught.value.code == "wrong_layout"
    assert "some folder/" in caught.value.problem
    assert LAYOUTS[layout].expects in caught.value.problem


def remove(*parts):
    return lambda folder: folder.joinpath(*parts).unlink()


def rename(source, target):
    return lambda folder: (folder / source).rename(folder / target)


def put(path, text, encoding="utf-8"):
    return lambda folder: write(folder / path, text, encoding)


def cell_rows(*rows, header=CELL_HEADER):
    return lambda folder: table(folder / "cells.csv", header, *rows)


def prelim(*row):
    return lambda folder: prelim_table(folder / PRELIM, row)


ONE, TWO = CELL_ROWS
FOLD = "C-NMC_training_data/fold_1"
BOX = ("WBC", 1, 2, 3, 4)
ENTITY = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "c">]>\n'
SPOILED = [
    ("four-class-all", rename("Early", "Erly"), "wrong_layout", "Erly/"),
    ("four-class-all", rename("Early", "Segmented"), "wrong_layout", "ask for segmented"),
    ("c-nmc", rename(f"{FOLD}/hem", f"{FOLD}/healthy"), "wrong_layout", "found: all/, healthy/"),
    ("c-nmc", rename(f"{FOLD}/all/UID_2_1_1_all.bmp", f"{FOLD}/all/cell7.bmp"), "wrong_name", "'cell7.bmp'"),
    ("c-nmc", rename(f"{FOLD}/all/UID_2_1_1_all.bmp", f"{FOLD}/hem/UID_2_1_1_all.bmp"), "contradiction", "hem/"),
    ("c-nmc", remove(PRELIM, f"{PRELIM}_labels.csv"), "wrong_layout", "found: 1.bmp, 2.bmp"),
    ("c-nmc", prelim("UID_57_29_1_all.bmp", "1.bmp", 0), "contradiction", "row 2"),
    ("c-nmc", prelim("UID_57_29_1_all.bmp", "9.bmp", 1), "missing_file", "'9.bmp'"),
    ("c-nmc", prelim("57", "1.bmp", 1), "wrong_name", "'57'"),
    ("c-nmc", prelim("UID_57_29_1_all.bmp", "../1.bmp", 1), "outside_folder", "row 2"),
    ("all-idb1", rename("im/Im001_1.jpg", "im/Im001.jpg"), "wrong_name", "'Im001.jpg'"),
    ("all-idb1", rename("xyc", "coordinates"), "wrong_layout", "coordinates/"),
    ("all-idb1", remove("xyc", "Im001_1.xyc"), "missing_annotation", "xyc/Im001_1.xyc"),
    ("all-idb1", put("xyc/Im001_1.xyc", "1 2\n3\n"), "bad_annotation", "line 2"),
    ("all-idb1", put("xyc/Im001_1.xyc", "1 2\n3 nan\n"), "bad_annotation", "line 2"),
    ("all-idb1", put("xyc/Im001_1.xyc", "1 65\n"), "bad_annotation", "64 × 64"),
    ("all-idb1", put("xyc/Im002_0.xyc", "1 2\n"), "contradiction", "labelled normal"),
    ("all-idb1", put("im/Im001_1.jpg", "text"), "unsupported_type", "Im001_1.jpg"),
    ("all-idb2", rename("img/Im001_1.tif", "img/Im001_2.tif"), "wrong_name", "'Im001_2.tif'"),
    ("all-idb2", rename("img", "images"), "wrong_layout", "images/"),
    ("cells", cell_rows(header=CELL_HEADER[:3]), "missing_column", "cell_class"),
    ("cells", cell_rows(), "no_images", "no image"),
    ("cells", cell_rows(ONE, ["images/c.jpg", *TWO[1:]]), "missing_file", "row 3"),
    ("cells", cell_rows(ONE, ["../b.jpg", *TWO[1:]]), "outside_folder", "row 3"),
    ("cells", cell_rows(["/etc/hostname", *TWO[1:]]), "outside_folder", "row 2"),
    ("cells", cell_rows(ONE, ["images/../images/a.jpg", *TWO[1:]]), "listed_twice", "row 3"),
    ("cells", cell_rows(ONE, TWO[:3]), "missing_value", "row 3"),
    ("cells", cell_rows(ONE, [TWO[0], "P1", *TWO[2:]]), "contradiction", "row 3"),
    ("cells", put("cells.csv", ",".join(CELL_HEADER), "utf-16"), "bad_table", "UTF-8"),
    ("bccd", remove("Annotations", "B2.xml"), "missing_annotation", "B2.jpg"),
    ("bccd", put("Annotations/B2.xml", "<annotation>"), "bad_annotation", "B2.xml"),
    ("bccd", put("Annotations/B2.xml", ENTITY + voc(BOX)), "bad_annotation", "DOCTYPE"),
    ("bccd", put("Annotations/B2.xml", ENTITY + voc(BOX), "utf-16"), "bad_annotation", "UTF-8"),
    ("bccd", put("Annotations/B2.xml", voc(("Cat", 1, 2, 3, 4))), "bad_annotation", "'Cat'"),
    ("bccd", put("Annotations/B2.xml", voc(("WBC", 1, "two", 3, 4))), "bad_annotation", "'two'"),
    ("bccd", put("Annotations/B2.xml", voc(("WBC", 1, "inf", 3, 4))), "bad_annotation", "'inf'"),
    ("bccd", put("Annotations/B2.xml", voc(BOX, size=(640, 480))), "contradiction", "640 × 480"),
    ("bccd", put("ImageSets/Main/val.txt", "B7\n"), "missing_file", "line 1"),
    ("bccd", put("ImageSets/Main/val.txt", "B1\nB1\n"), "contradiction", "line 2"),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "spoil", "code", "sentence"), SPOILED, ids=lambda said: str(said)[:24])
def test_what_is_wrong_is_named(tmp_path, layout, spoil, code, sentence):
    DRAWN[layout](tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputRejected) as caught:
        load(layout, tmp_path)
    assert caught.value.code == code
    assert sentence in str(caught.value)
    assert str(tmp_path) in caught.value.place


def test_empty_folders_unknown_layouts_and_missing_folders(tmp_path):
    for names in (CLASSES, ("im", "xyc", "img", "JPEGImages", "Annotations"), ("all", "hem")):
        for name in names:
            (tmp_path / name).mkdir()
    for layout in ("four-class-all", "c-nmc", "all-idb1", "all-idb2", "bccd"):
        with pytest.raises(InputRejected, match="name no image"):
            load(layout, tmp_path)
    with pytest.raises(InputRejected, match="The layouts are four-class-all, c-nmc"):
        load("imagenet", tmp_path)
    with pytest.raises(InputRejected, match="no such folder"):
        load("cells", tmp_path / "absent")


def test_a_file_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    four_class(tmp_path)
    monkeypatch.setattr(Path, "iterdir", lambda self: (_ for _ in ()).throw(PermissionError(13, "no", str(self))))
    with pytest.raises(InputRejected, match="cannot be read"):
        load("four-class-all", tmp_path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    cells(tmp_path / "set")
    draw(tmp_path / "other.jpg")
    (tmp_path / "set" / "images" / "a.jpg").unlink()
    (tmp_path / "set" / "images" / "a.jpg").symlink_to(tmp_path / "other.jpg")
    with pytest.raises(InputRejected, match="leads out"):
        load("cells", tmp_path / "set")


def test_names_sort_as_people_count():
    names = ["a10", "a9", "a09", "10", "9", "b", "A1"]
    assert sorted(map(Path, names), key=natural) == [Path(n) for n in ("9", "10", "A1", "a09", "a9", "a10", "b")]


@needs_data
def test_the_real_fields_are_as_they_were_loaded_before():
    images, known = load("four-class-all", DATA / "smear_fields"), load_fields(DATA / "smear_fields")
    assert (images.paths, images.y.tolist()) == (known.paths, known.y.tolist())
    assert (images.part == known.part).all()
    assert len(set(zip(images.groups, known.block, strict=True))) == len(set(images.groups)) == len(set(known.block))
    assert images.notes == ()  # duplicates were removed


@needs_data
def test_the_real_cells_are_as_they_were_loaded_before():
    images, known = load("cells", DATA / "smear_cells"), load_cells(DATA / "smear_cells")
    assert [str(path) for path in images.paths] == known.file.tolist()
    assert [images.labels[k] for k in images.y] == known.cell_class.tolist()
    assert images.groups.tolist() == known.patient.tolist()
    assert images.diagnosis.tolist() == known.diagnosis.tolist()
    fold = grouped_folds(images, 5, 0, strata=images.diagnosis)
    assert all(len(set(fold[images.groups == patient])) == 1 for patient in set(images.groups))


@needs_data
def test_the_real_boxes_are_read():
    images = load("bccd", DATA / "smear_fields_other_lab")
    labels = [box.label for boxes in images.boxes for box in boxes]
    assert len(images.y) == 364
    assert {label: labels.count(label) for label in set(labels)} == {"WBC": 372, "RBC": 4153, "Platelets": 361}
    assert images.notes == ("Empty boxes dropped (2): BloodImage_00338.xml, BloodImage_00343.xml.",)
