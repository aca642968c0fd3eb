"""Quality of a sample: depth, genes seen, the sex genes against the record, mixtures, haemoglobin; each its own."""

from __future__ import annotations

import math

import pytest

from genomics.expression import predict
from genomics.expression.names import quality_genes
from tests.genomics.make import bundle, counts, read_expression, table, write

FEMALE = {"XIST": 20_000}
MALE = {"RPS4Y1": 2000, "KDM5D": 2000, "DDX3Y": 2000, "EIF1AY": 500, "USP9Y": 2000, "UTY": 2000, "ZFY": 800}
ID = {gene.symbol: gene.id for gene in quality_genes().values()}
OTHERS = [f"ENSG{k:011d}" for k in range(90_000_000, 90_012_000)]


def library(*, depth=1.0, seen=True, **reads):
    """A whole transcriptome of some 26 million reads in which the quality genes have ``reads``, else none."""
    sample = counts() | dict.fromkeys(OTHERS, 500 if seen else 0) | dict.fromkeys(ID.values(), 0)
    sample |= {ID[symbol]: value for symbol, value in reads.items()}
    return {gene: int(value * depth) for gene, value in sample.items()}


def read(tmp_path, samples, **options):
    return read_expression(write(tmp_path / "a.tsv", table(samples)), tmp_path / "out", many=True, **options)


def flags(said):
    return [flag["code"] for flag in said["flags"]]


class TestSex:
    @pytest.mark.parametrize(
        ("reads", "sex"),
        [(FEMALE, "female"), (MALE, "male"), (FEMALE | MALE, "mixed"), ({}, ""), ({"UTY": 9000}, "male")],
    )
    def test_what_the_genes_say(self, tmp_path, reads, sex):
        said, _ = read(tmp_path, {"S": library(**reads)})
        assert said["quality"]["S"]["sex"] == sex
        assert ("two_sexes" in flags(said)) == (sex == "mixed")

    @pytest.mark.parametrize(
        ("reads", "record", "flagged"),
        [
            (FEMALE, "male", True),
            (MALE, "female", True),
            (FEMALE, "female", False),
            (MALE, "male", False),
            (MALE, "unknown", False),
            (MALE, None, False),
            ({}, "male", False),
        ],
    )
    def test_against_the_record(self, tmp_path, reads, record, flagged):
        said, _ = read(tmp_path, {"S": library(**reads)}, sex=record)
        assert flags(said) == ["sex_mismatch"] * flagged
        if flagged:
            message = said["flags"][0]["message"]
            assert f"The record says {record}" in message
            assert ("lose Y" in message) == (record == "male")

    @pytest.mark.parametrize("scale", ["cpm", "log2cpm", "tpm", "log2tpm"])
    def test_on_other_scales(self, tmp_path, scale):
        base, _, unit = scale.partition("2") if "2" in scale else ("", "", scale)
        whole = library(**FEMALE)
        factor = 1e6 / sum(whole.values())
        length = {gene.id: gene.length for gene in quality_genes().values()}
        values = {g: v * factor / (length.get(g, 2500) / 2500 if unit == "tpm" else 1) for g, v in whole.items()}
        if base:
            values = {gene: on_log2(value) for gene, value in values.items()}
        said, _ = read(tmp_path, {"S": values}, scale=scale)
        assert said["quality"]["S"]["sex"] == "female"
        assert said["quality"]["S"]["library_size"] is None

    def test_a_panel_alone_says_nothing(self, tmp_path):
        said, _ = read(tmp_path, {"S": counts()}, sex="male")
        assert said["quality"]["S"] == {
            "whole": False,
            "genes_seen": sum(value > 0 for value in counts().values()),
            "library_size": None,
            "xist_cpm": None,
            "y_cpm": None,
            "globin_share": None,
            "sex": "",
        }
        assert flags(said) == []


def on_log2(value):
    return math.log2(value + 1)


class TestOthers:
    def test_measures_are_those_of_the_table(self, tmp_path):
        whole = library(**FEMALE)
        said, _ = read(tmp_path, {"S": whole})
        quality = said["quality"]["S"]
        assert quality["library_size"] == sum(whole.values())
        assert quality["genes_seen"] == sum(value > 0 for value in whole.values())
        assert quality["xist_cpm"] == pytest.approx(20_000 / sum(whole.values()) * 1e6)
        assert (quality["y_cpm"], quality["globin_share"]) == (0, 0)

    def test_a_shallow_library(self, tmp_path):
        said, _ = read(tmp_path, {"S": library(depth=0.1)})
        assert flags(said) == ["shallow_library"]

    def test_few_genes_seen(self, tmp_path):
        said, _ = read(tmp_path, {"S": library(seen=False)})
        assert flags(said) == ["few_genes_seen"]

    def test_much_haemoglobin(self, tmp_path):
        said, _ = read(tmp_path, {"S": library(HBA1=5_000_000, HBA2=4_000_000, HBB=9_000_000)})
        assert flags(said) == ["much_globin"]
        assert said["quality"]["S"]["globin_share"] == pytest.approx(0.4, abs=0.05)


def test_each_sample_has_its_own_flags_alone_and_in_a_batch(tmp_path):
    samples = {"good": library(**MALE), "mixed": library(**FEMALE, **MALE), "swapped": library(**FEMALE)}
    said, together = read(tmp_path, samples, sex="male")
    assert [[flag["code"] for flag in of] for of in said["of_sample"]] == [[], ["two_sexes"], ["sex_mismatch"]]
    for name, sample in samples.items():
        _, alone = read(tmp_path, {name: sample}, sex="male")
        assert together.only(name).flags == alone.flags
        assert together.only(name).only(name).flags == alone.flags
        finding = predict(together.only(name), bundle("expression"))
        assert [flag.code for flag in finding.quality if flag in alone.flags] == [flag.code for flag in alone.flags]
