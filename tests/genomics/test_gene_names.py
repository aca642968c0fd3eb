"""Names of genes: how the table of them is derived from HGNC's, and what the shipped one holds."""

from __future__ import annotations

import gzip

import pytest

from genomics.expression.genes import find_gene, is_gene, known_symbols, load_genes
from genomics.expression.names import NAME_TABLE, other_names, quality_genes, undated, write_gene_names

HGNC = """hgnc_id\tsymbol\talias_symbol\tprev_symbol\tentrez_id\tensembl_gene_id
HGNC:1\tNEW1\t"A1|SHARED|NEW2"\tOLD1\t11\tENSG00000000001
HGNC:2\tNEW2\tSHARED|OLD1|A2\tOLD2|TWICE\t22\tENSG00000000002
HGNC:3\tNEW3\tA3\tTWICE\t33\tENSG00000000003
"""


def test_a_name_counts_only_if_it_means_one_gene(tmp_path):
    source, target = tmp_path / "hgnc_complete_set.txt", tmp_path / "names.csv.gz"
    source.write_text(HGNC, "utf-8")
    known = {"ENSG00000000001": "NEW1", "ENSG00000000002": "ENSEMBL2"}
    assert write_gene_names(source, known, target) == 7
    lines = gzip.decompress(target.read_bytes()).decode().splitlines()
    assert lines == [
        "name,ensembl_id,kind",
        "A1,ENSG00000000001,alias",
        "11,ENSG00000000001,entrez",
        "OLD1,ENSG00000000001,previous",
        "A2,ENSG00000000002,alias",
        "22,ENSG00000000002,entrez",
        "OLD2,ENSG00000000002,previous",
        "NEW2,ENSG00000000002,symbol",
    ]


def test_the_shipped_table_knows_the_genes_of_interest_and_no_other():
    genes = {gene for gene, _ in other_names().values()}
    assert genes <= set(load_genes().position) | set(quality_genes())
    entrez = {gene for gene, kind in other_names().values() if kind == "entrez"}
    assert len(set(load_genes().ids) - entrez) <= 1
    assert NAME_TABLE.stat().st_size < 100_000
    symbols = {symbol for symbol in known_symbols().values() if symbol}
    assert not [name for name in symbols & set(other_names()) if known_symbols()[other_names()[name][0]] != name]


@pytest.mark.parametrize(
    ("name", "gene", "kind"),
    [
        ("ENSG00000177455", "ENSG00000177455", "ensembl"),
        ("ENSG00000177455.14", "ENSG00000177455", "ensembl"),
        ("CD19", "ENSG00000177455", "symbol"),
        ("930", "ENSG00000177455", "entrez"),
        ("CD19|930", "ENSG00000177455", "symbol"),
        ("ENSG00000177455.15_CD19", "ENSG00000177455", "ensembl"),
        ("ENSG00000177455:CD19", "ENSG00000177455", "ensembl"),
        ("ENST00000324662.8|ENSG00000177455.15|-", "ENSG00000177455", "transcript"),
        ("GRASP", "ENSG00000161835", "previous"),
        ("RPS4Y1", "ENSG00000129824", "symbol"),
        ("6192", "ENSG00000129824", "entrez"),
    ],
)
def test_genes_are_found_by_any_of_their_names(name, gene, kind):
    assert find_gene(name) == (gene, kind)
    assert is_gene(name)


@pytest.mark.parametrize(
    "name", ["Cd19", "", "ENSMUSG00000030724", "9300000000", "1-Mar", "ENST00000324662", "|", "?|?"]
)
def test_what_is_no_gene_of_interest_is_not_found(name):
    assert find_gene(name) is None


@pytest.mark.parametrize(
    ("date", "symbols"),
    [
        ("1-Mar", ["MARCH1", "MARC1"]),
        ("3-Mar", ["MARCH3"]),
        ("Mar-03", ["MARCH3"]),
        ("2-Sep", ["SEPT2"]),
        ("02-Sep-24", ["SEPT2"]),
        ("15-Sep", ["SEP15"]),
        ("2023-09-07", ["SEPT7"]),
        ("2023-12-01 00:00:00", ["DEC1"]),
        ("5-May", []),
        ("30-Mar", []),
        ("DECTIN-1", []),
        ("MARCH3", []),
    ],
)
def test_dates_and_the_symbols_that_they_were(date, symbols):
    assert undated(date) == symbols
