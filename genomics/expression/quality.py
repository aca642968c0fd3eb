"""What is wrong, or odd, with a sample although it can be read: depth, genes seen, sex, mixtures, red cells.

The limits are the edges of 65 marrow and blood libraries of GSE228632 (7.7 to 48 million reads, 12,171 to 32,565 genes
seen; XIST at least 25 CPM in the women and at most 5 in the men, the genes of Y below 0.5 and above 50).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genomics.expression.names import quality_genes
from genomics.expression.scale import WHOLE_TRANSCRIPTOME, SampleFacts, is_per_length, split_scale, to_linear
from ml.findings import QualityFlag

SHALLOW = 5_000_000  # reads
FEW_SEEN = 10_000  # genes with a read
SEX_GENE_SEEN = 10.0  # CPM
SEX_GENE_UNSEEN = 5.0
TYPICAL_LENGTH = 2500.0  # bp: TPM times length over this is about CPM
MUCH_GLOBIN = 0.2  # of all reads
FEWEST_MALE_GENES = 3
ROLES = ("female", "male", "globin")
SEXES = ("female", "male")
LOST_Y = " Leukaemic cells of men can lose Y, but do not express XIST."


@dataclass(frozen=True)
class SampleQuality:
    """Measures of one sample. ``genes_seen`` have a value above zero. The others need a table of the ``whole``
    transcriptome, and ``library_size`` (reads) counts; else they are None. ``sex`` is what the sex genes say: female,
    male, mixed, or "" where they do not.
    """

    whole: bool
    genes_seen: int
    library_size: float | None = None
    xist_cpm: float | None = None
    y_cpm: float | None = None
    globin_share: float | None = None
    sex: str = ""


def measure(facts: SampleFacts, scale: str, others: dict[str, float]) -> SampleQuality:
    """``others``: the genes of ``quality_genes`` that the table has, as sent, on ``scale``."""
    if facts.genes < WHOLE_TRANSCRIPTOME:  # of a panel, a share says nothing
        return SampleQuality(False, facts.positive)
    size = facts.total if scale == "counts" else None
    cpm = _per_million(facts, scale, others)
    of = {role: [cpm[g] for g, gene in quality_genes().items() if gene.role == role and g in cpm] for role in ROLES}
    xist = of["female"][0] if of["female"] else None
    y = float(np.mean(of["male"])) if len(of["male"]) >= FEWEST_MALE_GENES else None
    globin = float(np.sum(of["globin"])) / 1e6 if of["globin"] else None
    return SampleQuality(True, facts.positive, size, xist, y, globin, _sex(xist, y))


def _per_million(facts: SampleFacts, scale: str, others: dict[str, float]) -> dict[str, float]:
    """About CPM, whatever the scale."""
    if not others:
        return {}
    values = dict(zip(others, to_linear(np.array(list(others.values())), scale).tolist(), strict=True))
    if is_per_length(scale):
        values = {gene: value * quality_genes()[gene].length / TYPICAL_LENGTH for gene, value in values.items()}
    factor = 1e6 / facts.total if split_scale(scale)[0] is None and scale in ("counts", "fpkm") else 1.0
    return {gene: value * factor for gene, value in values.items()}


def _sex(xist: float | None, y: float | None) -> str:
    if xist is None or y is None:
        return ""
    if xist >= SEX_GENE_SEEN and y >= SEX_GENE_SEEN:
        return "mixed"
    if xist >= SEX_GENE_SEEN and y < SEX_GENE_UNSEEN:
        return "female"
    return "male" if y >= SEX_GENE_SEEN and xist < SEX_GENE_UNSEEN else ""


def quality_flags(quality: SampleQuality, sex: str) -> tuple[QualityFlag, ...]:
    """``sex`` is the record's: female, male, or anything else where it is not known."""
    said = {
        "shallow_library": quality.library_size is not None
        and quality.library_size < SHALLOW
        and f"{quality.library_size / 1e6:.1f} million reads on genes; below {SHALLOW // 10**6} million, genes "
        "of low expression are left to chance.",
        "few_genes_seen": quality.whole
        and quality.genes_seen < FEW_SEEN
        and f"Only {quality.genes_seen:,} genes have a read; a degraded or shallow sample looks like this.",
        "much_globin": (quality.globin_share or 0.0) > MUCH_GLOBIN
        and f"{quality.globin_share:.0%} of the expression is haemoglobin: many red cells or reticulocytes, which hide "
        "other genes (Shin et al. 2014, doi:10.1371/journal.pone.0091041).",
        "two_sexes": quality.sex == "mixed"
        and f"XIST ({quality.xist_cpm:.0f} CPM) and genes of Y ({quality.y_cpm:.0f} CPM) are both expressed: material "
        "of two persons (contamination, a transplant) or a karyotype such as XXY (Toker et al. 2016, "
        "doi:10.12688/f1000research.9471.2).",
        "sex_mismatch": sex in SEXES
        and quality.sex in SEXES
        and sex != quality.sex
        and f"The record says {sex}, the sex genes say {quality.sex} (XIST {quality.xist_cpm:.0f} CPM, Y "
        f"{quality.y_cpm:.0f} CPM): check for exchanged samples (Toker et al. 2016, doi:10.12688/f1000research.9471.2)."
        + LOST_Y * (quality.sex == "female"),
    }
    return tuple(QualityFlag(code, sentence) for code, sentence in said.items() if sentence)
