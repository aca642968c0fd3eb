"""One text table → the genes of interest of its samples as sent, and what was counted over all its genes.

A bad cell is the fault of its sample alone: it is kept in ``refused``, and the reader decides what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from genomics.expression.found import Found, Tally, duplicate, panel_rows
from genomics.expression.genes import find_gene, foreign_kind, gene_share, is_gene
from genomics.expression.layouts import ANNOTATION, COUNTER_ROWS, Layout, is_run, peek, plain, recognise, straighten
from genomics.expression.scale import SampleFacts
from genomics.tables import NUMBER, Array, Table, find_decimal_comma, plain_numbers, to_numbers
from ml.findings import InputRejected

ENOUGH = 50  # names of genes from which a row or column is one of genes
BLOCK = 200_000  # cells that are turned into numbers at once
LOOKED = 5000  # rows in which the column of gene names is looked for
SAMPLE_COLUMNS = {"sample", "samples", "sample_id", "sampleid", "id", "index", "name", "barcode", "case", "patient"}


@dataclass(frozen=True)
class Raw:
    """``values`` (g, n): panel genes × samples as sent; ``refused``: sample → its first fault.

    ``others`` has every gene of interest, also those of the quality checks, (n,) each; ``scale`` is the layout's, where
    it has one; ``notes`` are lists of names, ``said`` sentences for the person by code.
    """

    samples: list[str]
    genes: list[str]
    values: Array
    others: dict[str, Array]
    facts: list[SampleFacts]
    notes: dict[str, list[str]]
    gene_names: list[str]
    refused: dict[str, InputRejected]
    scale: str | None = None
    program: str = ""
    said: tuple[tuple[str, str], ...] = ()

    def without(self, refused: dict[str, InputRejected]) -> Raw:
        kept = [k for k, sample in enumerate(self.samples) if sample not in refused]
        return replace(
            self,
            samples=[self.samples[k] for k in kept],
            values=self.values[:, kept],
            others={gene: values[kept] for gene, values in self.others.items()},
            facts=[self.facts[k] for k in kept],
        )


def parse(text: Table, options: dict[str, Any]) -> tuple[str, Raw]:
    """(orientation, what was read). ``options`` as for ``canonicalise``; only the samples wanted are parsed."""
    text, said = straighten(text)
    oriented, ids, gene_names = _orientation(text)
    if oriented == "genes_x_samples":
        layout = recognise(text, ids, options)
        if ids and any(plain(cell) not in ANNOTATION for cell in text.header[:ids]):
            sentence = (
                f"The genes are named in column {ids + 1} ({text.header[ids]!r}); what stands before was left out."
            )
            said.append(("ids_not_first", sentence))
        raw = _by_gene(text, layout, options)
        said += layout.notes
    else:
        raw = _by_sample(text, options)
    return oriented, replace(raw, said=tuple(said), gene_names=gene_names)


def unknown_sample(sample: str, samples: list[str]) -> InputRejected:
    shown = ", ".join(samples[:5]) + (" …" if len(samples) > 5 else "")
    return InputRejected(
        "unknown_sample",
        place="option sample",
        problem=f"The file has no sample {sample!r}; it has {shown}.",
        remedy="Name one of them.",
    )


def _orientation(text: Table) -> tuple[str, int, list[str]]:
    """(orientation, column of the gene names, gene names); genes need not be in the first column."""
    header, first = text.header[1:], text.first_cells()
    across, down = (0.0 if is_run(names) else gene_share(names) for names in (header, first))  # 1, 2, 3 are Entrez too
    if max(across * len(header), down * len(first)) >= ENOUGH:
        if min(across, down) > 0.5 and min(len(header), len(first)) >= ENOUGH:
            raise _genes_twice(text.name)
        by_sample = across * len(header) > down * len(first)
        return ("samples_x_genes", 0, header) if by_sample else ("genes_x_samples", 0, first)
    rows = [cells for _, cells in islice(text.rows(), LOOKED)]
    for column in range(1, min(4, len(text.header))):
        names = [cells[column] for cells in rows]
        by_number = "entrez" in plain(text.header[column])  # elsewhere a number is a value
        if sum(is_gene(name) for name in names if by_number or not name.isdigit()) >= ENOUGH:
            return "genes_x_samples", column, names
    names = max(header, first, key=len)
    what, remedy = foreign_kind(names) or ("ids that are not known here", "Send Ensembl gene ids or gene symbols.")
    raise InputRejected(
        "unknown_id_type",
        place=f"{text.name}, {'header' if names is header else 'column 1'}",
        problem=f"The genes are named by {what} (first: {names[0]!r}).",
        remedy=remedy,
    )


def _genes_twice(name: str) -> InputRejected:
    return InputRejected(
        "genes_twice",
        place=f"{name}, header and column 1",
        problem="Both the header and the first column hold names of genes, and nothing names the samples.",
        remedy="Send a table with genes one way and samples the other.",
    )


# --- a gene a row -----------------------------------------------------------------------------------------------------


def _by_gene(text: Table, layout: Layout, options: dict[str, Any]) -> Raw:
    _check_names(layout, text.name)
    chosen = _choose(layout.samples, options, text.name, [text.header[k] for k in layout.columns])
    keep, samples = [layout.columns[k] for k in chosen], [layout.samples[k] for k in chosen]
    comma = find_decimal_comma(text, keep)
    tally, found = Tally(len(samples)), Found()
    refused: dict[str, InputRejected] = {}
    for block in _blocks(text.rows(strip=False), max(1, BLOCK // len(keep))):
        rows = [(number, cells) for number, cells in block if not cells[layout.ids].lstrip().startswith(COUNTER_ROWS)]
        names = [cells[layout.ids].strip() for _, cells in rows]
        places = [f"{text.name}, line {row[0]} ({name})" for row, name in zip(rows, names, strict=True)]
        values = _numbers([[cells[k] for k in keep] for _, cells in rows], samples, places, refused, comma=comma)
        if rows:
            tally.add(values, places)
        for name, row, place in zip(names, values, places, strict=True):
            found.add(name, row, place)
    rows_of, notes = found.result()
    genes, matrix = panel_rows(rows_of, len(samples))
    facts = [
        _placed(said, *(f"{at}, column {said.name!r}" for at in (said.largest_at, said.smallest_at)))
        for said in tally.facts(samples)
    ]
    notes |= {"dropped": layout.dropped}
    return Raw(samples, genes, matrix, rows_of, facts, notes, [], refused, layout.scale, layout.program)


def _check_names(layout: Layout, file: str) -> None:
    seen: dict[str, int] = {}
    for column, sample in zip(layout.columns, layout.samples, strict=True):
        place = f"{file}, header, column {column + 1}"
        if not sample:
            raise InputRejected(
                "unnamed_sample",
                place=place,
                problem="The column has values and no name.",
                remedy="Name each column after its sample.",
            )
        if sample in seen:
            raise duplicate("sample", sample, place, f"{file}, header, column {seen[sample] + 1}")
        seen[sample] = column


def _blocks(rows: Iterable[tuple[int, list[str]]], size: int) -> Iterator[list[tuple[int, list[str]]]]:
    rows = iter(rows)
    while block := list(islice(rows, size)):
        yield block


def _choose(names: list[str], options: dict[str, Any], file: str, as_written: list[str]) -> list[int]:
    """The positions of the samples that ``options`` ask for, by their name or as the header writes it."""
    sample = options.get("sample")
    if sample is not None:
        known = names if sample in names else as_written
        if sample not in known:
            raise unknown_sample(sample, names)
        return [known.index(sample)]
    if len(names) > 1 and not options.get("many"):
        raise InputRejected(
            "several_samples",
            place=file,
            problem=f"The table has {len(names)} samples; a case takes one.",
            remedy=f"Name it with the option `sample` (for example {names[0]!r}), or send a table of one sample.",
        )
    return list(range(len(names)))


def _numbers(
    rows: list[list[str]], samples: list[str], places: list[str], refused: dict[str, InputRejected], *, comma: bool
) -> Array:
    """(b, n) values of b genes; 0 where a sample's cell is no number, and the sample is then in ``refused``."""
    values = None if comma else plain_numbers([cell for row in rows for cell in row])
    if values is not None:
        return values.reshape(len(rows), len(samples))
    cells = ([cell.strip() for cell in row] for row in rows)
    each = [_row(row, samples, place, refused, comma=comma) for row, place in zip(cells, places, strict=True)]
    return np.array(each).reshape(len(rows), len(samples))


def _row(cells: list[str], samples: list[str], place: str, refused: dict[str, InputRejected], *, comma: bool) -> Array:
    try:
        return to_numbers(cells, samples, place, decimal_comma=comma)
    except InputRejected:
        values = np.zeros(len(cells))
    for k, (cell, sample) in enumerate(zip(cells, samples, strict=True)):
        if sample not in refused:
            try:
                values[k] = to_numbers([cell], [sample], place, decimal_comma=comma)[0]
            except InputRejected as fault:
                refused[sample] = fault
    return values


# --- a sample a row ---------------------------------------------------------------------------------------------------


def _by_sample(text: Table, options: dict[str, Any]) -> Raw:
    named, keep = _gene_columns(text)
    names, of_file = [text.header[k] for k in keep], _sample_names(text, named)
    chosen = sorted(_choose(of_file, options, text.name, of_file))
    samples = [of_file[k] for k in chosen]
    interest = [k for k, name in enumerate(names) if find_gene(name)]
    values = np.zeros((len(samples), len(interest)))
    facts: list[Any] = []
    refused: dict[str, InputRejected] = {}
    comma, wanted = find_decimal_comma(text, keep), set(samples)
    for number, cells in text.rows(strip=False):
        if (sample := cells[named].strip()) in wanted:
            place = f"{text.name}, line {number} ({sample})"
            row = _sample_row([cells[k] for k in keep], names, place, sample, refused, comma=comma)
            tally = Tally(1)
            tally.add(row[:, None], names)
            values[len(facts)] = row[interest]
            said = tally.facts([sample])[0]
            facts.append(_placed(said, *(f"{place}, column {at!r}" for at in (said.largest_at, said.smallest_at))))
    rows, notes = _gather(text, keep, names, dict(zip(interest, values.T, strict=True)))
    genes, matrix = panel_rows(rows, len(samples))
    dropped = [text.header[k] or f"column {k + 1}" for k in range(len(text.header)) if k not in {named, *keep}]
    return Raw(samples, genes, matrix, rows, facts, notes | {"dropped": dropped}, [], refused)


def _gene_columns(text: Table) -> tuple[int, list[int]]:
    """(column of the sample names, columns of genes)."""
    header, first = text.header, peek(text)[0]
    named = int(len(header) > 1 and plain(header[1]) in SAMPLE_COLUMNS and not find_gene(header[1]))
    keep = [
        k
        for k in range(named + 1, len(header))
        if (header[k] and plain(header[k]) not in ANNOTATION)
        or (find_gene(header[k]) and NUMBER.fullmatch(first[k].replace(",", ".")))
    ]
    return named, keep


def _sample_names(text: Table, named: int) -> list[str]:
    names = [cells[named] for _, cells in text.rows()] if named else text.first_cells()
    seen: dict[str, str] = {}
    for (number, _), name in zip(text.lines, names, strict=True):
        place = f"{text.name}, line {number}"
        if name in seen:
            raise duplicate("sample", name, place, seen[name])
        seen[name] = place
    return names


def _sample_row(
    cells: list[str], names: list[str], place: str, sample: str, refused: dict[str, InputRejected], *, comma: bool
) -> Array:
    """The values of one sample (all its genes); 0 where it has a fault, and it is then in ``refused``."""
    values = None if comma else plain_numbers(cells)
    if values is not None:
        return values
    try:
        return to_numbers([cell.strip() for cell in cells], names, place, decimal_comma=comma)
    except InputRejected as fault:
        refused[sample] = fault
        return np.zeros(len(cells))


def _placed(facts: SampleFacts, largest_at: str, smallest_at: str) -> SampleFacts:
    return replace(facts, largest_at=largest_at, smallest_at=smallest_at)


def _gather(
    text: Table, keep: list[int], names: list[str], of_interest: dict[int, Array]
) -> tuple[dict[str, Array], dict[str, list[str]]]:
    found, nothing = Found(), np.zeros(0)
    for k, (column, name) in enumerate(zip(keep, names, strict=True)):
        found.add(name, of_interest.get(k, nothing), f"{text.name}, header, column {column + 1}")
    return found.result()
