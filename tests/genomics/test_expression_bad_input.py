"""Bad expression tables: each is refused, or warned of, with the place and what to do; none takes the reader down."""

from __future__ import annotations

import gzip
import io
import zipfile

import openpyxl
import pytest

from genomics import packed, sheets
from genomics.expression.genes import load_genes
from ml.findings import InputRejected
from tests.genomics.make import counts, on_scale, read_expression, table, write
from tests.genomics.test_expression_layouts import rows, workbook, zipped

NAME = "A1"
READS = counts()
FIRST, SECOND = list(READS)[:2]
CELLS = [["gene", NAME], *([gene, int(value)] for gene, value in READS.items())]


def rejected(source, tmp_path, **options):
    with pytest.raises(InputRejected) as caught:
        read_expression(source, tmp_path / "out", **options)
    assert caught.value.remedy
    assert source.name in caught.value.place or caught.value.place.startswith("option")
    return caught.value


class TestValues:
    @pytest.mark.parametrize(
        ("cell", "code"),
        [("1e308", "implausible_value"), ("1e999", "infinite"), ("-0.5", "negative_value"), ("=B2*2", "formula")],
    )
    @pytest.mark.parametrize("transposed", [False, True])
    def test_a_value_is_named_by_row_and_column(self, tmp_path, cell, code, transposed):
        sample = {gene: str(int(value)) for gene, value in READS.items()} | {SECOND: cell}
        fault = rejected(write(tmp_path / "a.tsv", table({NAME: sample}, transposed=transposed)), tmp_path)
        assert fault.code == code
        line, column = (f"line 2 ({NAME})", SECOND) if transposed else (f"line 3 ({SECOND})", NAME)
        assert fault.place == f"a.tsv, {line}, column {column!r}"

    def test_several_huge_values_overflow_nothing(self, tmp_path):
        sample = dict.fromkeys(READS, "1e308")
        assert rejected(write(tmp_path / "a.tsv", table({NAME: sample})), tmp_path).code == "implausible_value"

    def test_decimal_commas_and_points_in_one_table(self, tmp_path):
        cpm = {gene: f"{value:.4f}".replace(".", ",") for gene, value in on_scale(READS, "cpm").items()}
        fault = rejected(write(tmp_path / "a.tsv", table({NAME: cpm | {SECOND: "1.5"}})), tmp_path)
        assert fault.code == "mixed_decimal"
        assert f"line 3, column {NAME!r}" in fault.place + fault.problem
        assert "'1.5'" in fault.problem

    def test_commas_that_may_all_stand_between_thousands(self, tmp_path):
        fault = rejected(write(tmp_path / "a.tsv", table({NAME: READS | {SECOND: "1,500"}})), tmp_path)
        assert (fault.code, fault.place) == ("ambiguous_decimal", f"a.tsv, line 3, column {NAME!r}")

    def test_a_small_decimal_fraction_is_no_thousand(self, tmp_path):
        cpm = {gene: f"{value:.3f}".replace(".", ",") for gene, value in on_scale(READS, "cpm").items()}
        _, read = read_expression(write(tmp_path / "a.tsv", table({NAME: cpm | {SECOND: "0,123"}})), tmp_path / "out")
        assert read.values[0, read.genes.index(SECOND)] == 0.123


class TestShape:
    def test_genes_both_ways(self, tmp_path):
        genes = load_genes().ids[:120]
        text = "\t".join(["gene", *genes]) + "\n" + "".join("\t".join([g, *["1"] * 120]) + "\n" for g in genes)
        fault = rejected(write(tmp_path / "a.tsv", text), tmp_path)
        assert (fault.code, fault.place) == ("genes_twice", "a.tsv, header and column 1")

    @pytest.mark.parametrize("transposed", [False, True])
    def test_a_sample_that_is_there_twice(self, tmp_path, transposed):
        text = table({"S1": READS, "S2": READS}, transposed=transposed).replace("S2", "S1")
        fault = rejected(write(tmp_path / "a.tsv", text), tmp_path, many=True)
        assert fault.code == "duplicate_sample"
        assert fault.place == ("a.tsv, line 3" if transposed else "a.tsv, header, column 3")

    def test_a_gene_that_is_there_twice_across(self, tmp_path):
        text = table({NAME: READS}, transposed=True).replace(SECOND, FIRST, 1)
        fault = rejected(write(tmp_path / "a.tsv", text), tmp_path)
        assert (fault.code, fault.place) == ("duplicate_gene", "a.tsv, header, column 3")

    def test_a_gene_of_no_interest_twice_is_a_warning(self, tmp_path):
        source = write(tmp_path / "a.tsv", table({NAME: READS}) + "MT-RNR9\t5\nMT-RNR9\t6\n")
        said, _ = read_expression(source, tmp_path / "out")
        assert [flag["code"] for flag in said["flags"]] == ["repeated_genes"]
        assert "MT-RNR9" in said["flags"][0]["message"]

    def test_values_without_a_name(self, tmp_path):
        text = rows("gene", NAME, "", make=lambda g, v: (g, int(v), int(v)))
        fault = rejected(write(tmp_path / "a.tsv", text), tmp_path, many=True)
        assert (fault.code, fault.place) == ("unnamed_sample", "a.tsv, header, column 3")

    @pytest.mark.parametrize("transposed", [False, True])
    def test_genes_of_which_the_models_use_none(self, tmp_path, transposed):
        sample = {f"ENSG{k:011d}": 9 for k in range(90_000_000, 90_000_200)}
        fault = rejected(write(tmp_path / "a.tsv", table({NAME: sample}, transposed=transposed)), tmp_path)
        assert (fault.code, "0%" in fault.problem) == ("too_few_genes", True)

    def test_no_column_of_values(self, tmp_path):
        text = rows("gene", "description", make=lambda g, v: (g, "known"))
        assert rejected(write(tmp_path / "a.tsv", text), tmp_path).code == "no_samples"

    @pytest.mark.parametrize("kind", ["a.tsv", "a.xlsx"])
    def test_a_header_alone(self, tmp_path, kind):
        data = "gene\tA1\n" if kind == "a.tsv" else workbook(("a", [["gene", "A1"]]))
        assert rejected(write(tmp_path / kind, data), tmp_path).code == "header_only"

    def test_an_empty_workbook(self, tmp_path):
        assert rejected(write(tmp_path / "a.xlsx", workbook(("a", []))), tmp_path).code == "empty"

    def test_utf_16_without_its_mark(self, tmp_path):
        fault = rejected(write(tmp_path / "a.tsv", table({NAME: READS}).encode("utf-16-le")), tmp_path)
        assert (fault.code, "UTF-8" in fault.remedy) == ("wrong_type", True)


class TestSize:
    """What is too much is refused before it is taken apart."""

    def test_a_line_of_100_mb(self, tmp_path):
        source = write(tmp_path / "a.tsv", b"gene\t" + b"12345678\t" * 11_200_000)
        fault = rejected(source, tmp_path)
        assert (fault.code, fault.place) == ("line_too_long", "a.tsv, line 1")

    def test_a_long_line_further_down(self, tmp_path):
        source = write(tmp_path / "a.tsv", b"gene\tA1\n" + b"5" * 9_000_000)
        assert rejected(source, tmp_path).place == "a.tsv, line 2"

    def test_a_million_rows(self, tmp_path):
        text = "gene\tA1\n" + "ENSG00000000003\t12\n" * 1_000_000
        fault = rejected(write(tmp_path / "a.tsv.gz", text), tmp_path)
        assert (fault.code, fault.place) == ("too_large", "a.tsv.gz, line 300001")

    @pytest.mark.parametrize("kind", ["a.tsv.gz", "a.zip"])
    def test_bombs_stop_at_the_bound(self, tmp_path, monkeypatch, kind):
        monkeypatch.setattr(packed, "MAX_BYTES", 1_000_000)
        data = bytes(30_000_000)
        packed_data = gzip.compress(data) if kind == "a.tsv.gz" else zipped({"a.tsv": data})
        assert len(packed_data) < 50_000
        source = tmp_path / kind
        source.write_bytes(packed_data)
        assert rejected(source, tmp_path).code == "too_large"

    def test_a_bomb_of_bombs(self, tmp_path):
        data = b"gene\tA1\n"
        for _ in range(6):
            data = zipped({"a.zip": data})
        source = tmp_path / "a.zip"
        source.write_bytes(data)
        assert "within each other" in rejected(source, tmp_path).problem

    def test_a_workbook_that_unpacks_to_too_much(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sheets, "MAX_BYTES", 100_000)
        fault = rejected(write(tmp_path / "a.xlsx", workbook(("a", CELLS))), tmp_path)
        assert (fault.code, "Unpacked" in fault.problem) == ("too_large", True)

    def test_a_workbook_with_a_cell_at_its_far_corner(self, tmp_path):
        book = openpyxl.Workbook()
        book.active.append(["gene", "A1"])
        book.active["XFD1048576"] = 1
        stream = io.BytesIO()
        book.save(stream)
        fault = rejected(write(tmp_path / "a.xlsx", stream.getvalue()), tmp_path)
        assert (fault.code, "row 300001" in fault.place) == ("too_large", True)


class TestContainers:
    def test_several_files_in_a_zip(self, tmp_path):
        fault = rejected(write(tmp_path / "a.zip", zipped({"a.tsv": "x", "b.tsv": "y"})), tmp_path)
        assert (fault.code, "a.tsv, b.tsv" in fault.problem) == ("wrong_type", True)

    def test_a_zip_with_a_password(self, tmp_path):
        data = bytearray(zipped({"a.tsv": table({NAME: READS})}))
        data[6] |= 1  # the flag "encrypted", in the member's header and in the directory
        data[data.rindex(b"PK\x01\x02") + 8] |= 1
        assert "password" in rejected(write(tmp_path / "a.zip", bytes(data)), tmp_path).problem

    @pytest.mark.parametrize("part", [0.3, 0.9])
    @pytest.mark.parametrize("kind", ["a.zip", "a.xlsx"])
    def test_a_damaged_archive(self, tmp_path, part, kind):
        data = zipped({"a.tsv": table({NAME: READS})}) if kind == "a.zip" else workbook(("a", CELLS))
        fault = rejected(write(tmp_path / kind, data[: int(len(data) * part)]), tmp_path)
        assert (fault.code, "damaged" in fault.problem) == ("wrong_type", True)

    def test_a_workbook_whose_sheet_is_no_xml(self, tmp_path):
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(workbook(("a", CELLS)))) as old, zipfile.ZipFile(stream, "w") as new:
            for name in old.namelist():
                new.writestr(name, b"<no" if "sheet1" in name else old.read(name))
        assert rejected(write(tmp_path / "a.xlsx", stream.getvalue()), tmp_path).code == "wrong_type"

    def test_a_formula_in_a_workbook(self, tmp_path):
        cells = [*CELLS[:2], [SECOND, "=B2*2"], *CELLS[3:]]
        fault = rejected(write(tmp_path / "a.xlsx", workbook(("reads", cells))), tmp_path)
        assert fault.code == "formula"
        assert fault.place == f"a.xlsx, sheet 'reads', line 3 ({SECOND}), column {NAME!r}"
        assert "as values" in fault.remedy

    def test_another_office_file(self, tmp_path):
        fault = rejected(write(tmp_path / "a.ods", zipped({"content.xml": "<x/>", "mimetype": "y"})), tmp_path)
        assert (fault.code, fault.remedy) == ("wrong_type", "Save it as CSV or TSV.")
