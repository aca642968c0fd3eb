"""The shipped smear bundles on drawn smears, photographs and nonsense."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ml import quality, smear_cell, smear_field, synthetic
from ml.bundle import find_bundle, load_bundle
from ml.diagnosis_tree import load_tree
from ml.findings import Finding, InputRejected
from ml.scope_checks import photographs
from ml.smear import load_model, measured, prepare, read_images
from ml.stain import normalise
from tests.drawn_smears import REDS, smear

FIELD, CELL = (load_bundle(find_bundle(name)) for name in ("smear-field", "smear-cell"))
FIELDS = [(kind, synthetic.draw_field(kind, 4)) for kind in synthetic.FIELDS]
CELLS = [(f"{kind} {seed}", synthetic.draw_cell(kind, seed)) for kind in ("Blast", "Lymphocyte") for seed in range(3)]
BLANK = np.full((224, 224, 3), 245, dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "bundle", "predict"), [(FIELDS, FIELD, smear_field.predict), (CELLS, CELL, smear_cell.predict)]
)
def test_a_finding_is_whole(images, bundle, predict):
    finding = predict(images, bundle)
    assert sum(finding.probabilities.values()) == pytest.approx(1)
    assert all(0 <= p <= 1 for p in finding.probabilities.values())
    assert 0 <= finding.in_scope <= 1
    assert set(finding.leaves) == set(finding.probabilities) == set(finding.training_share)
    assert {leaf for leaves in finding.leaves.values() for leaf in leaves} <= set(load_tree().leaves)
    assert sum(finding.training_share.values()) == pytest.approx(1)
    assert finding.bundle_sha256 == bundle.sha256
    assert Finding.from_dict(finding.as_dict()) == finding


def test_labels_mean_what_the_tree_says():
    b_all = set(load_tree().leaves_under("b_all"))
    assert FIELD.leaves["haematogones"] == ("haematogones",)
    assert all(set(FIELD.leaves[stage]) == b_all for stage in smear_field.MATURATION)
    assert CELL.leaves["APL"] == ("apl",)
    assert set(CELL.leaves["AML"]) == set(load_tree().leaves_under("aml")) - {"apl"}


def test_an_image_alone_says_what_it_says_among_others():
    model = load_model(FIELD)
    together = read_images(FIELDS, model)
    for (name, image), among in zip(FIELDS, together, strict=True):
        (alone,) = read_images([(name, image)], model)
        assert alone.label == among.label
        for label, p in among.probabilities.items():
            assert alone.probabilities[label] == pytest.approx(p, abs=1e-4)


def test_ten_copies_of_an_image_are_no_surer_than_the_image():
    one = smear_field.predict([("a", FIELDS[1][1])], FIELD)
    ten = smear_field.predict([(str(k), FIELDS[1][1]) for k in range(10)], FIELD)
    for label, p in one.probabilities.items():
        assert ten.probabilities[label] == pytest.approx(p, abs=1e-4)


def test_order_does_not_matter():
    there, back = smear_field.predict(FIELDS, FIELD), smear_field.predict(FIELDS[::-1], FIELD)
    for label, p in there.probabilities.items():
        assert back.probabilities[label] == pytest.approx(p, abs=1e-4)


def test_the_maturation_axis_is_relative_to_b_all():
    finding = smear_field.predict(FIELDS, FIELD)
    stages = finding.explanation["maturation"]
    assert sum(stages.values()) == pytest.approx(1)
    total = sum(finding.probabilities[stage] for stage in stages)
    for stage, share in stages.items():
        assert share == pytest.approx(finding.probabilities[stage] / total)


def test_progress_counts_to_the_end():
    calls = []
    smear_field.predict(FIELDS * 20, FIELD, progress=lambda *said: calls.append(said))
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1][:2] == (20 * len(FIELDS), 20 * len(FIELDS))
    assert len(calls) > 1


def test_a_bundle_becomes_a_network_once():
    assert load_model(FIELD) is load_model(load_bundle(FIELD.path))


@pytest.mark.parametrize(("bundle", "predict"), [(FIELD, smear_field.predict), (CELL, smear_cell.predict)])
def test_unusable_images_make_no_answer(bundle, predict):
    finding = predict([("first", BLANK), ("second", BLANK)], bundle)
    assert finding.label is None
    assert finding.in_scope == 0
    assert any(flag.blocking for flag in finding.quality)
    assert any("2 of 2 images could not be used" in reason for reason in finding.reasons)
    assert finding.probabilities == pytest.approx(bundle.training_share)


@pytest.mark.parametrize("predict", [smear_field.predict, smear_cell.predict])
def test_no_image_is_refused(predict):
    with pytest.raises(InputRejected) as caught:
        predict([], FIELD)
    assert caught.value.code == "empty"


def test_a_blank_image_does_not_dilute_the_others():
    alone = smear_field.predict([FIELDS[1]], FIELD)
    beside = smear_field.predict([FIELDS[1], ("blank", BLANK)], FIELD)
    assert beside.probabilities == pytest.approx(alone.probabilities, abs=1e-4)
    assert beside.in_scope == pytest.approx(alone.in_scope, abs=1e-4)
    assert any(reason.startswith("1 of ") for reason in beside.reasons)


@pytest.mark.parametrize("bundle", [FIELD, CELL])
def test_photographs_are_out_of_scope_and_say_so(bundle):
    readings = read_images([(str(k), image) for k, image in enumerate(photographs())], load_model(bundle))
    scores = np.array([reading.in_scope for reading in readings])
    assert (scores < 0.5).mean() > 0.95
    assert all(reading.reasons for reading in readings if reading.in_scope < 0.5)
    assert np.mean([reading.label is None for reading in readings]) > 0.8


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda image: np.full_like(image, 128), "blank"),
        (lambda image: (image * 0.1).astype(np.uint8), "dark"),
        (lambda image: image.mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8), "no_stain"),
        (lambda image: gaussian_filter(image, (9, 9, 0)), "out_of_focus"),
    ],
)
def test_each_fault_is_named(spoil, code):
    limits = FIELD.manifest["thresholds"]["quality"]
    for _, image in FIELDS:
        assert code not in {flag.code for flag in quality.judge(quality.measure(image), limits)}
        assert code in {flag.code for flag in quality.judge(quality.measure(spoil(image)), limits)}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda image: np.tile(image, (5, 5, 1)), "magnified_too_little"),
        (lambda image: image[60:164, 60:164], "magnified_too_much"),
    ],
)
def test_the_magnification_of_a_field_is_guessed(change, code):
    limits = FIELD.manifest["thresholds"]["quality"]
    for _, image in FIELDS[1:2]:
        usual, changed = (quality.judge(measured(picture, "field")[0], limits) for picture in (image, change(image)))
        assert code not in {flag.code for flag in usual}
        assert code in {flag.code for flag in changed}


def test_a_field_without_white_cells_is_not_used():
    limits = FIELD.manifest["thresholds"]["quality"]
    measures, found = measured(smear((384, 448), REDS), "field")
    assert not found.cells
    assert "no_white_cells" in {flag.code for flag in quality.judge(measures, limits) if flag.blocking}


def test_lamp_and_depth_of_stain_are_normalised_away():
    image = FIELDS[1][1]
    density = -np.log(np.maximum(image, 1) / 255)
    other = np.round(255 * np.exp(-1.4 * density) * np.array([0.9, 0.85, 0.7])).astype(np.uint8)
    before = np.abs(other.astype(int) - image).mean()
    after = np.abs(normalise(other).astype(int) - normalise(image)).mean()
    assert after < 0.35 * before


def test_the_scale_bar_cannot_be_seen():
    image = FIELDS[2][1].copy()
    marked = image.copy()
    marked[200:215, 200:220] = 0
    preprocessing = FIELD.manifest["preprocessing"]
    seen = [prepare(picture, preprocessing)[0].astype(int) for picture in (marked, image)]
    assert np.abs(seen[0] - seen[1]).mean() < 0.5


def test_the_differential_counts_every_usable_cell():
    said = smear_cell.predict(CELLS, CELL).explanation
    usable = [cell for cell in said["cells"] if cell["label"]]
    assert sum(said["differential"].values()) == len(usable)
    assert sum(cell["attention"] for cell in said["cells"]) == pytest.approx(1 if usable else 0)
    share = said["blast_share"]
    assert share["low"] <= share["share"] <= share["high"]
    assert share["share"] == pytest.approx(share["blasts"] / share["counted"])


def test_few_cells_are_said_to_be_few():
    assert any("Only" in reason for reason in smear_cell.predict(CELLS, CELL).reasons)


def test_attention_rests_on_blasts_that_are_in_scope():
    weights = smear_cell.attention(np.array([0.9, 0.9, 0.0]), np.array([1.0, 0.1, 1.0]))
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > weights[2] > 0
    assert weights[0] == pytest.approx(10 * weights[1])
