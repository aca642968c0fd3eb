"""Do the prediction sets hold the truth as often as promised where a site's diagnoses are others, before and after its
recalibration? python -m bench.site_sets --oof FOLDER    writes docs/measured/site_sets.json

A site is made of people: their held-out findings of one modality, drawn so that lineages have the site's shares.
SIGNED of them teach the recalibration, as signed cases would; coverage is counted on the others, nobody twice. The
fusion's own sets were calibrated with these people, so that "before" flatters where the shares are like theirs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ml.bundle import Bundle, find_bundle, load_bundle
from ml.calibration import interval_text
from ml.cards import table
from ml.diagnosis_tree import load_tree
from ml.fusion_training import LEAST_IN_SCOPE
from ml.site_fusion import SignedCase, TooLittle, holds, localised, recalibrate, said_by
from ml.virtual_patients import Source, read_sources

TARGET = Path(__file__).resolve().parents[1] / "docs" / "measured" / "site_sets.json"
SIGNED, TESTED, DRAWS, SEED = 60, 120, 20, 0
SITES = {
    "as the data": None,
    "mostly AML": {"all": 0.2, "aml": 0.8},
    "mostly ALL": {"all": 0.9, "aml": 0.1},
}


def cases_of(source: Source) -> dict[str, list[SignedCase]]:
    """Lineage → a case for each person: the first finding, signed as the deepest node that holds all that it means."""
    tree, seen = load_tree(), set[str]()
    found: dict[str, list[SignedCase]] = {"all": [], "aml": []}
    for row, person in enumerate(source.group):
        node = tree.lowest_common_ancestor([tree.leaves[k] for k in np.flatnonzero(source.means[row])])
        lineage = next((name for name in found if name in tree.path(node)), None)
        if lineage and person not in seen:
            seen.add(person)
            found[lineage].append(SignedCase((source.finding(row),), node))
    return found


def draw(cases: dict[str, list[SignedCase]], shares: dict[str, float] | None, rng: np.random.Generator) -> Any:
    """(signed, tested): different people, of the lineages in the site's shares."""
    n = {lineage: len(some) for lineage, some in cases.items()}
    shares = shares or {lineage: k / sum(n.values()) for lineage, k in n.items()}
    total = min(SIGNED + TESTED, *(int(k / shares[lineage]) for lineage, k in n.items()))
    drawn = [
        some[k]
        for lineage, some in cases.items()
        for k in rng.choice(len(some), int(total * shares[lineage]), replace=False)
    ]
    order = rng.permutation(len(drawn))
    return [drawn[k] for k in order[:SIGNED]], [drawn[k] for k in order[SIGNED:]]


def coverage(cases: list[SignedCase], bundle: Bundle, prior: dict[str, float] | None) -> dict[float, float]:
    said = [said_by(case, bundle, None, prior) for case in cases]
    promised = [one["coverage"] for one in bundle.manifest["conformal"]["promises"]]
    return {
        coverage: float(
            np.mean([holds(one.sets[at]["nodes"], case.node) for one, case in zip(said, cases, strict=True)])
        )
        for at, coverage in enumerate(promised)
    }


def measure(oof: Path) -> Iterator[dict[str, Any]]:
    bundle = load_bundle(find_bundle("fusion"))
    for modality, source in read_sources(oof, find_bundle("fusion").parents[1], LEAST_IN_SCOPE, SEED).items():
        cases = cases_of(source)
        for site, shares in SITES.items():
            rng, rows, refused = np.random.default_rng(SEED), [], 0
            for _ in range(DRAWS):
                signed, tested = draw(cases, shares, rng)
                before = coverage(tested, bundle, None)
                try:
                    local = recalibrate(signed, bundle)
                    after = coverage(tested, localised(bundle, local), local["prior"])
                except TooLittle:
                    refused, after = refused + 1, before
                rows.append((before, after, len(tested)))
            yield {"modality": modality, "site": site, "refused": refused, "tested": rows[0][2], **_told(rows)}


def _told(rows: list[Any]) -> dict[str, Any]:
    """Promised coverage → the mean over the draws, before and after, and the middle 95 % of them."""
    out: dict[str, Any] = {}
    for promised in rows[0][0]:
        for at, when in enumerate(("before", "after")):
            of = [row[at][promised] for row in rows]
            low, high = np.percentile(of, [2.5, 97.5])
            out[f"{when} {promised:g}"] = {"value": float(np.mean(of)), "low": float(low), "high": float(high)}
    return out


def section(said: dict[str, Any]) -> list[str]:
    """Markdown of ``site_sets.json``."""
    figures = [key for key in said["rows"][0] if key.startswith(("before", "after"))]
    lines = [
        [row["modality"], row["site"], row["tested"], f"{row['refused']} of {said['draws']}"]
        + [interval_text(row[key]) for key in figures]
        for row in said["rows"]
    ]
    return [
        "## Prediction sets at sites of other shares",
        "",
        (
            "How often a set holds the truth among people drawn in a site's shares, before and after a recalibration "
            f"by {said['signed']} other people of it ({said['draws']} draws; in brackets their middle 95 %; where no "
            "gain is shown it is refused, and nothing changes). Held-out findings, one modality a person; "
            f"{said['fusion']} was calibrated with these people, so that *as the data* is flattered."
        ),
        "",
        *table(("modality", "site", "tested", "refused", *figures), lines),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.site_sets", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--oof", type=Path, required=True, help="folder with the held-out predictions of the bundles")
    rows = list(measure(parser.parse_args().oof))
    fusion = load_bundle(find_bundle("fusion")).reference
    TARGET.write_text(
        json.dumps({"fusion": fusion, "draws": DRAWS, "signed": SIGNED, "rows": rows}, indent=1) + "\n", "utf-8"
    )


if __name__ == "__main__":
    main()
