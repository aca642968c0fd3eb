"""Expression tables of any laboratory → panel genes × samples, linear, with everything that was found out stated."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genomics.expression.genes import id_type, load_genes
from genomics.expression.parse import Raw, parse, unknown_sample
from genomics.expression.scale import (
    MIN_MARGIN,
    SCALES,
    check_values,
    find_scale,
    is_per_length,
    split_scale,
    to_linear,
)
from genomics.tables import Array, read_table
from ml.findings import InputRejected, QualityFlag

if TYPE_CHECKING:
    from pathlib import Path

MIN_OVERLAP = 0.6  # of the lineage panel
UNSURE = "scale_uncertain"


@dataclass(frozen=True)
class ExpressionTable:
    """Samples × panel genes. ``values`` (n, g) are linear; a gene that the file does not have is not among ``genes``.

    ``scales`` has one scale a sample; TPM and FPKM are per length, counts and CPM are not. ``unsure``
    names the samples whose scale could not be told with certainty.
    """

    samples: tuple[str, ...]
    genes: tuple[str, ...]
    values: Array
    scales: tuple[str, ...]
    flags: tuple[QualityFlag, ...] = ()
    unsure: tuple[str, ...] = ()

    def only(self, sample: str) -> ExpressionTable:
        """The table of one sample. InputRejected (unknown_sample) where there is none of that name."""
        if sample not in self.samples:
            raise unknown_sample(sample, list(self.samples))
        k = self.samples.index(sample)
        flags = tuple(f for f in self.flags if f.code != UNSURE) + _unsure_flags(
            [s for s in self.unsure if s == sample]
        )
        return replace(
            self,
            samples=(sample,),
            values=self.values[k : k + 1],
            scales=(self.scales[k],),
            flags=flags,
            unsure=tuple(s for s in self.unsure if s == sample),
        )

    def each(self) -> list[ExpressionTable]:
        return [self.only(sample) for sample in self.samples]


def canonicalise(source: Path, target_dir: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Read the table ``source`` and write ``expression.npz`` and ``expression.json`` to ``target_dir``.

    Options: ``sample`` (take this one), ``many`` (true: several samples are welcome), ``keep_going`` (true: leave out
    the samples that have a fault of their own), ``scale`` (one of SCALES).
    Returns {scale, scales, id_type, orientation, samples, refused, genes, overlap, flags}. Raises InputRejected.
    """
    stated = options.get("scale")
    if stated is not None and stated not in SCALES:
        raise InputRejected(
            "unknown_scale",
            place="option scale",
            problem=f"No scale {stated!r}.",
            remedy=f"One of: {', '.join(SCALES)}.",
        )
    oriented, raw = parse(read_table(source), options)
    refused = _judge(raw, stated, source.name)
    if refused and (not options.get("keep_going") or len(refused) == len(raw.samples)):
        raise next(iter(refused.values()))
    raw = raw.without(refused)
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
        "refused": [{"sample": sample, **fault.as_dict()} for sample, fault in refused.items()],
        "unsure": list(table.unsure),
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
            unsure=tuple(said["unsure"]),
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


def _canonical(raw: Raw, stated: str | None) -> tuple[ExpressionTable, list[QualityFlag]]:
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
    flags = [*_unsure_flags(unsure), *_flags(raw, scales)]
    table = ExpressionTable(tuple(raw.samples), tuple(raw.genes), values, tuple(scales), tuple(flags), tuple(unsure))
    return table, flags


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


def _flags(raw: Raw, scales: list[str]) -> list[QualityFlag]:
    kinds = sorted({"per length" if is_per_length(s) else "not per length" for s in scales})
    said = {
        "mixed_scales": len(kinds) > 1 and "The samples of this file seem to be on different scales; state the scale.",
        "dropped_columns": raw.notes["dropped"]
        and f"Columns that are no samples were left out: {_few(raw.notes['dropped'])}.",
        "summed_duplicates": raw.notes["summed"] and f"Versions of one gene were summed: {_few(raw.notes['summed'])}.",
    }
    return [QualityFlag(code, message) for code, message in said.items() if message]


def _few(names: list[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
