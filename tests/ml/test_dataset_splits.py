"""Folds of an image set: every class in each, no group in two, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.datasets import grouped_folds, load, split_70_30, stratified_folds
from ml.findings import InputRejected
from tests.drawn_datasets import four_class


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """100 images in each of four classes; 20 groups that hold one class each, of unlike size."""
    folder = tmp_path_factory.mktemp("fields")
    four_class(folder, 1)
    one = load("four-class-all", folder)
    groups = np.array([f"{k} {(i // 7) % 5}" for k in range(4) for i in range(100)])
    return replace(one, paths=one.paths * 100, y=np.repeat(np.arange(4), 100), groups=groups)


def test_seventy_thirty_is_stratified_and_repeats_itself(fields):
    fold = split_70_30(fields, 1)
    assert set(fold) == {-1, 0}
    assert np.bincount(fields.y[fold == 0]).tolist() == [30] * 4
    assert (fold == split_70_30(fields, 1)).all()
    assert (fold != split_70_30(fields, 2)).any()


@pytest.mark.parametrize("folds", [stratified_folds, grouped_folds])
def test_folds_are_stratified_and_repeat_themselves(fields, folds):
    fold = folds(fields, 5, 1)
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    assert all(np.bincount(fields.y[fold == k], minlength=4).min() > 10 for k in range(5))
    assert (fold == folds(fields, 5, 1)).all()
    assert (fold != folds(fields, 5, 2)).any()


def test_no_group_is_in_two_folds(fields):
    fold = grouped_folds(fields, 5, 0)
    assert all(len(set(fold[fields.groups == group])) == 1 for group in np.unique(fields.groups))
    by_half = np.array(["a", "b"])[(fields.y > 1).astype(int)]
    assert len(set(grouped_folds(fields, 5, 0, strata=by_half))) == 5


def test_too_few_to_divide(fields):
    two = replace(fields, y=fields.y[[0, 100]], groups=fields.groups[[0, 100]])
    for split, code in ((stratified_folds, "too_few_images"), (grouped_folds, "too_few_groups")):
        with pytest.raises(InputRejected) as caught:
            split(two, 5, 0)
        assert caught.value.code == code
    with pytest.raises(InputRejected, match="two images of a class"):
        split_70_30(two, 0)


def test_rare_classes_do_not_stop_the_folds(fields):
    rare = replace(fields, y=np.where(np.arange(400) < 2, 0, 1 + fields.y % 3))
    assert set(stratified_folds(rare, 5, 0)) == set(grouped_folds(rare, 5, 0)) == {0, 1, 2, 3, 4}
