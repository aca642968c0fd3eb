"""The tables that counting programs write: which column holds the genes, which the values, and on what scale they are.

HTSeq and STAR write no header. Salmon, kallisto, RSEM, StringTie and GDC write several measures of one sample side by
side; tximport a block of columns for each measure; featureCounts the gene's place first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from genomics.expression.genes import is_gene
from genomics.tables import MISSING, NUMBER, Table
from ml.findings import InputRejected

COUNTER_ROWS = ("__", "N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
STRANDS = ("unstranded", "forward", "reverse")  # the columns of STAR in their order
MOSTLY = 0.25  # of the reads of one strand on the other: below, the library is stranded
PEEK = 40  # rows from which it is told what a column holds
ANNOTATION = {
    *("chr", "chromosome", "seqnames", "start", "end", "strand", "length", "effective_length", "effectivelength"),
    *(
        "eff_length",
        "gene_length",
        "width",
        "biotype",
        "gene_biotype",
        "gene_type",
        "gene_name",
        "symbol",
        "description",
    ),
    *("gene_symbol", "hgnc_symbol", "entrez", "entrezid", "entrez_id", "entrez_gene_id", "entrezgene_id", "gene_id"),
    *("ensembl_id", "ensembl_gene_id", "name", "transcript_id_s", "label", "class_code", "nearest_ref_id", "locus"),
    *("gene_short_name", "tss_id", "tracking_id", "coverage", "countsfromabundance"),
}
MEASURES: dict[str, tuple[set[str], dict[str, str]]] = {
    # program → the header cells that tell it, and scale → column
    "GDC STAR counts": (
        {"gene_id", "unstranded", "stranded_first", "stranded_second"},
        {"counts": "unstranded", "tpm": "tpm_unstranded", "fpkm": "fpkm_unstranded"},
    ),
    "Salmon": ({"name", "effectivelength", "tpm", "numreads"}, {"tpm": "tpm", "counts": "numreads"}),
    "kallisto": ({"eff_length", "est_counts", "tpm"}, {"tpm": "tpm", "counts": "est_counts"}),
    "RSEM": ({"expected_count", "tpm", "fpkm"}, {"tpm": "tpm", "counts": "expected_count", "fpkm": "fpkm"}),
    "StringTie": ({"gene_id", "coverage", "fpkm", "tpm"}, {"tpm": "tpm", "fpkm": "fpkm"}),
    "Cufflinks": ({"tracking_id", "fpkm", "fpkm_status"}, {"fpkm": "fpkm"}),
}
NAMES_OF_IDS = {"gene", "genes", "gene_id", "geneid", "sample", "samples", "sample_id", "index", "id", "ensembl_id"}
GDC_STRANDS = dict(zip(STRANDS, ("unstranded", "stranded_first", "stranded_second"), strict=True))
TXIMPORT = {"tpm": "abundance", "counts": "counts"}
FEATURE_COUNTS = {"geneid", "chr", "start", "end", "strand", "length"}
ALIGNED = re.compile(r"(\.?Aligned\.(sortedByCoord\.)?out)?\.(bam|sam|cram)$")
FILE_SUFFIX = re.compile(r"[._-]*(ReadsPerGene|quant|abundance|htseq|counts?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """Of a table with a gene a row: the ``ids`` column, the value ``columns`` with their ``samples``, what is left out.

    ``scale`` is what the program writes, None where any may be; ``notes`` are (code, sentence) for the person.
    """

    ids: int
    columns: list[int]
    samples: list[str]
    dropped: list[str]
    scale: str | None = None
    program: str = ""
    notes: list[tuple[str, str]] = field(default_factory=list)


def straighten(text: Table) -> tuple[Table, list[tuple[str, str]]]:
    """The table with a true header, and what was done to it: (code, sentence)."""
    cells = text.header
    if _without_header(text):
        numbers = [bool(NUMBER.fullmatch(cell)) for cell in cells[1:]]
        return text.with_header(["gene_id", *_names(text.name, numbers)]), []
    first = next(text.rows())[1]
    if is_run(cells[1:]) and (plain(first[0]) in NAMES_OF_IDS or not any(map(NUMBER.fullmatch, first[1:]))):
        sentence = "The header holds running numbers, as a twice transposed table has; the row below was taken for it."
        return text.without_header(), [("header_below", sentence)]
    return text, []


def _without_header(text: Table) -> bool:
    cells = text.header
    named = cells[0].startswith(COUNTER_ROWS) or is_gene(cells[0])
    return named and len(cells) > 1 and all(map(NUMBER.fullmatch, cells[-1:]))


def _names(file: str, numbers: list[bool]) -> list[str]:
    """Column names of a table without header: STAR's three strands, else the file's name; text is annotation."""
    if numbers == [True] * 3:
        return list(STRANDS)
    sample, many = file_sample(file), sum(numbers) > 1
    return [(f"{sample}_{k + 1}" if many else sample) if number else "gene_name" for k, number in enumerate(numbers)]


def file_sample(file: str) -> str:
    """The sample that a file of one sample is of: its name without what programs append to it."""
    stem = file.split(".", maxsplit=1)[0]
    return FILE_SUFFIX.sub("", stem) or stem


def is_run(cells: list[str]) -> bool:
    """Whether these are the running numbers from 0 or 1."""
    return len(cells) > 1 and cells[0] in ("0", "1") and cells == [str(int(cells[0]) + k) for k in range(len(cells))]


def plain(cell: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", cell.lower()).strip("_")


def peek(text: Table) -> list[list[str]]:
    return [cells for _, cells in islice(text.rows(), PEEK)]


def recognise(text: Table, ids: int, options: dict[str, Any]) -> Layout:
    """How the table with a gene a row and their names in column ``ids`` is laid out.

    ``options``: ``scale`` picks among a program's measures, ``strand`` (unstranded, forward, reverse) among STAR's and
    GDC's columns. Raises InputRejected (no_samples, wrong_scale, unknown_strand).
    """
    strand, names = options.get("strand"), [plain(cell) for cell in text.header]
    if strand is not None and strand not in STRANDS:
        raise InputRejected(
            "unknown_strand",
            place="option strand",
            problem=f"No strand {strand!r}.",
            remedy=f"One of: {', '.join(STRANDS)}.",
        )
    if tuple(text.header[1:]) == STRANDS:
        return _star(text, strand)
    for program, (marks, columns) in MEASURES.items():
        if marks <= set(names):
            taken = columns | ({"counts": GDC_STRANDS[strand]} if strand and "stranded_first" in marks else {})
            return _measured(text, ids, program, taken, options.get("scale"))
    if any(name.startswith("abundance_") for name in names) and any(name.startswith("counts_") for name in names):
        return _tximport(text, ids, names, options.get("scale"))
    return _matrix(text, ids, names)


def _star(text: Table, strand: str | None) -> Layout:
    """STAR's ReadsPerGene: all reads, reads of the first strand, of the second; the library tells which are meant."""
    rows = (line.split(text.delimiter)[1:4] for _, line in text.lines if not line.startswith(COUNTER_ROWS))
    reads = np.array([[float(c) for c in row] for row in rows if all(map(NUMBER.fullmatch, map(str.strip, row)))])
    sums = reads.sum(axis=0) if len(reads) else np.ones(3)
    one_sided = min(sums[1:]) < MOSTLY * max(sums[1:])
    found = STRANDS[1 + int(sums[2] > sums[1])] if one_sided else STRANDS[0]
    taken = strand or found
    shares = ", ".join(f"{name} {value:,.0f}" for name, value in zip(STRANDS, sums, strict=True))
    sentence = f"Of STAR's columns, {taken} was taken (reads on genes: {shares})."
    notes = [("strand", sentence + (f" The library looks {found}." if taken != found else ""))]
    columns = [1 + STRANDS.index(taken)]
    return Layout(0, columns, [file_sample(text.name)], [s for s in STRANDS if s != taken], "counts", "STAR", notes)


def _measured(text: Table, ids: int, program: str, columns: dict[str, str], scale: str | None) -> Layout:
    names = [plain(cell) for cell in text.header]
    there = {unit: names.index(column) for unit, column in columns.items() if column in names}
    unit = scale or next(iter(there))
    if unit not in there:
        raise _no_measure(text.name, program, unit, list(there))
    column = there[unit]
    dropped = [cell for k, cell in enumerate(text.header) if k not in (ids, column)]
    sample = text.name.split(".", maxsplit=1)[0] if program == "RSEM" else file_sample(text.name)
    return Layout(ids, [column], [sample], dropped, unit, program)


def _no_measure(file: str, program: str, unit: str, there: list[str]) -> InputRejected:
    return InputRejected(
        "wrong_scale",
        place=f"{file}, header",
        problem=f"A table of {program} has no {unit}; it has {', '.join(there)}.",
        remedy="State one of these scales, or none.",
    )


def _tximport(text: Table, ids: int, names: list[str], scale: str | None) -> Layout:
    """as.data.frame of tximport's list (Soneson et al. 2015, doi:10.12688/f1000research.7563.2)."""
    unit = scale or "tpm"
    if unit not in TXIMPORT:
        raise _no_measure(text.name, "tximport", unit, list(TXIMPORT))
    start = len(TXIMPORT[unit]) + 1
    columns = [k for k, name in enumerate(names) if k != ids and name.startswith(f"{TXIMPORT[unit]}_")]
    dropped = [cell for k, cell in enumerate(text.header) if k != ids and k not in columns]
    return Layout(ids, columns, [text.header[k][start:] for k in columns], dropped, unit, "tximport")


def _matrix(text: Table, ids: int, names: list[str]) -> Layout:
    """A column a sample, among annotation: known by name, or because no cell of its beginning is a number."""
    first = peek(text)
    others = [k for k in range(len(names)) if k != ids]
    columns = [k for k in others if names[k] not in ANNOTATION and not _is_text([row[k] for row in first])]
    columns = [k for k in columns if text.header[k] or any(row[k] for row in first)]  # a delimiter at the line's end
    if ids:  # what stands before the names of genes is a running number, or another name
        columns = [k for k in columns if k > ids or not is_run([row[k] for row in first])]
    if not columns:
        raise InputRejected(
            "no_samples",
            place=f"{text.name}, header",
            problem="No column of values.",
            remedy="Send one column a sample.",
        )
    counted = set(names) >= FEATURE_COUNTS
    samples = [_of_alignment(text.header[k]) if counted else text.header[k] for k in columns]
    dropped = [text.header[k] or f"column {k + 1}" for k in others if k not in set(columns)]
    return Layout(ids, columns, samples, dropped, "counts" if counted else None, "featureCounts" if counted else "")


def _is_text(cells: list[str]) -> bool:
    """No number and no missing number: a column of words."""
    return len(cells) > 1 and not any(
        NUMBER.fullmatch(cell.replace(",", ".")) or cell.lower() in MISSING or cell.lower().lstrip("+-") == "inf"
        for cell in cells
    )


def _of_alignment(header: str) -> str:
    """``/data/S1.Aligned.sortedByCoord.out.bam`` → ``S1``."""
    return ALIGNED.sub("", header.replace("\\", "/").rsplit("/", maxsplit=1)[-1]) or header
