"""Synthetic tables: marked, repeatable, and what they say they are."""

from __future__ import annotations

import pytest

from genomics import expression, labs
from genomics.synthetic import write_expression, write_labs
from tests.genomics.make import bundle, read_expression, read_labs

DEMO = [(label, seed) for label in ("ETV6::RUNX1", "PML::RARA", "T-ALL", "NPM1") for seed in (1, 2, 3, 4, 5)]
LABELS = ["ALL", "AML", "APL"]


@pytest.mark.parametrize(("label", "seed"), DEMO)
def test_counts_are_called_what_they_are(tmp_path, label, seed):
    said, read = read_expression(write_expression(tmp_path / "a.tsv", label, seed), tmp_path / "out")
    finding = expression.predict(read, bundle("expression"))
    assert finding.label == label
    assert finding.in_scope > 0.5
    assert said["scale"] == "counts"
    assert said["id_type"] == "ensembl_version"
    assert said["genes"] > 2000
    assert said["samples"][0].startswith("SYNTHETIC-")


def test_every_label_of_the_bundle_can_be_drawn_and_most_are_recognised(tmp_path):
    right = 0
    for label in bundle("expression").labels:
        _, read = read_expression(write_expression(tmp_path / "a.tsv", label, 7), tmp_path / "out")
        right += expression.predict(read, bundle("expression")).label == label
    assert right >= 0.9 * len(bundle("expression").labels)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_panels_are_called_what_they_are(tmp_path, label, seed):
    said, read = read_labs(write_labs(tmp_path / "a.csv", label, seed), tmp_path / "out")
    finding = labs.predict(read, bundle("labs"))
    assert finding.label == label
    assert finding.in_scope > 0.5
    assert said["panels"][0].startswith("SYNTHETIC-")
    assert (said["unused"], said["flags"]) == ([], [])


@pytest.mark.parametrize(("make", "label"), [(write_expression, "NPM1"), (write_labs, "APL")])
def test_the_same_seed_gives_the_same_bytes(tmp_path, make, label):
    first, again, other = (make(tmp_path / f"{k}", label, seed).read_bytes() for k, seed in enumerate((1, 1, 2)))
    assert first == again != other
    assert first.splitlines()[0].startswith(b"# SYNTHETIC")


@pytest.mark.parametrize(("make", "known"), [(write_expression, "PML::RARA"), (write_labs, "APL")])
def test_an_unknown_label_lists_those_that_are_known(tmp_path, make, known):
    with pytest.raises(ValueError, match=known):
        make(tmp_path / "a", "MPAL", 1)
    assert not (tmp_path / "a").exists()
