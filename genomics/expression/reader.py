"""Expression tables of any laboratory → panel genes × samples, linear, with everything that was found out stated."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genomics.expression.genes import foreign_kind, gene_share, id_type, load_genes, panel_gene
from genomics.expression.scale import (
    BASES,
    LARGEST_LOG,
    MIN_MARGIN,
    SCALES,
    SampleFacts,
    check_values,
    find_scale,
    is_per_length,
    split_scale,
    to_linear,
)
from genomics.tables import Array, Table, read_table, to_numbers, uses_decimal_comma
from ml.findings import InputRejected, QualityFlag

if TYPE_CHECKING:
    from pathlib import Path

MIN_OVERLAP = 0.6  # of the lineage panel
ANNOTATION = {
    *("chr", "chromosome", "start", "end", "strand", "length", "effective_length", "gene_length", "biotype"),
    *("gene_biotype", "gene_type", "gene_name", "symbol", "gene_symbol", "description", "entrez", "entrezid", "name"),
    *("transcript_id(s)", "label"),
}
LOG_BASES = np.log(list(BASES.values()))
RSEM = {"expected_count", "tpm", "fpkm"}
COUNTER_ROWS = ("__", "N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")


@dataclass(frozen=True)
class ExpressionTable:
    """Samples × panel genes. ``values`` (n, g) are linear; a gene that the file does not have is not among ``genes``.

    ``scales`` has one scale a sample; TPM and FPKM are per length, counts and CPM are not.
    """

    samples: tuple[str, ...]
    genes: tuple[str, ...]
    values: Array
    scales: tuple[str, ...]
    flags: tuple[QualityFlag, ...] = ()

    def only(self, sample: str) -> ExpressionTable:
        """The table of one sample. InputRejected (unknown_sample) where there is none of that name."""
        if sample not in self.samples:
            shown = ", ".join(self.samples[:5]) + (" …" if len(self.samples) > 5 else "")
            raise InputRejected(
                "unknown_sample",
                place="option sample",
                problem=f"The file has no sample {sample!r}; it has {shown}.",
                remedy="Name one of them.",
            )
        k = self.samples.index(sample)
        return replace(self, samples=(sample,), values=self.values[k : k + 1], scales=(self.scales[k],))

    def each(self) -> list[ExpressionTable]:
        return [self.only(sample) for sample in self.samples]


@dataclass(frozen=True)
class _Raw:
    """As parsed: panel genes × samples as sent, and what was counted over all genes."""

    samples: list[str]
    genes: list[str]
    values: Array
    facts: list[SampleFacts]
    notes: dict[str, list[str]]
    gene_names: list[str]


def canonicalise(source: Path, target_dir: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Read the table ``source`` and write ``expression.npz`` and ``expression.json`` to ``target_dir``.

    Options: ``sample`` (take this one), ``many`` (true: several samples are welcome), ``scale`` (one of SCALES).
    Returns {scale, scales, id_type, orientation, samples, genes, overlap, flags}. Raises InputRejected.
    """
    stated = options.get("scale")
    if stated is not None and stated not in SCALES:
        raise InputRejected(
            "unknown_scale",
            place="option scale",
            problem=f"No scale {stated!r}.",
            remedy=f"One of: {', '.join(SCALES)}.",
        )
    text = read_table(source)
    oriented = _orientation(text)
    raw = _take_sample(_by_gene(text) if oriented == "genes_x_samples" else _by_sample(text), options, source.name)
    for facts in raw.facts:
        check_values(facts, stated, source.name)
    overlap = _overlap(raw.genes, source.name)
    table, flags = _canonical(raw, stated)
    np.savez_compressed(
        target_dir / "expression.npz", values=table.values, genes=np.array(table.genes), samples=np.array(table.samples)
    )
    summary = {
        "scale": stated or Counter(table.scales).most_common(1)[0][0],
        "scales": list(table.scales),
        "scale_stated": stated is not None,
        "id_type": id_type(raw.gene_names),
        "orientation": oriented,
        "samples": list(table.samples),
        "genes": raw.facts[0].genes,
        "overlap": overlap,
        "flags": [asdict(flag) for flag in flags],
    }
    (target_dir / "expression.json").write_text(json.dumps(summary, ensure_ascii=False), "utf-8")
    return summary


def load_canonical(target_dir: Path) -> ExpressionTable:
    """What ``canonicalise`` wrote to ``target_dir``."""
    said = json.loads((target_dir / "expression.json").read_text("utf-8"))
    with np.load(target_dir / "expression.npz", allow_pickle=False) as kept:
        return ExpressionTable(
            samples=tuple(str(s) for s in kept["samples"]),
            genes=tuple(str(g) for g in kept["genes"]),
            values=np.asarray(kept["values"], dtype=np.float64),
            scales=tuple(said["scales"]),
            flags=tuple(QualityFlag(**flag) for flag in said["flags"]),
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
        columns = (self.total, self.largest, self.smallest, self.positive, self.whole)
        return [
            SampleFacts(s, self.genes, *(c[k].item() for c in columns), tuple(self.unlogged[k].tolist()))
            for k, s in enumerate(samples)
        ]


def _by_gene(text: Table) -> _Raw:
    keep, samples, dropped = _data_columns(text.header, text.name)
    if not samples:
        raise InputRejected(
            "no_samples",
            place=f"{text.name}, header",
            problem="No column of values.",
            remedy="Send one column a sample.",
        )
    _check_unique(samples, "sample", [f"{text.name}, header, column {k + 1}" for k in keep])
    counter, found = _Counter(len(samples)), _Found()
    comma: bool | None = None
    for number, cells in text.rows():
        if cells[0].startswith(COUNTER_ROWS):
            continue
        place = f"{text.name}, line {number} ({cells[0]})"
        said = [cells[k] for k in keep]
        if not comma and text.delimiter != ",":
            comma = uses_decimal_comma(said, place)
        values = to_numbers(said, samples, place, decimal_comma=bool(comma))
        counter.add(values)
        found.add(cells[0], values, place)
    genes, matrix, notes = found.result()
    return _Raw(samples, genes, matrix, counter.facts(samples), notes | {"dropped": dropped}, found.names)


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


def _by_sample(text: Table) -> _Raw:
    header = text.header[1:]
    first_row = next(text.rows())[1]
    keep = [k for k, h in enumerate(header, start=1) if not (h.lower() in ANNOTATION and not _is_gene(h, first_row[k]))]
    names, samples, rows = [text.header[k] for k in keep], [], []
    for number, cells in text.rows():
        place = f"{text.name}, line {number} ({cells[0]})"
        said = [cells[k] for k in keep]
        comma = text.delimiter != "," and uses_decimal_comma(said, place)
        rows.append(to_numbers(said, names, place, decimal_comma=comma))
        samples.append(cells[0])
    _check_unique(samples, "sample", [f"{text.name}, line {number}" for number, _ in text.lines])
    values, counter, found = np.array(rows), _Counter(len(samples)), _Found()
    for k, name in enumerate(names):
        counter.add(values[:, k])
        found.add(name, values[:, k], f"{text.name}, header, column {keep[k] + 1}")
    genes, matrix, notes = found.result()
    dropped = [h for k, h in enumerate(header, start=1) if k not in set(keep)]
    return _Raw(samples, genes, matrix, counter.facts(samples), notes | {"dropped": dropped}, names)


def _is_gene(header: str, cell: str) -> bool:
    return panel_gene(header) is not None and cell.replace(".", "", 1).isdigit()


def _take_sample(raw: _Raw, options: dict[str, Any], name: str) -> _Raw:
    sample = options.get("sample")
    if sample is None and len(raw.samples) > 1 and not options.get("many"):
        raise InputRejected(
            "several_samples",
            place=name,
            problem=f"The table has {len(raw.samples)} samples; a case takes one.",
            remedy=f"Name it with the option `sample` (for example {raw.samples[0]!r}), or send a table of one sample.",
        )
    if sample is None:
        return raw
    if sample not in raw.samples:
        ExpressionTable(tuple(raw.samples), (), np.empty((len(raw.samples), 0)), ()).only(sample)
    k = raw.samples.index(sample)
    return replace(raw, samples=[sample], values=raw.values[:, k : k + 1], facts=[raw.facts[k]])


def _overlap(genes: list[str], name: str) -> dict[str, float]:
    present = set(genes)
    overlap = {p: len(present.intersection(ids)) / len(ids) for p, ids in load_genes().panels.items()}
    if overlap["lineage_panel"] < MIN_OVERLAP:
        raise InputRejected(
            "too_few_genes",
            place=name,
            problem=f"The table has {overlap['lineage_panel']:.0%} of the genes that tell the lineages apart; "
            f"{MIN_OVERLAP:.0%} are needed.",
            remedy="Send the complete gene table, with Ensembl gene ids or current gene symbols.",
        )
    return overlap


def _canonical(raw: _Raw, stated: str | None) -> tuple[ExpressionTable, list[QualityFlag]]:
    genes = load_genes()
    position = np.array([genes.position[g] for g in raw.genes])
    values, scales, unsure = np.empty((len(raw.samples), len(raw.genes))), [], []
    for k, facts in enumerate(raw.facts):
        scale, margin = (stated, 1.0) if stated else find_scale(raw.values[:, k], position, facts)
        if raw.notes["summed"] and split_scale(scale)[0] is not None:
            raise _summed_logs(raw.notes["summed"][0], facts.name)
        scales.append(scale)
        values[k] = to_linear(raw.values[:, k], scale)
        unsure += [facts.name] * (margin < MIN_MARGIN)
    flags = _flags(raw, scales, unsure)
    return ExpressionTable(tuple(raw.samples), tuple(raw.genes), values, tuple(scales), tuple(flags)), flags


def _summed_logs(gene: str, sample: str) -> InputRejected:
    return InputRejected(
        "duplicate_gene",
        place=f"sample {sample!r}, gene {gene}",
        problem="Several versions of this gene are in the table, and logarithms cannot be added.",
        remedy="Keep one version of each gene, or send counts or TPM without logarithm.",
    )


def _flags(raw: _Raw, scales: list[str], unsure: list[str]) -> list[QualityFlag]:
    kinds = sorted({"per length" if is_per_length(s) else "not per length" for s in scales})
    said = {
        "scale_uncertain": unsure
        and f"CPM or TPM could not be told apart with certainty ({_few(unsure)}); state the scale.",
        "mixed_scales": len(kinds) > 1 and "The samples of this file seem to be on different scales; state the scale.",
        "dropped_columns": raw.notes["dropped"]
        and f"Columns that are no samples were left out: {_few(raw.notes['dropped'])}.",
        "summed_duplicates": raw.notes["summed"] and f"Versions of one gene were summed: {_few(raw.notes['summed'])}.",
    }
    return [QualityFlag(code, message) for code, message in said.items() if message]


def _few(names: list[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
