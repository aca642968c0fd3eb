"""The training commands on drawn smears: what they promise of folds, held-out predictions and sealed bundles."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.special import logit
from torchvision.models import mobilenet_v2

from ml import synthetic, train_cell, train_field, training
from ml.__main__ import main
from ml.blast_figures import BlastFigures
from ml.bundle import load_bundle
from ml.datasets import FIELD_LABELS
from ml.evaluation import evaluate
from ml.findings import InputRejected
from ml.finetune import Examples, Recipe, balanced, fit, partial_loss, total_loss
from ml.heads import Projection, fit_linear, fit_projection, fit_scope, load_arrays, save_arrays
from ml.networks import embed, folded, load_trunk
from ml.smear_cell import BLAST_OR_PROMYELOCYTE
from ml.smear_data import load_cells, load_fields
from ml.weak_cells import WeakCells

FOLDERS = {"Benign": "haematogones", "Early": "Early Pre-B", "Pre": "Pre-B", "Pro": "Pro-B"}
SHORT = {"epochs": 1, "per_epoch": 32, "batch": 16}
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A trunk that has learned nothing: the commands must work with any."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "trunk.safetensors"
    network = mobilenet_v2(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        network.features(torch.rand(32, 3, 64, 64))  # so that signals keep their range through all blocks
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    for name, kind in FOLDERS.items():
        (folder / name).mkdir()
        for seed in range(10):
            Image.fromarray(synthetic.draw_field(kind, seed)).save(folder / name / f"{seed:03d}.png")
    return folder


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("cells"), []
    kinds = {"Blast": "Blast, no lineage spec", "Promyelocyte": "Promyelocyte", "Monocyte": "Promonocyte"}
    for patient in range(12):
        for k, (kind, name) in enumerate(kinds.items()):
            file = f"p{patient}-{k}.png"
            Image.fromarray(synthetic.draw_cell(kind, 100 * patient + k)).save(folder / file)
            rows.append((file, f"P{patient}", "APL" if patient % 2 else "AML", name))
    pd.DataFrame(rows, columns=["file", "patient", "diagnosis", "cell_class"]).to_csv(folder / "cells.csv", index=False)
    return folder


def check_bundle(out, oof, modality, labels):
    bundle, held_out = load_bundle(out), pd.read_csv(oof)
    said = bundle.manifest
    assert (bundle.version, said["modality"], set(bundle.labels)) == ("2.0.0", modality, set(labels))
    assert said["trained"]["seed"] == 3
    assert said["limits"]
    assert {"figures", "confusion", "data", "split"} <= set(next(iter(said["metrics"].values())))
    assert any("colour" in name for name in said["baselines"])
    assert said["in_scope"]["checks"]["photographs, textures, other medicine"]["auroc"] is not None
    assert list(held_out.columns) == ["id", "group", "cohort", "y", "in_scope", *(f"p:{label}" for label in labels)]
    assert np.allclose(held_out.filter(like="p:").sum(axis=1), 1, atol=1e-4)
    assert said["intended_use"] in (out / "card.md").read_text("utf-8")
    assert sum(path.stat().st_size for path in out.iterdir()) < 12_000_000
    return held_out


def test_fields_are_learned_sealed_and_scored(fields, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_field, "RECIPE", replace(train_field.RECIPE, **SHORT))
    out, oof = tmp_path / "2.0.0", tmp_path / "oof.csv"
    words = ["train", "smear-field", "--data", fields, "--weights", weights, "--out", out, "--seed", 3]
    assert main([str(word) for word in [*words, "--oof", oof, "--cache", tmp_path / "cache"]]) == 0
    held_out = check_bundle(out, oof, "smear_field", FIELD_LABELS)
    assert evaluate(load_bundle(out), fields)["labels"] == list(FIELD_LABELS)
    assert (held_out.groupby("y").size() == 10).all()
    assert "# smear-field 2.0.0" in capsys.readouterr().out


def test_cells_are_learned_and_cases_pooled(cells, fields, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(train_cell, "RECIPE", replace(train_cell.RECIPE, **SHORT))
    out, oof = tmp_path / "2.0.0", tmp_path / "oof.csv"
    bundle = train_cell.train(
        cells, weights, out, 3, fields=fields, strangers=training.Strangers(fields / "Benign"), oof=oof
    )
    assert 0 < bundle.manifest["thresholds"]["blast"]["threshold"] <= 1
    assert "whole cells" in bundle.manifest["in_scope"]["notes"][0]
    assert "fields by their cells: leukaemic or not" in bundle.manifest["metrics"]
    held_out = check_bundle(out, oof, "smear_cell", train_cell.CASE_LABELS)
    assert held_out.y.value_counts().to_dict() == {"AML": 6, "APL": 6}
    assert json.loads((out / "bundle.json").read_text())["head_labels"]["image"] == [
        "Blast, no lineage spec",
        "Promonocyte",
        "Promyelocyte",
    ]


def test_grouped_folds_hold_out_neighbours_together(fields):
    loaded = load_fields(fields)
    folds = train_field.folds_of(loaded, 0)
    assert all((np.diff(folds["grouped"][loaded.y == k]) >= 0).all() for k in range(4))
    assert not all((np.diff(folds["random"][loaded.y == k]) >= 0).all() for k in range(4))
    assert all(np.bincount(fold).tolist() == [8] * 5 for fold in folds.values())


def test_a_patients_cells_are_in_one_fold(cells):
    table = load_cells(cells)
    fold = pd.Series(train_cell.patient_folds(table, 0))
    assert fold.groupby(table.patient).agg(lambda folds: len(set(folds))).eq(1).all()


@pytest.mark.parametrize(
    ("columns", "code"), [(["file", "patient", "diagnosis"], "missing_column"), (None, "missing_file")]
)
def test_a_table_of_cells_that_is_not_whole_is_refused(tmp_path, columns, code):
    if columns:
        pd.DataFrame(columns=columns).to_csv(tmp_path / "cells.csv", index=False)
    with pytest.raises(InputRejected) as caught:
        load_cells(tmp_path)
    assert caught.value.code == code


@pytest.mark.parametrize("folder", [".", "absent"])
def test_a_folder_without_classes_is_refused(tmp_path, folder):
    with pytest.raises(InputRejected) as caught:
        load_fields(tmp_path / folder)
    assert caught.value.code == "no_images"


def clouds(n=60, features=40):
    centres = RNG.normal(0, 2, (3, features))
    y = np.repeat(np.arange(3), n)
    return centres[y] + RNG.normal(size=(3 * n, features)), y


def test_the_head_survives_its_file(tmp_path):
    x, y = clouds()
    projection = fit_projection(x.astype(np.float32), 10)
    head = fit_linear(projection.apply(x[y < 2]), y[y < 2], 0.01)
    save_arrays(tmp_path / "a.safetensors", projection, None, image=head)
    kept, near, heads = load_arrays(tmp_path / "a.safetensors")
    assert near is kept
    assert np.allclose(heads["image"].logits(kept.apply(x)), head.logits(projection.apply(x)), atol=0.05)


def flat(colours, side=32):
    return np.repeat(np.repeat(np.array(colours, np.uint8)[:, None, None], side, 1), side, 2)


def two_colours():
    y = np.arange(16) % 2
    return Examples(flat(np.where(y[:, None], [200, 40, 40], [40, 40, 200])), np.eye(2, dtype=bool)[y], np.zeros(16),
                    balanced(y)), y  # fmt: skip


def test_fine_tuning_learns_what_is_plain_and_repeats_itself(weights):
    examples, y = two_colours()
    recipe = Recipe(view=None, epochs=4, per_epoch=64, batch=8)
    trunk, rows = load_trunk(weights), np.arange(12)
    learned, head = fit(trunk, examples, rows, recipe, 0)
    assert (head.logits(embed(learned, examples.pictures)).argmax(axis=1) == y).all()
    again, same = fit(trunk, examples, rows, recipe, 0)
    assert np.array_equal(head.layers[0][0], same.layers[0][0])
    assert torch.equal(learned.features[-1][0].weight, again.features[-1][0].weight)
    assert torch.equal(learned.features[0][0].weight, trunk.features[0][0].weight)  # frozen
    assert not torch.equal(learned.features[-1][0].weight, trunk.features[-1][0].weight)


def test_a_fine_tuned_fold_is_kept_for_the_next_run(weights, tmp_path, monkeypatch):
    examples, _ = two_colours()
    recipe, trunk = Recipe(view=None, epochs=1, per_epoch=16, batch=8), load_trunk(weights)
    first = training.tuned(trunk, examples, np.arange(12), recipe, 0, tmp_path)
    monkeypatch.setattr(training.finetune, "fit", None)
    kept = training.tuned(trunk, examples, np.arange(12), recipe, 0, tmp_path)
    logits = [head.logits(embed(trunk, examples.pictures)) for trunk, head in (first, kept)]
    assert np.allclose(*logits, atol=1e-4)
    with pytest.raises(TypeError):  # other rows are another fold
        training.tuned(trunk, examples, np.arange(13), recipe, 0, tmp_path)


def test_a_partial_label_asks_only_that_one_of_them_is_true():
    logits = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    allowed = torch.tensor([[True, True, False]] * 3)
    losses = [float(partial_loss(logits[k : k + 1], allowed[k : k + 1], torch.zeros(1))) for k in range(3)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert losses[0] < 0.01
    assert losses[2] > 5
    assert float(partial_loss(logits[2:], allowed[2:], torch.full((1,), 0.15))) < 2.5  # doubt bounds it


def test_folding_batch_normalisation_changes_no_answer(weights):
    torch.manual_seed(0)
    network = mobilenet_v2(weights=None)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    x = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        before, after = network.eval().features(x), folded(copy.deepcopy(network.features))(x)
    assert torch.allclose(before, after, atol=1e-4)


def test_the_linear_head_has_opposite_logits():
    x, y = clouds()
    head = fit_linear(x[y < 2], y[y < 2], 0.01)
    logits = head.logits(x[y < 2])
    assert np.allclose(logits[:, 0], -logits[:, 1])
    assert (logits.argmax(axis=1) == y[y < 2]).mean() > 0.95


def test_what_is_far_away_is_out_of_scope():
    x, _ = clouds(200)
    projection = fit_projection(x[::2].astype(np.float32), 10)
    scope = fit_scope(projection.distance(x[1::2]))
    assert np.mean(scope.score(projection.distance(x[1::2])) >= 0.949) == pytest.approx(0.9, abs=0.01)
    assert scope.score(projection.distance(x + 60)).max() < 0.01


def test_distance_counts_directions_that_the_components_leave_out():
    axes = np.eye(3)[:1]
    projection = Projection(np.zeros(3), np.ones(3), axes, np.ones(1), 0.01)
    inside, outside = projection.distance([[1, 0, 0], [0, 1, 0]])
    assert outside > inside


def test_temperatures_come_from_the_other_folds():
    logits = RNG.normal(size=(400, 2)) * 8
    y = (RNG.random(400) < 1 / (1 + np.exp(logits[:, 0] / 8 - logits[:, 1] / 8))).astype(np.int64)
    fold = np.arange(400) % 5
    p = training.calibrated(logits, y, fold)
    flipped = np.where(fold == 0, 1 - y, y)
    assert np.allclose(training.calibrated(logits, flipped, fold)[fold == 0], p[fold == 0])
    assert p.max() < 0.99


def test_the_coarser_question_and_the_case_have_their_share_of_the_loss():
    logits, of_case = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    allowed = np.eye(3, dtype=bool)[[0, 1]]
    coarse = np.array([[1, 1, 0], [1, 1, 0]], bool)
    case = np.array([[1, 0], [0, 0]], bool)  # of the second, nothing is known
    plain = Examples(np.zeros((2, 4, 4, 3), np.uint8), allowed, np.zeros(2), np.ones(2))
    rows, doubt, recipe = np.arange(2), torch.zeros(2), Recipe(view=None, of_coarse=0.5, of_case=0.3)

    def loss(examples):
        return float(total_loss(logits, of_case, examples, rows, recipe))

    base = float(partial_loss(logits, torch.tensor(allowed), doubt))
    assert loss(plain) == pytest.approx(base)
    more = 0.5 * float(partial_loss(logits, torch.tensor(coarse), doubt))
    assert loss(replace(plain, coarse=coarse)) == pytest.approx(base + more)
    known = 0.3 * 0.5 * float(partial_loss(of_case[:1], torch.tensor(case[:1]), doubt[:1]))
    assert loss(replace(plain, case=case)) == pytest.approx(base + known)


def test_a_corner_is_painted_black_and_nothing_else():
    pictures = np.full((2, 160, 160, 3), 200, np.uint8)
    black = train_field.black_corner(pictures)
    assert (black[:, -24:, -24:] == 0).all()
    assert (black[:, :-24] == 200).all()
    assert (black[:, :, :-24] == 200).all()
    assert (pictures == 200).all()


def test_one_threshold_for_both_laboratories():
    y, p = np.repeat([0, 1], 50), np.concatenate([np.full(50, 0.1), np.full(50, 0.6)])
    names, none = ("other", *BLAST_OR_PROMYELOCYTE), training_weak(np.zeros(0, bool))
    alone = BlastFigures(three(p), y, names, y, none, np.zeros((0, 3)))
    assert alone.threshold == pytest.approx(0.6)
    leukaemic = np.repeat([False, True], 50)
    q = np.where(leukaemic, 0.4, 0.2)
    both = BlastFigures(three(p), y, names, y, training_weak(leukaemic), three(q))
    assert both.threshold == pytest.approx(0.4)
    assert both.thresholds["normal_mean"] == pytest.approx(np.mean([logit(0.1), logit(0.2)]))


def three(p_blast):
    return np.column_stack([1 - p_blast, p_blast, np.zeros(len(p_blast))])


def training_weak(leukaemic):
    rows = np.arange(len(leukaemic))
    views = np.zeros((len(rows), 4, 4, 4), np.uint8)
    return WeakCells(views, rows, leukaemic, rows, rows, np.ones(len(rows)))
