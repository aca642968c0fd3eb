"""Why an expression finding says what it says: steps of exact contributions by gene, known markers, maps of the cohort.

Everything is JSON. ``steps``: for each decision from the top down, the log-odds of the answer against the runner-up,
split exactly into genes. ``markers``: the genes that a haematologist looks for, as they rank here and as they usually
do, each with why it matters and who said so. ``maps``: the case among the training samples.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genomics.expression.genes import load_genes
from genomics.expression.heads import HeadSays, contributions, symbol_columns
from genomics.expression.maps import load_maps, place_case

if TYPE_CHECKING:
    from ml.bundle import Bundle

MARKERS = Path(__file__).with_name("markers.csv")
TOP_GENES = 20
UNUSUAL = 0.15  # difference of ranks from which a marker is high or low
WHOLE = "Profile as a whole"
WHOLE_NOTE = "how well all genes together lie among those of B-ALL (share that its main components rebuild)"
METHOD = "exact contributions to the log-odds of a linear model on within-sample ranks"


def explain(says: dict[str, HeadSays], way: list[str], bundle: Bundle) -> dict[str, Any]:
    """``way``: the heads that decided, from the top down."""
    return {
        "method": METHOD,
        "steps": [_step(says[role]) for role in way if says[role].speaks],
        "markers": _marked(says),
        "maps": place_case(load_maps(bundle), says, way),
    }


def _step(said: HeadSays) -> dict[str, Any]:
    answer, rival = (int(k) for k in np.argsort(-said.p)[:2])
    each, intercept = contributions(said, answer, rival)
    whole = float(said.pushes[answer] - said.pushes[rival])
    top = np.argsort(-np.abs(each))[:TOP_GENES]
    return {
        "head": said.head.name,
        "answer": said.head.classes[answer],
        "against": said.head.classes[rival],
        "log_odds": float(each.sum() + intercept + whole),
        "intercept": intercept,
        "other_genes": float(each.sum() - each[top].sum()),
        "genes": [_whole(whole)] * bool(whole) + [_gene(said, int(k), float(each[k])) for k in top if each[k]],
    }


def _whole(contribution: float) -> dict[str, Any]:
    """What is no gene's, in the shape of one, so that whoever adds the genes up gets the log-odds."""
    direction = "for" if contribution > 0 else "against"
    return {"gene": None, "symbol": WHOLE, "contribution": contribution, "direction": direction, "note": WHOLE_NOTE}


def _gene(said: HeadSays, k: int, contribution: float) -> dict[str, Any]:
    gene = said.head.genes[k]
    symbol = load_genes().symbol(gene)
    note = markers().get(symbol, {})
    return {
        "gene": gene,
        "symbol": symbol,
        "contribution": contribution,
        "direction": "for" if contribution > 0 else "against",
        "rank": float(said.ranks[k]),
        "usual_rank": float(said.head.mean[k]),
        **({"note": note["note"], "source": note["source"]} if note else {}),
    }


def _marked(says: dict[str, HeadSays]) -> list[dict[str, Any]]:
    """The markers that the table has, of the widest panel that has them; in the order of the marker table."""
    found: dict[str, dict[str, Any]] = {}
    for said in sorted(says.values(), key=lambda said: len(said.head.genes)):
        symbols = symbol_columns(said.head.genes)
        for symbol, row in markers().items():
            if symbol in symbols and np.isfinite(said.ranks[symbols[symbol]]):
                found[symbol] = _marker(said, symbols[symbol], row)
    return [found[symbol] for symbol in markers() if symbol in found]


def _marker(said: HeadSays, k: int, row: dict[str, str]) -> dict[str, Any]:
    rank, usual = float(said.ranks[k]), float(said.head.mean[k])
    level = "high" if rank > usual + UNUSUAL else "low" if rank < usual - UNUSUAL else "usual"
    return {**row, "gene": said.head.genes[k], "rank": rank, "usual_rank": usual, "level": level}


@lru_cache(maxsize=1)
def markers() -> dict[str, dict[str, str]]:
    """Symbol → {symbol, speaks_for, note, source} of the marker table."""
    with MARKERS.open(encoding="utf-8", newline="") as stream:
        return {row["symbol"]: row for row in csv.DictReader(stream)}
