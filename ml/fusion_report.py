"""The figures of the fusion's card: of people whose predictions the fusion has not learned from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.calibration import interval_text, measure
from ml.diagnosis_tree import load_tree
from ml.fusion import fuse
from ml.lineages import LINEAGES, lineage_of
from ml.virtual_patients import patients_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml.bundle import Bundle
    from ml.fusion import Assessment
    from ml.virtual_patients import Patients, Source

ROUNDS = 200
HEAD = "| who | n | abstained | right when assessed | set holds the truth | lineage accuracy | lineage log-loss |"


def report(sources: Mapping[str, Source], patients: Patients, bundle: Bundle, seed: int) -> dict[str, Any]:
    """Metrics by combination of modalities, over all, and for results of two people mixed up."""
    said = [fuse(patients.findings(i, sources), bundle) for i in range(len(patients))]
    by_combination: dict[str, list[int]] = {}
    for i in range(len(patients)):
        by_combination.setdefault("+".join(patients.modalities(i)), []).append(i)
    found = {
        f"virtual patients: {key}": _of_some(sources, patients, bundle, said, rows)
        for key, rows in sorted(by_combination.items())
    }
    everyone = list(range(len(patients)))
    found["virtual patients: all combinations"] = {"n": len(said), "fusion": answers(said, _truth(patients, everyone))}
    found["virtual patients: results of two people mixed up"] = _mixed_up(sources, patients, bundle, seed)
    return found


def _truth(patients: Patients, rows: Sequence[int]) -> list[str]:
    return [load_tree().leaves[patients.leaf[i]] for i in rows]


def _of_some(
    sources: Mapping[str, Source], patients: Patients, bundle: Bundle, said: list[Assessment], rows: list[int]
) -> dict[str, Any]:
    truth, chosen = _truth(patients, rows), patients.modalities(rows[0])
    rarest = min(chosen, key=lambda m: len(np.unique(sources[m].group)))
    groups = sources[rarest].group[patients.rows[rarest][rows]]
    fused = [said[i] for i in rows]
    alone = {
        m: [fuse([sources[m].finding(int(patients.rows[m][i]))], bundle) for i in rows]
        for m in chosen
        if len(chosen) > 1
    }
    figures = lineage_figures(fused, truth, groups)
    return {
        "n": len(rows),
        "data": "virtual patients: predictions of different people with one diagnosis",
        "split": "people whom the fusion has not learned from",
        "people": {m: len(np.unique(sources[m].group[patients.rows[m][rows]])) for m in chosen},
        **({"figures": figures} if figures else {}),
        "fusion": answers(fused, truth),
        "alone": {
            m: answers(one, truth) | {"figures": lineage_figures(one, truth, groups)} for m, one in alone.items()
        },
    }


def lineage_figures(said: Sequence[Assessment], truth: Sequence[str], groups: Any) -> dict[str, dict[str, float]]:
    """Every figure of ml.calibration with its 95 % interval, for LINEAGES; {} where all patients are of one lineage."""
    y = np.array([LINEAGES.index(lineage_of(leaf)) for leaf in truth])
    if len(set(y)) < 2:
        return {}
    p = np.array(
        [
            [
                a.probabilities["aml"] - a.probabilities["apl"] if name == "aml_other" else a.probabilities[name]
                for name in LINEAGES
            ]
            for a in said
        ]
    )
    figures = measure(np.clip(p, 0, 1), y, np.asarray(groups), rounds=ROUNDS)
    return {
        name: {k: round(v, 4) for k, v in vars(figure).items()}
        for name, figure in figures.items()
        if np.isfinite(figure.value)
    }


def answers(said: Sequence[Assessment], truth: Sequence[str]) -> dict[str, Any]:
    """How often there is an answer, how often it is right, how deep it goes, and whether the set holds the truth."""
    tree = load_tree()
    assessed = [(a.answer["node"], leaf) for a, leaf in zip(said, truth, strict=True) if a.answer]
    covered = [any(leaf in tree.leaves_under(n) for n in a.prediction_set) for a, leaf in zip(said, truth, strict=True)]
    alerts = [(bool(a.urgent), leaf == "apl") for a, leaf in zip(said, truth, strict=True)]
    return {
        "abstained": share(not a.answer for a in said),
        "right_when_assessed": share(leaf in tree.leaves_under(node) for node, leaf in assessed),
        "answers": dict(Counter(node for node, _ in assessed).most_common(12)),
        "depth": round(float(np.mean([tree.depth(node) for node, _ in assessed])), 2) if assessed else None,
        "set_covers": share(covered),
        "set_leaves": round(
            float(np.mean([sum(len(tree.leaves_under(n)) for n in a.prediction_set) for a in said])), 2
        ),
        "contradiction": share(bool(a.discordance) for a in said),
        "apl_alert_in_apl": share(alert for alert, is_apl in alerts if is_apl),
        "apl_alert_in_others": share(alert for alert, is_apl in alerts if not is_apl),
    }


def share(hits: Any) -> dict[str, float] | None:
    """A share with its 95 % Wilson interval."""
    said = list(hits)
    if not said:
        return None
    n, p, z = len(said), float(np.mean(said)), 1.96
    centre, spread = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    return {"n": n, "value": round(p, 4), "low": round(float(max(low, 0)), 4), "high": round(float(min(high, 1)), 4)}


def _mixed_up(sources: Mapping[str, Source], patients: Patients, bundle: Bundle, seed: int) -> dict[str, Any]:
    """One modality of a patient is another's, of a different lineage: how often is that noticed, or left unanswered."""
    rng = np.random.default_rng(seed)
    pairs = [i for i in range(len(patients)) if len(patients.modalities(i)) == 2]
    said: dict[str, list[Assessment]] = {}
    for i in rng.permutation(pairs)[:600]:
        a, b = patients.modalities(i)
        j = int(rng.choice([k for k in pairs if patients.modalities(k) == (a, b)]))
        if lineage_of(_truth(patients, [i])[0]) != lineage_of(_truth(patients, [j])[0]):
            findings = [sources[a].finding(int(patients.rows[a][i])), sources[b].finding(int(patients.rows[b][j]))]
            said.setdefault(f"{a}+{b}", []).append(fuse(findings, bundle))
    return {
        key: {"contradiction": share(bool(x.discordance) for x in some), "abstained": share(not x.answer for x in some)}
        for key, some in sorted(said.items())
    }


def report_pairs(pairs: Mapping[str, Source], bundle: Bundle) -> dict[str, Any]:
    """Real people with labs and expression, of the half that the fusion has not learned from; {} if there are none."""
    if not pairs:
        return {}
    patients = patients_of(pairs, 1)
    means = next(iter(pairs.values())).means[next(iter(patients.rows.values()))]
    truth = [tuple(np.array(load_tree().leaves)[mask]) for mask in means]
    both = [patients.findings(i, pairs) for i in range(len(patients))]
    alone = {m: [fuse([f for f in one if f.modality == m], bundle) for one in both] for m in pairs}
    return {
        "real pairs: labs and expression of the same person": {
            "n": len(patients),
            "data": "real people; both predictions are held out",
            "split": "people whom the fusion has not learned from",
            "fusion": _pair_figures([fuse(one, bundle) for one in both], truth),
            "alone": {m: _pair_figures(one, truth) for m, one in alone.items()},
        }
    }


def _pair_figures(said: list[Assessment], truth: list[tuple[str, ...]]) -> dict[str, Any]:
    """Of the true label, a set of leaves: its log-loss, whether the most probable subtype is in it, and the answers."""
    tree = load_tree()
    p = [sum(a.probabilities[leaf] for leaf in leaves) for a, leaves in zip(said, truth, strict=True)]
    best = [max(tree.leaves, key=a.probabilities.__getitem__) for a in said]
    assessed = [(a.answer["node"], leaves) for a, leaves in zip(said, truth, strict=True) if a.answer]
    return {
        "log_loss": round(float(-np.mean(np.log(np.maximum(p, 1e-12)))), 4),
        "most_probable_is_right": share(leaf in leaves for leaf, leaves in zip(best, truth, strict=True)),
        "abstained": share(not a.answer for a in said),
        "right_when_assessed": share(bool(set(leaves) & set(tree.leaves_under(node))) for node, leaves in assessed),
        "contradiction": share(bool(a.discordance) for a in said),
    }


def data_of(sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"held-out predictions of {s.bundle.reference}",
            "licence": s.bundle.manifest["licence"],
            "n": len(s.p),
            "source": [d["name"] for d in s.bundle.manifest["data"]],
        }
        for s in sources.values()
    ]


def card(manifest: Mapping[str, Any]) -> str:
    """The card for people, from the manifest."""
    thresholds, with_ = manifest["thresholds"], manifest["bundles"]
    lines = [
        f"# {manifest['name']} {manifest['version']}",
        "",
        manifest["intended_use"],
        "",
        "## Learned",
        "",
        "| modality | weight | in-scope minimum | learned with |",
        "|---|---|---|---|",
        *(
            f"| {m} | {w:.2f} | {thresholds['in_scope'][m]:.2f} | {with_.get(m, {}).get('reference', '–')} |"
            for m, w in manifest["weights"].items()
        ),
        "",
        f"Thresholds of the answer by depth (rare combinations): {thresholds['level']['otherwise']}.",
        f"Contradiction from {np.exp(thresholds['discordance']):.0f} to 1 on each side.",
        f"APL alert from a probability of {thresholds['urgent_apl']['otherwise']:.3f}.",
        "",
        "## Measured, on people that the fusion has not learned from",
        "",
        HEAD,
        "|---|---|---|---|---|---|---|",
        *(_row(name, said) for name, said in manifest["metrics"].items() if "fusion" in said),
        "",
        "Intervals are 95 %. Each modality alone beside the fusion, and mixed-up results: `bundle.json`, `metrics`.",
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in manifest["limits"]),
        "",
        f"Data: {'; '.join(d['name'] for d in manifest['data'])}. Licence: {manifest['licence']}.",
        f"Reproduce: `{manifest['trained']['command']}`.",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, said: Mapping[str, Any]) -> str:
    def figure(of: Mapping[str, Any] | None) -> str:
        return interval_text(of) if of else "–"

    fusion = said["fusion"]
    lineage = said.get("figures", {})
    shares = [fusion.get(key) for key in ("abstained", "right_when_assessed", "set_covers")]
    cells = [*shares, lineage.get("accuracy"), lineage.get("log_loss")]
    return f"| {name} | {said['n']} | " + " | ".join(figure(cell) for cell in cells) + " |"
