"""Small tables that the tests write: synthetic counts, in every shape in which laboratories send them."""

from __future__ import annotations

import gzip
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from genomics import expression, labs
from genomics.expression.genes import load_genes, panel_gene
from genomics.synthetic import write_expression
from ml.bundle import find_bundle, load_bundle

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
PANEL = {"WBC [10*9/L]": 30, "Platelets [10*9/L]": 40, "LDH [U/L]": 700, "Age": 40, "Fibrinogen [g/L]": 3}


@lru_cache(maxsize=2)
def bundle(name):
    return load_bundle(find_bundle(name))


@lru_cache(maxsize=32)
def _counts(label, seed):
    with tempfile.TemporaryDirectory() as folder:
        lines = write_expression(Path(folder) / "a.tsv", label, seed).read_text("utf-8").splitlines()[2:]
    return {line.split(".")[0]: float(line.split("\t")[1]) for line in lines}


def counts(label="ETV6::RUNX1", seed=1):
    """Gene → reads of one synthetic sample."""
    return dict(_counts(label, seed))


def on_scale(sample, scale):
    """Counts → CPM or TPM, or their logarithm; the panel has the share of the million that is usual."""
    genes, reads = list(sample), np.array(list(sample.values()))
    if scale == "counts":
        return sample
    position = [load_genes().position[gene] for gene in genes]
    if scale.endswith("tpm"):
        reads = reads / load_genes().length[position]
    values = reads / reads.sum() * np.nansum(load_genes().reference_cpm[position])
    log = {"log2": np.log2, "ln": np.log, "log10": np.log10}.get(scale[:-3])
    return dict(zip(genes, (log(values + 1) if log else values).tolist(), strict=True))


def named(sample, how):
    """The genes by Ensembl id, by id with version, or by symbol (those that have one of their own)."""
    if how == "ensembl":
        return sample
    if how == "version":
        return {f"{gene}.{k % 9 + 1}": value for k, (gene, value) in enumerate(sample.items())}
    symbols = {gene: load_genes().symbol(gene) for gene in sample}
    return {symbols[gene]: value for gene, value in sample.items() if panel_gene(symbols[gene]) == gene}


def table(samples, sep="\t", *, transposed=False, corner="gene"):
    """Text of {sample: {gene: value}}; values as they print."""
    genes = list(next(iter(samples.values())))
    rows = [[corner, *samples], *([gene, *(_cell(s[gene]) for s in samples.values())] for gene in genes)]
    if transposed:
        rows = list(zip(*rows, strict=True))
    return "\n".join(sep.join(row) for row in rows) + "\n"


def _cell(value):
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else repr(float(value))


def write(path, text):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read_expression(source, target, **options):
    """(summary, table) as the product reads ``source``."""
    target.mkdir(exist_ok=True)
    return expression.canonicalise(source, target, options), expression.load_canonical(target)


def read_labs(source, target, **options):
    target.mkdir(exist_ok=True)
    return labs.canonicalise(source, target, options), labs.load_canonical(target)


def wide(*panels, sep=","):
    """Wide CSV text of panels, header cell → value."""
    header = list(panels[0])
    return "\n".join([sep.join(header), *(sep.join(str(p[h]) for h in header) for p in panels)]) + "\n"
