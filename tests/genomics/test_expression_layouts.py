"""The tables that counting programs and spreadsheets write: each is read as the plain table of the same sample is."""

from __future__ import annotations

import datetime as dt
import io
import zipfile

import numpy as np
import openpyxl
import pytest

from genomics.expression import predict
from genomics.expression.genes import find_gene, known_symbols, load_genes
from genomics.expression.names import other_names
from ml.findings import InputRejected
from tests.genomics.make import bundle, counts, named, on_scale, read_expression, table, write

NAME = "A1"
READS = counts()
UNMAPPED = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")


def rows(*header, of=READS, sep="\t", make=lambda gene, value: (gene, int(value))):
    lines = [sep.join(header)] if header else []
    return "\n".join([*lines, *(sep.join(map(str, make(gene, value))) for gene, value in of.items())]) + "\n"


def answer(source, tmp_path, **options):
    said, read = read_expression(source, tmp_path / "out", **options)
    return said, predict(read, bundle("expression"))


def codes(said):
    return [flag["code"] for flag in said["flags"]]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    return answer(write(folder / "a.tsv", table({NAME: READS})), folder)[1].probabilities


def workbook(*sheets):
    """Bytes of an .xlsx with (title, rows) sheets."""
    book = openpyxl.Workbook(write_only=True)
    for title, cells in sheets:
        sheet = book.create_sheet(title)
        for row in cells:
            sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


TPM = on_scale(READS, "tpm")
HTSEQ = rows() + "__no_feature\t999999\n__ambiguous\t5\n"
FEATURE_COUNTS = "# Program:featureCounts v2.0.6; Command:...\n" + rows(
    *("Geneid", "Chr", "Start", "End", "Strand", "Length", "/runs/A1.Aligned.sortedByCoord.out.bam"),
    make=lambda gene, value: (gene, "1;1", "11;99", "50;120", "+;+", 62, int(value)),
)
STRINGTIE = rows(
    *("Gene ID", "Gene Name", "Reference", "Strand", "Start", "End", "Coverage", "FPKM", "TPM"),
    of=TPM,
    make=lambda gene, value: (gene, "-", "chr1", "+", 1, 9, 0.5, value / 2, value),
)
SALMON = rows(
    *("Name", "Length", "EffectiveLength", "TPM", "NumReads"),
    of=TPM,
    make=lambda gene, value: (gene, 1500, 1300.5, value, READS[gene]),
)
KALLISTO = rows(
    *("target_id", "length", "eff_length", "est_counts", "tpm"),
    of=TPM,
    make=lambda gene, value: (f"{gene}.3", 1500, 1300.5, READS[gene], value),
)
RSEM = rows(
    *("gene_id", "transcript_id(s)", "length", "effective_length", "expected_count", "TPM", "FPKM"),
    of=TPM,
    make=lambda gene, value: (gene, "ENST00000000001", 1500, 1300.5, READS[gene], value, value / 2),
)
TXIMPORT = rows(
    *("abundance.A1", "counts.A1", "length.A1", "countsFromAbundance"),
    of=TPM,
    make=lambda gene, value: (gene, value, READS[gene], 1500.5, "no"),
)
GDC = (
    "# gene-model: GENCODE v36\n"
    "gene_id\tgene_name\tgene_type\tunstranded\tstranded_first\tstranded_second\t"
    "tpm_unstranded\tfpkm_unstranded\tfpkm_uq_unstranded\n"
    + "".join(f"{name}\t\t\t1234\t1200\t1100\t\t\t\n" for name in UNMAPPED)
    + rows(
        make=lambda gene, value: (f"{gene}.15", "X", "protein_coding", int(value), 3, 4, TPM[gene], TPM[gene] / 2, 1.5)
    )
)
CUFFLINKS = rows(
    *("tracking_id", "class_code", "gene_short_name", "locus", "length", "coverage", "FPKM", "FPKM_conf_lo"),
    *("FPKM_conf_hi", "FPKM_status"),
    of=TPM,
    make=lambda gene, value: (gene, "-", "X", "1:1-9", "-", "-", value / 2, 0, 9, "OK"),
)


class TestPrograms:
    @pytest.mark.parametrize(
        ("file", "text", "program", "scale"),
        [
            ("A1.htseq.txt", HTSEQ, "", "counts"),
            ("A1.txt", FEATURE_COUNTS, "featureCounts", "counts"),
            ("A1.quant.genes.sf", SALMON, "Salmon", "tpm"),
            ("A1_abundance.tsv", KALLISTO, "kallisto", "tpm"),
            ("A1.genes.results", RSEM, "RSEM", "tpm"),
            ("all.tsv", TXIMPORT, "tximport", "tpm"),
            ("A1.gene_abund.tab", STRINGTIE, "StringTie", "tpm"),
            ("A1.genes.fpkm_tracking", CUFFLINKS, "Cufflinks", "fpkm"),
            ("A1.augmented_star_gene_counts.tsv", GDC, "GDC STAR counts", "counts"),
        ],
    )
    def test_each_is_the_plain_table(self, usual, tmp_path, file, text, program, scale):
        said, finding = answer(write(tmp_path / file, text), tmp_path)
        assert (said["program"], said["scales"], said["samples"]) == (program, [scale], ["A1"])
        assert said["genes"] == len(READS)
        close = 1e-12 if scale == "counts" else 0.01  # TPM are rounded where they are written
        assert finding.probabilities == pytest.approx(usual, abs=close)
        assert "scale_uncertain" not in codes(said)

    @pytest.mark.parametrize(
        ("text", "scale"), [(SALMON, "counts"), (RSEM, "fpkm"), (GDC, "tpm"), (TXIMPORT, "counts")]
    )
    def test_the_scale_that_is_stated_picks_the_measure(self, usual, tmp_path, text, scale):
        said, finding = answer(write(tmp_path / "a.tsv", text), tmp_path, scale=scale)
        assert said["scales"] == [scale]
        assert finding.probabilities == pytest.approx(usual, abs=0.01)

    def test_a_measure_that_the_program_does_not_write_is_refused(self, tmp_path):
        with pytest.raises(InputRejected, match="has no log2cpm; it has tpm, counts") as caught:
            read_expression(write(tmp_path / "a.sf", SALMON), tmp_path / "out", scale="log2cpm")
        assert (caught.value.code, caught.value.place) == ("wrong_scale", "a.sf, header")

    def test_many_samples_of_tximport(self, tmp_path):
        text = rows("abundance.S1", "abundance.S2", "counts.S1", "counts.S2", make=lambda g, v: (g, v, v + 1, 0, 0))
        said, read = read_expression(write(tmp_path / "a.tsv", text), tmp_path / "out", many=True)
        assert said["samples"] == ["S1", "S2"]
        assert (read.values[1] - read.values[0] == 1).all()

    def test_transcripts_that_name_their_gene_are_summed(self, usual, tmp_path):
        lines = ["target_id\tlength\teff_length\test_counts\ttpm"]
        for gene, value in TPM.items():
            for k, part in ((1, 0.25), (2, 0.75)):
                name = f"ENST{k}{gene[5:]}.1|{gene}.2|OTTHUMG00000000961.2|-|X-202|X|1657|protein_coding|"
                lines.append(f"{name}\t1500\t1300\t9\t{part * value}")
        said, finding = answer(write(tmp_path / "A1.tsv", "\n".join(lines) + "\n"), tmp_path)
        assert (said["id_type"], codes(said)) == ("transcript", ["dropped_columns", "summed_transcripts"])
        assert finding.probabilities == pytest.approx(usual, abs=0.01)


class TestStar:
    def text(self, forward, reverse):
        head = "".join(f"{name}\t5000000\t5000000\t5000000\n" for name in UNMAPPED)
        return head + rows(make=lambda g, v: (g, int(v), int(v * forward), int(v * reverse)))

    @pytest.mark.parametrize(
        ("forward", "reverse", "taken"), [(0.5, 0.5, "unstranded"), (0.02, 1.0, "reverse"), (1.0, 0.02, "forward")]
    )
    def test_the_strand_is_found_and_said(self, usual, tmp_path, forward, reverse, taken):
        source = write(tmp_path / "A1_ReadsPerGene.out.tab", self.text(forward, reverse))
        said, finding = answer(source, tmp_path)
        assert (said["samples"], said["scale"], said["program"]) == (["A1"], "counts", "STAR")
        assert f"{taken} was taken" in next(flag["message"] for flag in said["flags"] if flag["code"] == "strand")
        assert said["genes"] == len(READS)
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    def test_it_can_be_stated(self, tmp_path):
        source = write(tmp_path / "a.tab", self.text(0.02, 1.0))
        _, read = read_expression(source, tmp_path / "out", strand="forward")
        said, _ = read_expression(source, tmp_path / "out", strand="forward")
        assert read.values[0].tolist() == [int(READS[gene] * 0.02) for gene in read.genes]
        assert "The library looks reverse" in said["flags"][-1]["message"]
        with pytest.raises(InputRejected, match="unstranded, forward, reverse"):
            read_expression(source, tmp_path / "out", strand="sense")

    def test_of_gdc(self, tmp_path):
        _, read = read_expression(write(tmp_path / "a.tsv", GDC), tmp_path / "out", strand="reverse")
        assert set(read.values[0]) == {4.0}


class TestContainers:
    @pytest.mark.parametrize("transposed", [False, True])
    def test_a_workbook(self, usual, tmp_path, transposed):
        cells = [["gene", NAME], *([gene, int(value)] for gene, value in READS.items())]
        cells = list(map(list, zip(*cells, strict=True))) if transposed else cells
        book = workbook(("Notes", []), ("counts", [["Table S1: reads"], *cells]), ("Sheet3", []))
        said, finding = answer(write(tmp_path / "a.xlsx", book), tmp_path)
        assert said["orientation"] == ("samples_x_genes" if transposed else "genes_x_samples")
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    def test_a_workbook_of_several_sheets_needs_a_name(self, usual, tmp_path):
        cells = [["gene", NAME], *([gene, int(value)] for gene, value in READS.items())]
        source = write(tmp_path / "a.xlsx", workbook(("README", [["all", "is well"], [1, 2]]), ("reads", cells)))
        with pytest.raises(InputRejected, match="'README', 'reads'") as caught:
            read_expression(source, tmp_path / "out")
        assert caught.value.code == "several_sheets"
        assert answer(source, tmp_path, sheet="reads")[1].probabilities == pytest.approx(usual, abs=1e-12)
        with pytest.raises(InputRejected, match="no sheet 'x'"):
            read_expression(source, tmp_path / "out", sheet="x")

    @pytest.mark.parametrize("inner", ["tsv", "gz"])
    def test_a_zip_of_one_file(self, usual, tmp_path, inner):
        text = table({NAME: READS}).encode()
        data = text if inner == "tsv" else write(tmp_path / "b.gz", text).read_bytes()
        source = write(tmp_path / "a.zip", zipped({"counts.tsv": data, "__MACOSX/._counts.tsv": "x"}))
        assert answer(source, tmp_path)[1].probabilities == pytest.approx(usual, abs=1e-12)

    def test_what_geo_says_around_a_matrix_is_left_out(self, usual, tmp_path):
        text = '!Series_title\t"ALL"\n!Sample_geo_accession\t"GSM1"\n!series_matrix_table_begin\n'
        text += rows('"ID_REF"', '"GSM1"') + "!series_matrix_table_end\n"
        said, finding = answer(write(tmp_path / "GSE1_series_matrix.txt.gz", text), tmp_path)
        assert said["samples"] == ["GSM1"]
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    def test_blanks_between_quoted_cells_as_r_writes_them(self, usual, tmp_path):
        text = '"A1"\n' + "".join(f'"{gene}" {int(value)}\n' for gene, value in READS.items())
        assert answer(write(tmp_path / "a.txt", text), tmp_path)[1].probabilities == pytest.approx(usual, abs=1e-12)


class TestTracesOfOtherPrograms:
    def test_running_numbers_before_the_genes(self, usual, tmp_path):
        number = {gene: k for k, gene in enumerate(READS)}
        text = rows("", "gene", NAME, make=lambda g, v: (number[g], g, int(v)))
        said, finding = answer(write(tmp_path / "a.csv", text), tmp_path)
        assert codes(said) == ["dropped_columns", "ids_not_first"]
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    def test_running_numbers_above_the_header_as_transposing_twice_leaves_them(self, usual, tmp_path):
        text = "\t0\t1\n" + rows("index", NAME, "B2", make=lambda g, v: (g, int(v), 9))
        said, finding = answer(write(tmp_path / "a.tsv", text), tmp_path, sample=NAME)
        assert codes(said) == ["header_below"]
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    def test_running_numbers_before_the_samples(self, usual, tmp_path):
        lines = [["", "sample", *READS], ["0", NAME, *(str(int(value)) for value in READS.values())]]
        said, finding = answer(write(tmp_path / "a.csv", "\n".join(map(",".join, lines)) + "\n"), tmp_path)
        assert (said["samples"], said["orientation"]) == ([NAME], "samples_x_genes")
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    def test_columns_of_words_and_a_delimiter_at_the_end(self, usual, tmp_path):
        text = rows("gene", "comment", NAME, "", make=lambda g, v: (g, "checked by eye", int(v), ""))
        said, finding = answer(write(tmp_path / "a.tsv", text), tmp_path)
        assert said["flags"][0]["message"].endswith("comment, column 4.")
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)


ENTREZ = {gene: name for name, (gene, kind) in other_names().items() if kind == "entrez"}


class TestNames:
    def test_entrez_ids(self, usual, tmp_path):
        said, finding = answer(
            write(tmp_path / "a.tsv", table({NAME: {ENTREZ[g]: v for g, v in READS.items() if g in ENTREZ}})), tmp_path
        )
        assert said["id_type"] == "entrez"
        assert finding.probabilities == pytest.approx(usual, abs=0.01)  # one gene has no Entrez id
        assert finding.label == max(usual, key=usual.get)

    @pytest.mark.parametrize("make", ["{symbol}|{entrez}", "{gene}.7|{symbol}", "{symbol}|{gene}"])
    def test_names_with_a_bar_between(self, usual, tmp_path, make):
        symbols = known_symbols()
        sample = {
            make.format(symbol=symbols[gene] or "?", entrez=ENTREZ.get(gene, "?"), gene=gene): value
            for gene, value in READS.items()
        }
        finding = answer(write(tmp_path / "a.tsv", table({NAME: sample})), tmp_path)[1]
        assert finding.probabilities == pytest.approx(usual, abs=0.01)

    def test_older_symbols_and_aliases_are_understood_and_said(self, tmp_path):
        symbols = {v: k for k, v in named({g: g for g in READS}, "symbol").items()}
        older = {g: n for n, (g, kind) in sorted(other_names().items()) if kind == "previous" and g in symbols}
        assert len(older) > 500
        sample = {older.get(gene, symbol): READS[gene] for gene, symbol in symbols.items()}
        said, read = read_expression(write(tmp_path / "a.tsv", table({NAME: sample})), tmp_path / "out")
        assert dict(zip(read.genes, read.values[0], strict=True)) == {gene: READS[gene] for gene in symbols}
        assert codes(said) == ["older_symbols"]

    def test_an_alias_gives_way_to_the_gene_itself(self, tmp_path):
        sample, symbols = named(READS, "symbol"), known_symbols()
        older = {gene: name for name, (gene, kind) in other_names().items() if kind == "previous"}
        gene = next(gene for gene in READS if gene in older and symbols[gene] in sample)
        text = f"gene\tA1\n{older[gene]}\t123456\n" + rows(of=sample)
        said, read = read_expression(write(tmp_path / "a.tsv", text), tmp_path / "out")
        assert read.values[0, read.genes.index(gene)] == sample[symbols[gene]]
        assert said["flags"][0]["message"].endswith(f"left out: {older[gene]}.")

    def test_two_aliases_of_one_gene_are_refused(self, tmp_path):
        gene, first, second = next(
            (gene, *names)
            for gene in READS
            if len(names := [n for n, said in other_names().items() if said == (gene, "alias")][:2]) == 2
        )
        sample = {symbol: v for symbol, v in named(READS, "symbol").items() if symbol != known_symbols()[gene]}
        source = write(tmp_path / "a.tsv", f"gene\tA1\n{first}\t1\n{second}\t2\n" + rows(of=sample))
        with pytest.raises(InputRejected, match="line 3") as caught:
            read_expression(source, tmp_path / "out")
        assert caught.value.code == "duplicate_gene"

    def test_symbols_that_a_spreadsheet_made_dates_are_warned_of(self, usual, tmp_path):
        cells = [["gene", NAME], [dt.date(2024, 3, 1), 5], ["2-Sep", 7], ["2021-03-02", 8]]
        cells += [[gene, int(value)] for gene, value in READS.items()]
        said, finding = answer(write(tmp_path / "a.xlsx", workbook(("a", cells))), tmp_path)
        assert "dates: 1-Mar, 2-Sep, 2021-03-02. " in said["flags"][0]["message"]
        assert finding.probabilities == pytest.approx(usual, abs=1e-12)

    def test_hyphens_that_r_made_dots(self):
        hyphen = next(symbol for symbol in load_genes().symbols if "-" in symbol)
        assert find_gene(hyphen.replace("-", ".")) == find_gene(hyphen)


def test_fpkm_is_told_from_tpm_by_its_sum(tmp_path):
    whole = on_scale(READS, "tpm") | {f"ENSG{k:011d}": 50.0 for k in range(90_000_000, 90_010_000)}
    total = sum(whole.values())
    for factor, scale in ((1e6 / total, "tpm"), (4e5 / total, "fpkm")):
        sample = {gene: value * factor for gene, value in whole.items()}
        said, _ = read_expression(write(tmp_path / "a.tsv", table({NAME: sample})), tmp_path / "out")
        assert said["scales"] == [scale]


def test_a_thousand_samples_are_read_as_each_alone(tmp_path):
    rng = np.random.default_rng(0)
    many = rng.permutation(np.array(list(READS.values())))[:, None] * rng.integers(1, 9, (1, 1000))
    header = "\t".join(["gene", *(f"S{k}" for k in range(1000))])
    lines = [
        f"{gene}\t{chr(9).join(map(str, row.astype(int).tolist()))}" for gene, row in zip(READS, many, strict=True)
    ]
    source = write(tmp_path / "a.tsv", "\n".join([header, *lines]) + "\n")
    said, read = read_expression(source, tmp_path / "out", many=True)
    assert (len(said["samples"]), read.values.shape) == (1000, (1000, len(READS)))
    assert np.array_equal(read.values, many.T)
    assert len(said["quality"]) == 1000
