"""Expression tables of any laboratory → panel genes × samples, linear, with everything that was found out stated."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from genomics.expression.genes import id_type, load_genes
from genomics.expression.names import quality_genes
from genomics.expression.parse import Raw, parse, unknown_sample
from genomics.expression.quality import SampleQuality, measure, quality_flags
from genomics.expression.scale import (
    MIN_MARGIN,
    SCALES,
    check_values,
    find_scale,
    is_per_length,
    small_offset,
    split_scale,
    to_linear,
)
from genomics.tables import Array, read_table
from ml.findings import InputRejected, QualityFlag

if TYPE_CHECKING:
    from pathlib import Path

MIN_OVERLAP = 0.6  # of the lineage panel
UNSURE = "scale_uncertain"
DATES_SENTENCE = (
    "A spreadsheet has turned names of genes into dates: {}. These genes are not read; export the table again from its "
    "source without opening it in a spreadsheet, or send Ensembl ids (Ziemann et al. 2016, "
    "doi:10.1186/s13059-016-1044-7)."
)


@dataclass(frozen=True)
class ExpressionTable:
    """Samples × panel genes. ``values`` (n, g) are linear; a gene that the file does not have is not among ``genes``.

    ``scales`` has one scale a sample; TPM and FPKM are per length, counts and CPM are not. ``unsure``
    names the samples whose scale could not be told with certainty. ``flags`` are of the file, and of the sample where
    there is one; ``of_sample`` has those of each sample.
    """

    samples: tuple[str, ...]
    genes: tuple[str, ...]
    values: Array
    scales: tuple[str, ...]
    flags: tuple[QualityFlag, ...] = ()
    unsure: tuple[str, ...] = ()
    of_sample: tuple[tuple[QualityFlag, ...], ...] = ()

    def only(self, sample: str) -> ExpressionTable:
        """The table of one sample. InputRejected (unknown_sample) where there is none of that name."""
        if sample not in self.samples:
            raise unknown_sample(sample, list(self.samples))
        k = self.samples.index(sample)
        of_file = tuple(f for f in self.flags if f.code != UNSURE and f not in chain(*self.of_sample))
        own = self.of_sample[k : k + 1]
        flags = _unsure_flags([s for s in self.unsure if s == sample]) + of_file + tuple(chain(*own))
        return replace(
            self,
            samples=(sample,),
            values=self.values[k : k + 1],
            scales=(self.scales[k],),
            flags=flags,
            unsure=tuple(s for s in self.unsure if s == sample),
            of_sample=own,
        )

    def each(self) -> list[ExpressionTable]:
        return [self.only(sample) for sample in self.samples]


def canonicalise(source: Path, target_dir: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Read the table ``source`` and write ``expression.npz`` and ``expression.json`` to ``target_dir``.

    Options: ``sample`` (take this one), ``many`` (true: several samples are welcome), ``keep_going`` (true: leave out
    the samples that have a fault of their own), ``scale`` (one of SCALES), ``strand`` (of STAR's and GDC's columns:
    unstranded, forward, reverse), ``sheet`` (of a workbook), ``sex`` (the record's: female, male).
    Returns {scale, scales, scale_stated, program, id_type, orientation, samples, refused, unsure, genes, overlap,
    quality, flags}; ``quality`` has a sample's measures by name. Raises InputRejected.
    """
    stated = options.get("scale")
    if stated is not None and stated not in SCALES:
        raise InputRejected(
            "unknown_scale",
            place="option scale",
            problem=f"No scale {stated!r}.",
            remedy=f"One of: {', '.join(SCALES)}.",
        )
    oriented, raw = parse(read_table(source, options.get("sheet")), options)
    refused = _judge(raw, stated, source.name)
    if refused and (not options.get("keep_going") or len(refused) == len(raw.samples)):
        raise next(iter(refused.values()))
    raw = raw.without(refused)
    overlap = _overlap(raw.genes, source.name)
    table, quality = _canonical(raw, stated, str(options.get("sex") or ""))
    np.savez_compressed(
        target_dir / "expression.npz", values=table.values, genes=np.array(table.genes), samples=np.array(table.samples)
    )
    summary = {
        "scale": Counter(table.scales).most_common(1)[0][0],
        "scales": list(table.scales),
        "scale_stated": stated is not None,
        "program": raw.program,
        "id_type": id_type(raw.gene_names),
        "orientation": oriented,
        "samples": list(table.samples),
        "refused": [{"sample": sample, **fault.as_dict()} for sample, fault in refused.items()],
        "unsure": list(table.unsure),
        "genes": raw.facts[0].genes,
        "overlap": overlap,
        "quality": {sample: asdict(one) for sample, one in zip(table.samples, quality, strict=True)},
        "flags": [asdict(flag) for flag in table.flags],
        "of_sample": [[asdict(flag) for flag in flags] for flags in table.of_sample],
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
            unsure=tuple(said["unsure"]),
            of_sample=tuple(tuple(QualityFlag(**flag) for flag in flags) for flags in said["of_sample"]),
        )


def _judge(raw: Raw, stated: str | None, name: str) -> dict[str, InputRejected]:
    """Sample → why it cannot be used: a bad cell, or values that no scale allows."""
    refused = dict(raw.refused)
    for facts in raw.facts:
        try:
            if facts.name not in refused:
                check_values(facts, stated, name)
        except InputRejected as fault:
            refused[facts.name] = fault
    return refused


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


def _canonical(raw: Raw, stated: str | None, sex: str) -> tuple[ExpressionTable, list[SampleQuality]]:
    genes = load_genes()
    position = np.array([genes.position[g] for g in raw.genes])
    values, scales, unsure = np.empty((len(raw.samples), len(raw.genes))), [], []
    known = stated or raw.scale
    for k, facts in enumerate(raw.facts):
        scale, margin = (known, 1.0) if known else find_scale(raw.values[:, k], position, facts)
        summed = raw.notes["summed"] + raw.notes["transcripts"]
        if summed and split_scale(scale)[0] is not None:
            raise _summed_logs(summed[0], facts.name)
        scales.append(scale)
        values[k] = to_linear(raw.values[:, k], scale)
        unsure += [facts.name] * (margin < MIN_MARGIN)
    others = [{g: float(row[k]) for g, row in raw.others.items() if g in quality_genes()} for k in range(len(scales))]
    quality = [measure(*of) for of in zip(raw.facts, scales, others, strict=True)]
    of_sample = tuple(quality_flags(one, sex) for one in quality)
    alone = of_sample[0] if len(of_sample) == 1 else ()
    flags = (*_unsure_flags(unsure), *_offset_flags(raw, known), *_flags(raw, scales), *alone)
    names = tuple(raw.samples), tuple(raw.genes)
    return ExpressionTable(*names, values, tuple(scales), flags, tuple(unsure), of_sample), quality


def _summed_logs(gene: str, sample: str) -> InputRejected:
    return InputRejected(
        "duplicate_gene",
        place=f"sample {sample!r}, gene {gene}",
        problem="Several versions of this gene are in the table, and logarithms cannot be added.",
        remedy="Keep one version of each gene, or send counts or TPM without logarithm.",
    )


def _unsure_flags(unsure: list[str]) -> tuple[QualityFlag, ...]:
    message = f"CPM or TPM could not be told apart with certainty ({_few(unsure)}); state the scale."
    return (QualityFlag(UNSURE, message),) if unsure else ()


def _offset_flags(raw: Raw, known: str | None) -> list[QualityFlag]:
    offsets = {} if known else {facts.name: small_offset(facts) for facts in raw.facts}
    found = {name: said for name, said in offsets.items() if said}
    if not found:
        return []
    base, offset = next(iter(found.values()))
    message = f"The values were taken for {base}(value + {offset:g}): an absent gene has just that ({_few([*found])})."
    return [QualityFlag("log_offset", message)]


def _flags(raw: Raw, scales: list[str]) -> list[QualityFlag]:
    """What is said of the file as a whole."""
    kinds = sorted({"per length" if is_per_length(s) else "not per length" for s in scales})
    sentences = {
        "dropped_columns": ("dropped", "Columns that are no samples were left out: {}."),
        "summed_duplicates": ("summed", "Versions of one gene were summed: {}."),
        "summed_transcripts": ("transcripts", "Transcripts were summed by gene: {}."),
        "older_symbols": ("aliases", "Genes were recognised by a previous symbol or an alias: {}."),
        "aliases_left_out": (
            "left_out",
            "Rows named by an alias of a gene that has a row of its own were left out: {}.",
        ),
        "dates_for_genes": ("dates", DATES_SENTENCE),
        "repeated_genes": ("repeated", "Genes that the models do not use are there more than once: {}."),
    }
    flags = [
        QualityFlag(code, sentence.format(_few(raw.notes[of])))
        for code, (of, sentence) in sentences.items()
        if raw.notes[of]
    ]
    if len(kinds) > 1:
        sentence = "The samples of this file seem to be on different scales; state the scale."
        flags.append(QualityFlag("mixed_scales", sentence))
    return [*flags, *(QualityFlag(code, sentence) for code, sentence in raw.said)]


def _few(names: list[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
