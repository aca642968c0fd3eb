"""What is gathered while a table is read: sums over all genes of each sample, and the genes that matter here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from genomics.expression.genes import find_gene, load_genes
from genomics.expression.names import undated
from genomics.expression.scale import BASES, LARGEST_LOG, SampleFacts
from genomics.tables import Array
from ml.findings import InputRejected

LOG_BASES = np.log(list(BASES.values()))
OLDER_NAMES = ("previous", "alias", "date")  # they give way where the gene is there by its own name


class Tally:
    """Counts over all genes of ``n`` samples, added block by block."""

    def __init__(self, n: int) -> None:
        self.genes = 0
        self.total, self.positive, self.whole = np.zeros(n), np.zeros(n, int), np.zeros(n, int)
        self.largest, self.smallest = np.full(n, -np.inf), np.full(n, np.inf)
        self.largest_at, self.smallest_at = [""] * n, [""] * n
        self.unlogged = np.zeros((n, len(BASES)))

    def add(self, values: Array, places: list[str]) -> None:
        """``values`` (b, n) of b more genes, which stand at ``places``."""
        self.genes += len(values)
        positive = values > 0
        with np.errstate(over="ignore"):  # 1e308 twice; the sample is refused for it afterwards
            self.total += values.sum(axis=0)
        self.positive += positive.sum(axis=0)
        self.whole += (positive & (values == np.rint(values))).sum(axis=0)
        self._note_extremes(values, places)
        logs = np.flatnonzero(self.largest <= LARGEST_LOG)
        for k, base in enumerate(LOG_BASES):
            self.unlogged[logs, k] += np.expm1(values[:, logs] * base).sum(axis=0)

    def _note_extremes(self, values: Array, places: list[str]) -> None:
        for sample in np.flatnonzero(values.max(axis=0) > self.largest):
            row = int(values[:, sample].argmax())
            self.largest[sample], self.largest_at[sample] = values[row, sample], places[row]
        for sample in np.flatnonzero(values.min(axis=0) < self.smallest):
            row = int(values[:, sample].argmin())
            self.smallest[sample], self.smallest_at[sample] = values[row, sample], places[row]

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
                largest_at=self.largest_at[k],
                smallest_at=self.smallest_at[k],
            )
            for k, name in enumerate(samples)
        ]


@dataclass(frozen=True)
class Entry:
    """One row of a gene: how the table names it, what kind of name that is, and where it stands."""

    name: str
    kind: str
    place: str


@dataclass
class Found:
    """The genes of interest as they come. Which of several rows of one gene count is decided at the end."""

    names: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    of: dict[str, list[tuple[Entry, Array]]] = field(default_factory=dict)

    def add(self, name: str, values: Array, place: str) -> None:
        """``values`` (n,) of the next gene. InputRejected (duplicate_gene) where its name was there before."""
        gene = find_gene(name)
        self.names.append(name)
        if name in self.places and (gene or name.startswith("ENSG")):
            raise duplicate("gene", name, place, self.places[name])
        self.places[name] = place
        if gene:
            self.of.setdefault(gene[0], []).append((Entry(name, gene[1], place), values))

    def result(self) -> tuple[dict[str, Array], dict[str, list[str]]]:
        """(gene → values, notes). Ensembl versions, PAR_Y copies and transcripts of one gene are summed; an older name
        is left out beside the gene's own; other repeats are rejected.

        Notes: ``summed`` (genes), ``transcripts`` (genes), ``left_out`` and ``aliases`` (names), ``dates`` (names that
        a spreadsheet has made dates), ``repeated`` (names of genes that are of no interest here).
        """
        notes: dict[str, list[str]] = {"summed": [], "transcripts": [], "left_out": [], "aliases": []}
        rows = {gene: self._settle(gene, rows, notes) for gene, rows in self.of.items()}
        read = {entry.name for rows in self.of.values() for entry, _ in rows}
        notes["dates"] = [name for name in self.names if undated(name) and name not in read]
        notes["repeated"] = [name for name, uses in Counter(self.names).items() if uses > 1]
        return rows, notes

    def _settle(self, gene: str, rows: list[tuple[Entry, Array]], notes: dict[str, list[str]]) -> Array:
        own = [row for row in rows if row[0].kind not in OLDER_NAMES]
        kept = own or [row for row in rows if row[0].kind == min((e.kind for e, _ in rows), key=OLDER_NAMES.index)]
        notes["left_out"] += [entry.name for entry, _ in rows if all(entry is not k for k, _ in kept)]
        notes["aliases"] += [entry.name for entry, _ in kept if entry.kind in OLDER_NAMES]
        kinds = {entry.kind for entry, _ in kept}
        if len(kept) > 1 and (len(kinds) > 1 or kinds.isdisjoint({"ensembl", "transcript"})):
            raise duplicate("gene", gene, kept[1][0].place, f"as {kept[0][0].name!r} at {kept[0][0].place}")
        if len(kept) > 1:
            notes["transcripts" if kinds == {"transcript"} else "summed"].append(gene)
        return np.asarray(sum(values for _, values in kept))


def panel_rows(rows: dict[str, Array], n: int) -> tuple[list[str], Array]:
    """(panel genes, values (g, n)) of what was found of n samples."""
    genes = [gene for gene in rows if gene in load_genes().position]
    return genes, np.array([rows[gene] for gene in genes]).reshape(len(genes), n)


def duplicate(what: str, name: str, place: str, first: str) -> InputRejected:
    """What is said of a gene or sample that is there twice."""
    return InputRejected(
        f"duplicate_{what}",
        place=place,
        problem=f"The {what} {name!r} is there twice (first: {first}).",
        remedy=f"Keep one row or column for each {what}.",
    )
