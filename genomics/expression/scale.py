"""On which scale a sample is: stated by the sender, or found from the sample alone (so that a batch changes nothing).

Counts are whole numbers. Logarithms are small; their base is the one whose sum over the panel is nearest to what is
usual. Per-length units (TPM, FPKM) are told from CPM by how the values depend on gene length, beside a usual
profile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genomics.expression.genes import load_genes
from ml.findings import InputRejected

Array = npt.NDArray[np.float64]

BASES = {"log2": 2.0, "ln": float(np.e), "log10": 10.0}
UNITS = ("cpm", "tpm", "fpkm")
SCALES = ("counts", *UNITS, *(base + unit for base in BASES for unit in UNITS))
PER_LENGTH = {"tpm", "fpkm"}
LARGEST = 1e10  # no library has as many reads
LARGEST_LOG = 25.0  # 2^25 is above a million: no log of CPM or TPM is larger
OFFSETS = (1e-4, 1e-3, 1e-2)  # added before the logarithm instead of 1: UCSC Xena's log2(TPM + 0.001)
OFFSET_BASES = ("log2", "ln")  # of log10 they are round numbers, at which z-scores are cut off
SPAN = 10.0  # from the least to the largest value of such a logarithm; z-scores have less
WHOLE_SHARE = 0.7  # expected counts (RSEM, Salmon) are not all whole
MIN_READS = 100_000
WHOLE_TRANSCRIPTOME = 10_000  # genes from which a total says something
EXPRESSED = 1.0  # CPM in the reference profile
MIN_MARGIN = 0.15  # of the slope that tells CPM from TPM, around the middle between 0 and −1


@dataclass(frozen=True)
class SampleFacts:
    """What the reader counted over all genes of one sample, whether or not the panel has them.

    ``unlogged`` is the total once a logarithm of each base of BASES is undone; it is complete only where ``largest`` is
    at most LARGEST_LOG. ``largest_at`` and ``smallest_at`` name file, row and column.
    """

    name: str
    genes: int
    total: float
    largest: float
    smallest: float
    positive: int
    whole: int
    unlogged: tuple[float, ...] = ()
    largest_at: str = ""
    smallest_at: str = ""


def split_scale(scale: str) -> tuple[float | None, str]:
    """``log2tpm`` → (2, ``tpm``); no logarithm → (None, scale)."""
    for name, base in BASES.items():
        if scale.startswith(name) and scale != name:
            return base, scale.removeprefix(name)
    return None, scale


def small_offset(facts: SampleFacts) -> tuple[str, float] | None:
    """(base, offset) where the least value is just the logarithm of a usual offset: what an absent gene then has."""
    if facts.smallest >= 0 or facts.largest > LARGEST_LOG or facts.largest - facts.smallest < SPAN:
        return None
    known = [(base, offset) for base in OFFSET_BASES for offset in OFFSETS]
    return next((one for one in known if abs(facts.smallest - np.log(one[1]) / np.log(BASES[one[0]])) < 1e-3), None)


def is_per_length(scale: str) -> bool:
    return split_scale(scale)[1] in PER_LENGTH


def to_linear(values: Array, scale: str) -> Array:
    """Undo the logarithm: b^x − 1, or b^x where values below zero show that another offset was added."""
    base, _ = split_scale(scale)
    if base is None:
        return values
    return np.asarray(base**values - (1.0 if values.min() >= 0 else 0.0))


def find_scale(values: Array, position: npt.NDArray[np.int64], facts: SampleFacts) -> tuple[str, float]:
    """(scale, margin) of one sample.

    ``values`` (g,) as sent, of the panel genes at ``position`` in the gene table. The margin is how far the
    dependence on gene length lies from the middle between CPM and TPM (0 to 0.5); 1 where the scale needs no guess.
    """
    if facts.largest > LARGEST_LOG and facts.whole >= WHOLE_SHARE * facts.positive:
        return "counts", 1.0
    offset = small_offset(facts)
    base = offset[0] if offset else _find_base(values, position, facts) if facts.largest <= LARGEST_LOG else ""
    linear = to_linear(values, f"{base}cpm")
    slope = _length_slope(linear, position)
    unit = _tpm_or_fpkm(facts, base) if slope < -0.5 else "cpm"
    return base + unit, 0.0 if np.isnan(slope) else abs(slope + 0.5)


def _find_base(values: Array, position: npt.NDArray[np.int64], facts: SampleFacts) -> str:
    """The base whose linear values sum to a million over a transcriptome, or to what is usual over the panel genes."""
    if facts.genes >= WHOLE_TRANSCRIPTOME:
        totals, target = dict(zip(BASES, facts.unlogged, strict=True)), 1e6
    else:
        usual = load_genes().reference_cpm[position]
        known = np.isfinite(usual)
        totals = {name: float(to_linear(values[known], f"{name}cpm").sum()) for name in BASES}
        target = float(usual[known].sum())
    return min(BASES, key=lambda name: abs(np.log(max(totals[name], 1e-9) / target)))


def _length_slope(linear: Array, position: npt.NDArray[np.int64]) -> float:
    """The slope of log(value / reference CPM) on log(gene length): 0 for CPM, near −1 per length. NaN if unknown."""
    genes = load_genes()
    usual, length = genes.reference_cpm[position], genes.length[position]
    use = (usual > EXPRESSED) & (linear > 0)
    if use.sum() < 50:
        return float("nan")
    return float(np.polyfit(np.log(length[use]), np.log(linear[use] / usual[use]), 1)[0])


def _tpm_or_fpkm(facts: SampleFacts, base: str) -> str:
    whole_and_linear = facts.genes >= WHOLE_TRANSCRIPTOME and not base
    return "fpkm" if whole_and_linear and not 0.8e6 <= facts.total <= 1.2e6 else "tpm"


def check_values(facts: SampleFacts, scale: str | None, name: str) -> None:
    """Rejects what no scale allows: negative counts, an empty sample, too few reads. ``scale`` is the stated one."""
    place = f"{name}, sample {facts.name!r}"
    _check_range(facts, name, scale)
    if facts.positive == 0:
        raise InputRejected("all_zero", place=place, problem="Every value is zero.", remedy="Check the quantification.")
    looks_counted = facts.whole == facts.positive and scale in (None, "counts")
    if looks_counted and facts.genes >= WHOLE_TRANSCRIPTOME and facts.total < MIN_READS:
        raise InputRejected(
            "too_few_reads",
            place=place,
            problem=f"{facts.total:,.0f} reads in all; at least {MIN_READS:,} are needed.",
            remedy="Sequence the library deeper, or send the complete count file.",
        )


def _check_range(facts: SampleFacts, name: str, scale: str | None) -> None:
    """Rejects the smallest or largest value of a sample where it cannot be, at its row and column."""
    logged = scale is not None and split_scale(scale)[0] is not None
    lowest, highest = facts.smallest_at or name, facts.largest_at or name
    if facts.smallest < 0 and not logged and not (scale is None and small_offset(facts)):
        raise InputRejected(
            "negative_value",
            place=lowest,
            problem=f"A value is below zero ({facts.smallest:g}); counts, CPM and TPM never are.",
            remedy="Send counts, CPM or TPM. Log values with another offset: state the scale (log2cpm, log2tpm). "
            "Centred or z-scored values cannot be used.",
        )
    if scale is not None and logged and facts.largest > LARGEST_LOG:
        raise InputRejected(
            "wrong_scale",
            place=highest,
            problem=f"A value of {facts.largest:g} is no {scale}.",
            remedy="Leave the scale to be found, or state the right one.",
        )
    if facts.largest > LARGEST:
        raise InputRejected(
            "implausible_value",
            place=highest,
            problem=f"A value of {facts.largest:g} is more than any library has reads.",
            remedy="Export the counts or TPM again, before any other arithmetic.",
        )
