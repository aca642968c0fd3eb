"""One text table → the panel genes of its samples as sent, and what was counted over all its genes.

A bad cell is the fault of its sample alone: it is kept in ``refused``, and the reader decides what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genomics.expression.genes import foreign_kind, gene_share, panel_gene
from genomics.expression.scale import BASES, LARGEST_LOG, SampleFacts
from genomics.tables import Array, Table, to_numbers, uses_decimal_comma
from ml.findings import InputRejected

ANNOTATION = {
    *("chr", "chromosome", "start", "end", "strand", "length", "effective_length", "gene_length", "biotype"),
    *("gene_biotype", "gene_type", "gene_name", "symbol", "gene_symbol", "description", "entrez", "entrezid", "name"),
    *("transcript_id(s)", "label"),
}
LOG_BASES = np.log(list(BASES.values()))
RSEM = {"expected_count", "tpm", "fpkm"}
COUNTER_ROWS = ("__", "N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")


@dataclass(frozen=True)
class Raw:
    """``values`` (g, n): panel genes × samples as sent; ``refused``: sample → its first fault."""

    samples: list[str]
    genes: list[str]
    values: Array
    facts: list[SampleFacts]
    notes: dict[str, list[str]]
    gene_names: list[str]
    refused: dict[str, InputRejected]

    def without(self, refused: dict[str, InputRejected]) -> Raw:
        kept = [k for k, sample in enumerate(self.samples) if sample not in refused]
        return replace(
            self,
            samples=[self.samples[k] for k in kept],
            values=self.values[:, kept],
            facts=[self.facts[k] for k in kept],
        )


def parse(text: Table, options: dict[str, Any]) -> tuple[str, Raw]:
    """(orientation, what was read). ``options`` as for ``canonicalise``; only the samples wanted are parsed."""
    oriented = _orientation(text)
    return oriented, (_by_gene if oriented == "genes_x_samples" else _by_sample)(text, options)


def unknown_sample(sample: str, samples: list[str]) -> InputRejected:
    shown = ", ".join(samples[:5]) + (" …" if len(samples) > 5 else "")
    return InputRejected(
        "unknown_sample",
        place="option sample",
        problem=f"The file has no sample {sample!r}; it has {shown}.",
        remedy="Name one of them.",
    )


def _orientation(text: Table) -> str:
    header, first = text.header[1:], text.first_cells()
    across, down = gene_share(header), gene_share(first)
    if max(across * len(header), down * len(first)) < 50:
        names = max(header, first, key=len)
        what, remedy = foreign_kind(names) or ("ids that are not known here", "Send Ensembl gene ids or gene symbols.")
        raise InputRejected(
            "unknown_id_type",
            place=f"{text.name}, {'header' if names is header else 'column 1'}",
            problem=f"The genes are named by {what} (first: {names[0]!r}).",
            remedy=remedy,
        )
    return "samples_x_genes" if across * len(header) > down * len(first) else "genes_x_samples"


def _check_unique(names: list[str], what: str, places: list[str]) -> None:
    seen: dict[str, str] = {}
    for name, place in zip(names, places, strict=True):
        if name in seen:
            raise InputRejected(
                f"duplicate_{what}",
                place=place,
                problem=f"The {what} {name!r} is there twice (first: {seen[name]}).",
                remedy=f"Keep one row or column for each {what}.",
            )
        seen[name] = place


def _data_columns(header: list[str], name: str) -> tuple[list[int], list[str], list[str]]:
    """Of a genes × samples header: (columns with values, their sample names, the columns left out)."""
    lower = [cell.lower() for cell in header]
    if set(lower) >= RSEM:
        return [lower.index("tpm")], [name.split(".", maxsplit=1)[0]], [h for h in header[1:] if h.lower() != "tpm"]
    keep = [k for k in range(1, len(header)) if lower[k] not in ANNOTATION]
    return keep, [header[k] for k in keep], [header[k] for k in range(1, len(header)) if lower[k] in ANNOTATION]


class _Counter:
    """Counts over all genes of each sample, gene by gene."""

    def __init__(self, n: int) -> None:
        self.genes = 0
        self.total, self.positive, self.whole = np.zeros(n), np.zeros(n, int), np.zeros(n, int)
        self.largest, self.smallest = np.full(n, -np.inf), np.full(n, np.inf)
        self.unlogged = np.zeros((n, len(BASES)))

    def add(self, values: Array) -> None:
        self.genes += 1
        self.total += values
        self.positive += values > 0
        self.whole += (values > 0) & (values == np.round(values))
        self.largest, self.smallest = np.maximum(self.largest, values), np.minimum(self.smallest, values)
        self.unlogged += np.expm1(np.outer(np.minimum(values, LARGEST_LOG), LOG_BASES))

    def facts(self, samples: list[str]) -> list[SampleFacts]:
        return [
            SampleFacts(
                name=name,
                genes=self.genes,
                total=float(self.total[k]),
                largest=float(self.largest[k]),
                smallest=float(self.smallest[k]),
                positive=int(self.positive[k]),
                whole=int(self.whole[k]),
                unlogged=tuple(self.unlogged[k].tolist()),
            )
            for k, name in enumerate(samples)
        ]


def _by_gene(text: Table, options: dict[str, Any]) -> Raw:
    columns, names, dropped = _data_columns(text.header, text.name)
    if not names:
        raise InputRejected(
            "no_samples",
            place=f"{text.name}, header",
            problem="No column of values.",
            remedy="Send one column a sample.",
        )
    _check_unique(names, "sample", [f"{text.name}, header, column {k + 1}" for k in columns])
    chosen = _choose(names, options, text.name)
    keep, samples = [columns[k] for k in chosen], [names[k] for k in chosen]
    counter, found = _Counter(len(samples)), _Found()
    refused: dict[str, InputRejected] = {}
    comma: bool | None = None
    for number, cells in text.rows():
        if cells[0].startswith(COUNTER_ROWS):
            continue
        place = f"{text.name}, line {number} ({cells[0]})"
        said = [cells[k] for k in keep]
        if not comma and text.delimiter != ",":
            comma = uses_decimal_comma(said, place)
        values = _numbers(said, samples, place, refused, decimal_comma=bool(comma))
        counter.add(values)
        found.add(cells[0], values, place)
    genes, matrix, notes = found.result()
    return Raw(samples, genes, matrix, counter.facts(samples), notes | {"dropped": dropped}, found.names, refused)


def _choose(names: list[str], options: dict[str, Any], file: str) -> list[int]:
    """The positions of the samples that ``options`` ask for."""
    sample = options.get("sample")
    if sample is not None and sample not in names:
        raise unknown_sample(sample, names)
    if sample is not None:
        return [names.index(sample)]
    if len(names) > 1 and not options.get("many"):
        raise InputRejected(
            "several_samples",
            place=file,
            problem=f"The table has {len(names)} samples; a case takes one.",
            remedy=f"Name it with the option `sample` (for example {names[0]!r}), or send a table of one sample.",
        )
    return list(range(len(names)))


def _numbers(
    cells: list[str], samples: list[str], place: str, refused: dict[str, InputRejected], *, decimal_comma: bool
) -> Array:
    """The values of one gene; 0 where a sample's cell is no number, and the sample is then in ``refused``."""
    try:
        return to_numbers(cells, samples, place, decimal_comma=decimal_comma)
    except InputRejected:
        values = np.zeros(len(cells))
    for k, (cell, sample) in enumerate(zip(cells, samples, strict=True)):
        if sample not in refused:
            try:
                values[k] = to_numbers([cell], [sample], place, decimal_comma=decimal_comma)[0]
            except InputRejected as fault:
                refused[sample] = fault
    return values


class _Found:
    """Panel genes as they come; Ensembl versions and PAR_Y copies of one gene are summed, other repeats rejected."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.names: list[str] = []
        self.rows: dict[str, Array] = {}
        self.summed: list[str] = []

    def add(self, name: str, values: Array, place: str) -> None:
        gene = panel_gene(name)
        if name in self.places and (gene or name.startswith("ENSG")):
            _check_unique([name, name], "gene", [self.places[name], place])
        self.places[name] = place
        self.names.append(name)
        if gene is None:
            return
        if gene in self.rows and not name.startswith("ENSG"):
            _check_unique([gene, gene], "gene", ["an older symbol of the same gene", place])
        if gene in self.rows:
            self.summed.append(gene)
        self.rows[gene] = self.rows[gene] + values if gene in self.rows else values

    def result(self) -> tuple[list[str], Array, dict[str, list[str]]]:
        return list(self.rows), np.array(list(self.rows.values())), {"summed": self.summed}


def _by_sample(text: Table, options: dict[str, Any]) -> Raw:
    header = text.header[1:]
    first_row = next(text.rows())[1]
    keep = [k for k, h in enumerate(header, start=1) if not (h.lower() in ANNOTATION and not _is_gene(h, first_row[k]))]
    names, of_file = [text.header[k] for k in keep], text.first_cells()
    _check_unique(of_file, "sample", [f"{text.name}, line {number}" for number, _ in text.lines])
    samples = [of_file[k] for k in _choose(of_file, options, text.name)]
    values, refused = np.zeros((len(samples), len(names))), {}
    row_of = {sample: k for k, sample in enumerate(samples)}
    for number, cells in text.rows():
        if cells[0] in row_of:
            place, said = f"{text.name}, line {number} ({cells[0]})", [cells[k] for k in keep]
            try:
                comma = text.delimiter != "," and uses_decimal_comma(said, place)
                values[row_of[cells[0]]] = to_numbers(said, names, place, decimal_comma=comma)
            except InputRejected as fault:
                refused[cells[0]] = fault
    counter, found = _Counter(len(samples)), _Found()
    for k, name in enumerate(names):
        counter.add(values[:, k])
        found.add(name, values[:, k], f"{text.name}, header, column {keep[k] + 1}")
    genes, matrix, notes = found.result()
    dropped = [h for k, h in enumerate(header, start=1) if k not in set(keep)]
    return Raw(samples, genes, matrix, counter.facts(samples), notes | {"dropped": dropped}, names, refused)


def _is_gene(header: str, cell: str) -> bool:
    return panel_gene(header) is not None and cell.replace(".", "", 1).isdigit()
