"""Expression tables in every shape: the same sample gives the same answer, and a bad table says where it is bad."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from genomics.expression import predict
from genomics.expression.genes import load_genes
from genomics.expression.scale import SCALES
from ml.findings import InputRejected
from tests.genomics.make import bundle, counts, named, on_scale, read_expression, table, write

NAME = "A1"


def rejected(source, tmp_path, **options):
    with pytest.raises(InputRejected) as caught:
        read_expression(source, tmp_path / "out", **options)
    return caught.value


def answer(source, tmp_path, **options):
    said, read = read_expression(source, tmp_path / "out", **options)
    return said, predict(read, bundle("expression"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What the sample is called when it comes as a plain TSV of counts."""
    folder = tmp_path_factory.mktemp("usual")
    return answer(write(folder / "a.tsv", table({NAME: counts()})), folder)[1].probabilities


class TestShapes:
    @pytest.mark.parametrize(("file", "sep"), [("a.csv", ","), ("a.tsv", "\t"), ("a.csv.gz", ","), ("a.txt", ";")])
    @pytest.mark.parametrize("transposed", [False, True])
    def test_delimiter_packing_and_orientation_change_nothing(self, usual, tmp_path, file, sep, transposed):
        source = write(tmp_path / file, table({NAME: counts()}, sep, transposed=transposed))
        said, finding = answer(source, tmp_path)
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)
        assert said["orientation"] == ("samples_x_genes" if transposed else "genes_x_samples")
        assert said["samples"] == [NAME]

    @pytest.mark.parametrize(
        ("how", "kind"), [("ensembl", "ensembl"), ("version", "ensembl_version"), ("symbol", "symbol")]
    )
    def test_ids_are_understood(self, usual, tmp_path, how, kind):
        said, finding = answer(write(tmp_path / "a.tsv", table({NAME: named(counts(), how)})), tmp_path)
        assert said["id_type"] == kind
        assert finding.label == "ETV6::RUNX1"
        if how != "symbol":  # a few genes have no symbol of their own
            assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    @pytest.mark.parametrize("scale", ["counts", "cpm", "tpm", "log2cpm", "log2tpm", "lncpm", "log10cpm", "log10tpm"])
    @pytest.mark.parametrize("stated", [False, True])
    def test_every_scale_is_found_and_gives_the_same_answer(self, usual, tmp_path, scale, stated):
        source = write(tmp_path / "a.tsv", table({NAME: on_scale(counts(), scale)}))
        said, finding = answer(source, tmp_path, **({"scale": scale} if stated else {}))
        assert (said["scale"], said["scale_stated"]) == (scale, stated)
        assert finding.label == "ETV6::RUNX1"
        assert finding.probabilities == pytest.approx(usual, abs=0.01)  # ties break in the last digit of a logarithm

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_marks_of_encodings_and_windows_line_ends(self, usual, tmp_path, encoding):
        text = table({NAME: counts()}).replace("\n", "\r\n")
        finding = answer(write(tmp_path / "a.tsv", text.encode(encoding)), tmp_path)[1]
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    def test_decimal_commas_comments_quotes_and_annotation(self, usual, tmp_path):
        cpm = {gene: f"{value:.6f}".replace(".", ",") for gene, value in on_scale(counts(), "cpm").items()}
        rows = table({"chr": dict.fromkeys(cpm, "chr1"), NAME: cpm}).splitlines()
        text = "# made here\n" + "\n".join([rows[0], *(f'"{row}'.replace("\t", '"\t', 1) for row in rows[1:])])
        said, finding = answer(write(tmp_path / "a.tsv", text), tmp_path)
        assert "dropped_columns" in [flag["code"] for flag in said["flags"]]
        assert finding.probabilities == pytest.approx(usual, abs=0.01)

    def test_a_table_of_r_with_a_short_header(self, usual, tmp_path):
        text = table({NAME: counts()}).replace("gene\t", "", 1)
        assert answer(write(tmp_path / "a.txt", text), tmp_path)[1].probabilities == pytest.approx(usual, abs=1e-12)

    def test_counters_of_htseq_and_star_are_no_genes(self, usual, tmp_path):
        text = table({NAME: counts()}) + "__no_feature\t999999999\nN_unmapped\t12345678\n"
        assert answer(write(tmp_path / "a.tsv", text), tmp_path)[1].probabilities == pytest.approx(usual, abs=1e-12)


class TestBatches:
    def test_a_sample_alone_is_what_it_is_in_a_batch(self, tmp_path):
        labels = ("ETV6::RUNX1", "PML::RARA", "T-ALL", "Normal")
        shared = set.intersection(*(set(counts(label)) for label in labels))
        samples = {f"S{k}": {g: v for g, v in counts(x).items() if g in shared} for k, x in enumerate(labels)}
        samples["S1"] = on_scale(samples["S1"], "log2cpm")
        source = write(tmp_path / "many.tsv", table(samples))
        _, together = read_expression(source, tmp_path / "many", many=True)
        for name, sample in samples.items():
            _, alone = read_expression(write(tmp_path / "one.tsv", table({name: sample})), tmp_path / "one")
            _, picked = read_expression(source, tmp_path / "picked", sample=name)
            of_alone = predict(alone, bundle("expression"))
            for finding in (predict(t, bundle("expression")) for t in (together.only(name), picked)):
                assert finding.probabilities == pytest.approx(of_alone.probabilities, abs=1e-9)
                assert finding.in_scope == pytest.approx(of_alone.in_scope, abs=1e-9)
                assert finding.reasons == of_alone.reasons

    def test_several_samples_need_a_name(self, tmp_path):
        source = write(tmp_path / "a.tsv", table({"S1": counts(), "S2": counts(seed=2)}))
        assert rejected(source, tmp_path).code == "several_samples"
        wrong = rejected(source, tmp_path, sample="S3")
        assert (wrong.code, "S1, S2" in wrong.problem) == ("unknown_sample", True)
        with pytest.raises(InputRejected, match="2 samples"):
            predict(read_expression(source, tmp_path / "out", many=True)[1], bundle("expression"))

    @pytest.mark.parametrize("transposed", [False, True])
    def test_a_bad_cell_is_the_fault_of_its_sample_alone(self, tmp_path, transposed):
        bad = counts(seed=2) | {"ENSG00000000938": "n.d."}
        text = table({"good": counts(), "bad": bad, "empty": dict.fromkeys(bad, 0)}, transposed=transposed)
        source = write(tmp_path / "a.tsv", text)
        said, read = read_expression(source, tmp_path / "out", many=True, keep_going=True)
        assert read.samples == ("good",)
        assert {fault["sample"]: fault["code"] for fault in said["refused"]} == {
            "bad": "not_a_number",
            "empty": "all_zero",
        }
        assert rejected(source, tmp_path, many=True).code == "not_a_number"
        assert rejected(source, tmp_path, sample="empty").code == "all_zero"
        assert read_expression(source, tmp_path / "out", sample="good")[1].samples == ("good",)

    def test_what_was_written_is_what_is_read(self, tmp_path):
        source = write(tmp_path / "a.tsv", table({"S1": counts(), "S2": counts(seed=2)}))
        said, read = read_expression(source, tmp_path / "out", many=True)
        assert read.scales == tuple(said["scales"]) == ("counts", "counts")
        assert list(read.values[0]) == [counts()[gene] for gene in read.genes]
        assert [one.samples for one in read.each()] == [("S1",), ("S2",)]

    def test_versions_of_one_gene_are_summed_and_said(self, tmp_path):
        first, *_ = counts()
        text = table({NAME: counts()}) + f"{first}.7\t11\n"
        said, read = read_expression(write(tmp_path / "a.tsv", text), tmp_path / "out")
        assert read.values[0, read.genes.index(first)] == counts()[first] + 11
        assert [flag["code"] for flag in said["flags"]] == ["summed_duplicates"]
        logs = table({NAME: on_scale(counts(), "log2cpm")}) + f"{first}.7\t1.5\n"
        assert rejected(write(tmp_path / "a.tsv", logs), tmp_path).code == "duplicate_gene"


GENES = load_genes().panels["all_panel"]
FIRST = GENES[0]


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("NaN", "missing_value"),
        ("", "missing_value"),
        ("high", "not_a_number"),
        ("inf", "infinite"),
        ("1_000", "not_a_number"),
        ("0x1F", "not_a_number"),
    ],
)
def test_a_bad_cell_is_named_by_row_and_column(tmp_path, cell, code):
    fault = rejected(write(tmp_path / "a.tsv", table({NAME: counts() | {FIRST: cell}})), tmp_path)
    assert fault.code == code
    row = 2 + list(counts()).index(FIRST)
    assert f"line {row} ({FIRST})" in fault.place
    assert f"column '{NAME}'" in fault.place
    assert fault.remedy


def _foreign(ids):
    return table({NAME: {ids(k): 10 + k for k in range(500)}})


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("", "empty", "no table"),
        ("\n\n", "empty", "no table"),
        ("gene\tA1\n", "header_only", "not one row"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "wrong_type", "HDF5"),
        (b"PK\x03\x04" + bytes(99), "wrong_type", "Excel"),
        (bytes(range(256)) * 9, "wrong_type", "no text"),
        (_foreign(lambda k: str(900_000_000 + k)), "unknown_id_type", "Entrez"),
        (_foreign(lambda k: str(100 + k)), "too_few_genes", "60%"),
        (_foreign(lambda k: f"ENSMUSG{k:011d}"), "unknown_id_type", "another species"),
        (_foreign(lambda k: f"ENST{k:011d}.2"), "unknown_id_type", "transcript"),
        (_foreign(lambda k: f"{1000 + k}_at"), "unknown_id_type", "microarray"),
        (_foreign(lambda k: f"Gene{k}"), "unknown_id_type", "not known here"),
        (table({NAME: dict.fromkeys(GENES[:300], 5)}), "too_few_genes", "60%"),
    ],
)
def test_what_is_no_table_of_human_genes_is_refused(tmp_path, text, code, word):
    fault = rejected(write(tmp_path / "a.tsv", text), tmp_path)
    assert fault.code == code
    assert word in fault.problem
    assert "a.tsv" in fault.place


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: s | {FIRST: -1}, "negative_value"),
        (lambda s: dict.fromkeys(s, 0), "all_zero"),
    ],
)
def test_values_that_no_scale_allows(tmp_path, change, code):
    fault = rejected(write(tmp_path / "a.tsv", table({NAME: change(counts())})), tmp_path)
    assert (fault.code, NAME in fault.place) == (code, True)


def test_counts_called_logarithms_and_scales_that_are_none(tmp_path):
    source = write(tmp_path / "a.tsv", table({NAME: counts()}))
    assert rejected(source, tmp_path, scale="log2tpm").code == "wrong_scale"
    fault = rejected(source, tmp_path, scale="rpkm?")
    assert fault.code == "unknown_scale"
    assert all(scale in fault.remedy for scale in SCALES)


def test_a_shallow_whole_transcriptome_is_refused(tmp_path):
    sample = dict.fromkeys(counts(), 3) | {f"ENSG{k:011d}": 1 for k in range(90_000_000, 90_010_000)}
    assert rejected(write(tmp_path / "a.tsv", table({NAME: sample})), tmp_path).code == "too_few_reads"


def test_repeated_genes_and_samples_are_named(tmp_path):
    twice = table({NAME: counts()}) + f"{FIRST}\t5\n"
    fault = rejected(write(tmp_path / "a.tsv", twice), tmp_path)
    assert (fault.code, FIRST in fault.problem) == ("duplicate_gene", True)
    same = table({"S1": counts(), "S2": counts()}).replace("S2", "S1", 1)
    fault = rejected(write(tmp_path / "a.tsv", same), tmp_path, many=True)
    assert (fault.code, "column 3" in fault.place) == ("duplicate_sample", True)


def test_truncated_and_ragged_files(tmp_path):
    packed = gzip.compress(table({NAME: counts()}).encode())
    source = tmp_path / "a.tsv.gz"
    source.write_bytes(packed[: len(packed) // 2])
    assert rejected(source, tmp_path).code == "truncated"
    cut = table({"S1": counts(), "S2": counts()}).rsplit("\t", 1)[0]
    fault = rejected(write(tmp_path / "a.tsv", cut), tmp_path, many=True)
    assert (fault.code, "ends inside" in fault.problem) == ("ragged_row", True)
    commas = table({NAME: dict.fromkeys(counts(), "1,500")})
    assert rejected(write(tmp_path / "a.tsv", commas), tmp_path).code == "ambiguous_decimal"


@pytest.mark.parametrize(("log", "offset", "scale"), [(np.log2, 1e-3, "log2tpm"), (np.log, 1e-2, "lntpm")])
def test_a_usual_small_offset_is_known_by_what_absent_genes_have(tmp_path, log, offset, scale):
    tpm = on_scale(counts(), "tpm")
    absent = dict.fromkeys(list(tpm)[:40], 0.0)
    shifted = {gene: round(float(log(value + offset)), 4) for gene, value in (tpm | absent).items()}
    summary, read = read_expression(write(tmp_path / "a.tsv", table({NAME: shifted})), tmp_path / "read")
    assert read.scales == (scale,)
    assert f"value + {offset:g}" in next(flag["message"] for flag in summary["flags"] if flag["code"] == "log_offset")
    whole = read_expression(write(tmp_path / "b.tsv", table({NAME: tpm | absent})), tmp_path / "whole")[1]
    assert read.values == pytest.approx(whole.values, rel=2e-3, abs=2 * offset)


def test_values_cut_off_at_a_round_number_are_no_logarithms(tmp_path):
    scores = {gene: max(-3.0, np.log2(value + 1) - 8) for gene, value in on_scale(counts(), "tpm").items()}
    assert rejected(write(tmp_path / "a.tsv", table({NAME: scores})), tmp_path).code == "negative_value"


def test_log_values_with_another_offset_need_their_scale(tmp_path):
    shifted = {gene: float(np.log2(value + 0.25)) for gene, value in on_scale(counts(), "cpm").items()}
    source = write(tmp_path / "a.tsv", table({NAME: shifted}))
    assert "state the scale" in rejected(source, tmp_path).remedy
    finding = answer(source, tmp_path, scale="log2cpm")[1]
    assert finding.label == "ETV6::RUNX1"
