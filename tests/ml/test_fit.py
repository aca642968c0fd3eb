"""One training command: it repeats itself, continues exactly, keeps what it is scored on away, and says what it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from bench import papers
from ml import calibration, datasets, fit_loop, fit_report, synthetic, training
from ml.__main__ import main
from ml.findings import InputRejected
from ml.fit import FOLDS, Job, fit, folds_of
from ml.fit_config import FitConfig
from ml.fit_data import Batches, corner_of, square, units_of, validation_part
from ml.fit_loop import CHECKPOINT, rate
from ml.fit_report import macro_specificity, specificity

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = "four-class-all"
FOLDERS = {"Benign": "haematogones", "Early": "Early Pre-B", "Pre": "Pre-B", "Pro": "Pro-B"}
PER_CLASS = 80  # more than two blocks of neighbours
TINY = FitConfig(side=16, epochs=2, batch=16, learning_rate=1e-3, stain="none", hidden=8, series=3, threads=1)
RNG = np.random.default_rng(4)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Fewer draws and trees: what they converge to is not asked here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(calibration, "measure", partial(calibration.measure, rounds=10))
        patched.setattr(fit_report, "ROUNDS", 10)
        patched.setattr(training, "TREES", 10)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four classes that differ in colour, as small as can be."""
    folder = tmp_path_factory.mktemp("fields")
    for k, (name, kind) in enumerate(FOLDERS.items()):
        (folder / name).mkdir()
        drawn = synthetic.draw_field(kind, k)[:48, :48]
        for number in range(PER_CLASS):
            noisy = drawn + RNG.integers(-20, 20, drawn.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def images(data):
    return datasets.load(LAYOUT, data)


def job(images, out, network="custom_cnn", **said):
    config = said.pop("config", TINY)
    return Job(network, images, said.pop("split", "grouped"), config, out, folds=said.pop("folds", (0,)), **said)


def weights(out, fold=0):
    return load_file(out / f"fold-{fold}" / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return out, fit(job(images, out))


def test_the_same_seed_gives_the_same_weights(images, finished, tmp_path):
    fit(job(images, tmp_path / "again"))
    assert same(weights(tmp_path / "again"), weights(finished[0]))
    fit(job(images, tmp_path / "other", seed=1))
    assert not same(weights(tmp_path / "other"), weights(finished[0]))


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(images, tmp_path, monkeypatch, optimiser):
    config = TINY.but(epochs=3, optimiser=optimiser, balance="sampler")
    fit(job(images, tmp_path / "whole", config=config))
    epoch, asked = fit_loop._epoch, []

    def cut(*said):
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return epoch(*said)

    with monkeypatch.context() as patched:
        patched.setattr(fit_loop, "_epoch", cut)
        with pytest.raises(KeyboardInterrupt):
            fit(job(images, tmp_path / "cut", config=config))
    assert (tmp_path / "cut" / "fold-0" / CHECKPOINT).is_file()
    resumed = fit(job(images, tmp_path / "cut", config=config), resume=True)
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert [row["epoch"] for row in resumed["trained"]["history"]["0"]] == [1, 2, 3]
    assert not (tmp_path / "cut" / "fold-0" / CHECKPOINT).exists()


def test_another_run_is_not_continued(images, finished):
    with pytest.raises(InputRejected, match="another configuration") as caught:
        fit(job(images, finished[0], config=TINY.but(epochs=9)), resume=True)
    assert caught.value.code == "another_run"


def test_a_finished_fold_is_kept(images, finished):
    before = (finished[0] / "fold-0" / "model.safetensors").stat().st_mtime_ns
    said = fit(job(images, finished[0]), resume=True)
    assert (finished[0] / "fold-0" / "model.safetensors").stat().st_mtime_ns == before
    assert said["figures"] == finished[1]["figures"]


def test_the_report_has_every_figure_and_its_baselines(finished):
    out, said = finished
    written = json.loads((out / "metrics.json").read_text("utf-8"))
    assert {key: written[key] for key in ("figures", "baselines", "data")} == {
        key: said[key] for key in ("figures", "baselines", "data")
    }
    wanted = {"accuracy", "sensitivity_macro", "specificity_macro", "f1_macro", "auc_macro", "ece", "brier"}
    assert wanted <= set(said["figures"])
    assert all(f["low"] <= f["value"] <= f["high"] for n, f in said["figures"].items() if n == "accuracy")
    assert set(said["baselines"]) == {"colour alone", "corner alone", "majority"}
    assert {report["n"] for report in said["baselines"].values()} == {said["n"]}
    assert said["baselines"]["colour alone"]["figures"]["accuracy"]["value"] > 0.9  # it is drawn so
    assert said["trained"]["weights"] == "from scratch"
    assert said["uncalibrated"]["ece"] >= 0
    for name in ("confusion.png", "curves.png", "reliability.png"):
        with Image.open(out / name) as picture:
            assert picture.format == "PNG"
        assert (out / name).stat().st_size < 40_000


@pytest.mark.parametrize("network", ["cnn_lstm", "mobilenet_v2"])
@pytest.mark.parametrize("split", ["random", "70-30"])
def test_other_networks_and_splits(images, tmp_path, network, split):
    config = TINY.but(epochs=1, side=32)
    said = fit(job(images, tmp_path, network, split=split, config=config))
    held = folds_of(job(images, tmp_path, split=split))[0][1]
    assert said["n"] == len(held)  # series, too, are scored by image
    assert ("series" in said["note"]) == (network == "cnn_lstm")


def test_no_group_is_on_both_sides(images):
    for k, (learn, held) in folds_of(job(images, Path(), folds=())).items():
        assert not set(images.groups[learn]) & set(images.groups[held])
        train, check = validation_part(learn, images.y, images.groups, 0.15, k)
        assert not set(images.groups[train]) & set(images.groups[check])
        assert sorted([*train, *check]) == sorted(learn)
        assert len(check) > 0
    assert len(folds_of(job(images, Path(), folds=()))) == FOLDS
    assert len(folds_of(job(images, Path(), split="70-30", folds=()))) == 1


def test_a_fold_that_is_not_there_is_refused(images, tmp_path):
    with pytest.raises(InputRejected, match="has the folds 0, 1, 2, 3, 4"):
        fit(job(images, tmp_path, folds=(5,)))


def test_one_class_cannot_be_learned(images, tmp_path):
    alone = replace(images, y=np.zeros_like(images.y))
    with pytest.raises(InputRejected, match="one class only"):
        fit(job(alone, tmp_path))


def test_one_group_cannot_be_divided():
    with pytest.raises(InputRejected, match="at least two patients"):
        validation_part(np.arange(4), np.zeros(4, dtype=np.int64), np.zeros(4), 0.2, 0)


def test_series_are_neighbours_of_one_group_and_each_image_is_in_one():
    groups, y = np.array([0, 0, 0, 1, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 1, 1, 2])
    units = units_of(np.arange(8), groups, y, 2)
    assert units.tolist() == [[0, 1], [2, 2], [3, 4], [5, 6], [7, 7]]
    assert units_of(np.array([4, 2]), groups, y, 1).tolist() == [[4], [2]]


def batches(config, n=64, **said):
    y = np.array([0] * (n - 8) + [1] * 8)
    return Batches(RNG.integers(0, 255, (n, 16, 16, 3), dtype=np.uint8), y, np.arange(n)[:, None], config, **said)


def test_the_sampler_shows_rare_classes_as_often():
    some = batches(TINY.but(balance="sampler"), 400)
    drawn = np.concatenate([some.y[some.units[some.order(epoch, 0)][:, 0]] for epoch in range(20)])
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert fit_loop.class_weights(some).tolist() == [1, 1]
    by_loss = fit_loop.class_weights(batches(TINY.but(balance="loss"), 400))
    assert by_loss[1] / by_loss[0] == pytest.approx(392 / 8)


def test_processes_share_each_batch_and_no_image_twice():
    config = TINY.but(augment=False)
    whole = [y for _, y in batches(config).epoch(1, 0)]
    parts = [[x for x, _ in batches(config, rank=rank, size=2).epoch(1, 0)] for rank in (0, 1)]
    assert [len(y) for y in whole] == [16] * 4
    assert all(len(a) == len(b) == 8 for a, b in zip(*parts, strict=True))


def test_augmented_batches_repeat_and_change_by_epoch():
    some = batches(TINY)
    first = [next(some.epoch(epoch, 0))[0] for epoch in (1, 1, 2)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_the_rate_rises_and_falls():
    config = TINY.but(epochs=10, warmup_epochs=1.0)
    rates = [rate(config, epoch) for epoch in (0, 0.5, 1, 5, 10)]
    assert rates[0] < rates[1] < rates[2] == 1 > rates[3] > rates[4]
    assert rates[4] == pytest.approx(0, abs=1e-9)
    assert rate(config.but(schedule="constant"), 9) == 1


def test_minutes_cut_an_epoch_short(images, tmp_path):
    said = fit(job(images, tmp_path, config=TINY.but(epochs=50, max_minutes=1e-6)))
    assert said["trained"]["ended"] == ["max_minutes"]
    assert said["trained"]["epochs"] == [1]


def test_patience_ends_it(images, tmp_path):
    config = TINY.but(epochs=30, patience=1, learning_rate=1e-12, augment=False)
    said = fit(job(images, tmp_path, config=config))
    assert said["trained"]["ended"] == ["patience"]
    assert said["trained"]["epochs"][0] < 30


def test_a_training_that_diverges_ends_with_the_best_weights_before(images, tmp_path):
    config = TINY.but(epochs=4, optimiser="sgd", learning_rate=1e30)
    said = fit(job(images, tmp_path, config=config))
    assert said["trained"]["ended"] == ["diverged"]
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_the_scale_bar_is_hidden_from_the_network_and_shown_to_the_baseline():
    image = np.full((224, 224, 3), 200, dtype=np.uint8)
    image[-20:, -40:] = 0
    hidden = square(image, TINY.but(side=32, masked_corner=0.25))
    assert (hidden[-8:, -8:] == 255).all()
    assert hidden.shape == (32, 32, 3)
    assert corner_of(image).shape == (24 * 48,)
    assert 700 < corner_of(image).sum() < 900


def test_specificity_is_of_those_who_are_something_else():
    p = np.eye(2)[[0, 0, 1, 1]]
    y = np.array([0, 1, 1, 1])
    assert macro_specificity(p, y) == pytest.approx((2 / 3 + 1) / 2)
    assert specificity(p, y, np.arange(4))["value"] == macro_specificity(p, y)


def words(data, out, network="custom_cnn", *more):
    config = out.with_suffix(".toml")
    config.write_text('side = 16\nepochs = 1\nstain = "none"\nthreads = 1\n')
    said = ["fit", network, "--layout", LAYOUT, "--data", data, "--config", config, "--out", out, *more]
    return [str(word) for word in said]


def test_the_command_trains_scores_and_shows_the_baselines(data, tmp_path, caplog):
    caplog.set_level("INFO")
    assert main(words(data, tmp_path / "run", "custom_cnn", "--folds", "0,2", "--split", "grouped")) == 0
    said = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert said["trained"]["folds"] == [0, 2]
    assert "beside it, colour alone: accuracy" in caplog.text
    assert main(words(data, tmp_path / "run", "custom_cnn", "--folds", "0,2", "--resume")) == 0


@pytest.mark.parametrize(
    ("network", "more", "sentence"),
    [
        ("custom_cnn", ["--weights", "nowhere.pth"], "no such file"),
        ("custom_cnn", ["--download"], "no ImageNet weights"),
        ("vit_file", [], "side = 16 is no multiple of 14"),
        ("custom_cnn", ["--folds", "7"], "no folds [7]"),
    ],
)
def test_what_cannot_be_trained_exits_with_two_and_a_sentence(data, tmp_path, capsys, network, more, sentence):
    assert main(words(data, tmp_path / "run", network, *more)) == 2
    assert sentence in capsys.readouterr().err


QUICK = """
import sys
from functools import partial
from ml import calibration, fit_report, training
from ml.__main__ import main
calibration.measure = partial(calibration.measure, rounds=10)
fit_report.ROUNDS = training.TREES = 10
raise SystemExit(main(sys.argv[1:]))
"""


def test_two_processes_train_one_network(data, tmp_path):
    (tmp_path / "quick.py").write_text(QUICK)
    env = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    env |= {"PYTHONPATH": str(ROOT)}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, str(tmp_path / "quick.py"), *words(data, tmp_path / "two", "custom_cnn", "--folds", "0")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert said["trained"]["processes"] == 2
    assert said["figures"]["accuracy"]["value"] > 0.2


def test_the_papers_table_is_measured_once_and_says_how(data, tmp_path, monkeypatch, capsys):
    tiny = {"custom_cnn": {"side": 16, "epochs": 1}, "cnn_lstm": {"side": 16, "epochs": 1}}
    monkeypatch.setattr(papers, "SETTINGS", tiny)
    command = ["--data", data, "--out", tmp_path / "out", "--work", tmp_path / "work", "--networks", "custom_cnn"]
    said = papers.arguments().parse_args([str(word) for word in command])
    rows = papers.run(said)
    assert list(rows) == ["custom_cnn, random", "custom_cnn, grouped"]
    assert len(list((tmp_path / "out" / "papers").iterdir())) == 6
    monkeypatch.setattr(papers, "measure", None)
    assert papers.run(said) == rows
    page = "\n".join(papers.section(rows))
    assert "| custom_cnn |" in page
    assert "*colour alone*" in page
    assert "fold 0 of 5" in page
    assert "Not measured: cnn_lstm" in page
    assert capsys.readouterr().out.count("accuracy") == 4
