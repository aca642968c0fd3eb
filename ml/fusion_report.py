"""The figures of the fusion's card: of people from whom neither weights nor thresholds have learned.

Every method is scored on the same patients, over the lineages that all of a combination's modalities see: that a data
set has no AML smear fields must not count for a method that noticed. Intervals are a bootstrap over people.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml import conformal
from ml import evidence as ev
from ml.answers import answer
from ml.diagnosis_tree import load_tree
from ml.discordance import contradiction
from ml.fusion_calibration import COVERAGES, apl_alert
from ml.fusion_figures import classes, difference, figures, log_loss, share
from ml.fusion_learning import common_leaves, posteriors, tree_prior
from ml.lineages import LINEAGES, lineage_index, lineage_matrix
from ml.next_test import Statistics, entropy, expected_reduction
from ml.urgent import is_looked_at
from ml.virtual_patients import patients_of, together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml.fusion_calibration import Group
    from ml.stacking import Stack
    from ml.virtual_patients import Patients, Source

    Outputs = dict[str, ev.Array]

METHODS = ("evidence", "stacking")


def say_all(
    sources: Mapping[str, Source], patients: Patients, weights: Mapping[str, float], stack: Stack | None
) -> Outputs:
    """Method or single modality → (n, L): what each says of the same patients; alone, as its own bundle says it."""
    own = dict.fromkeys(weights, 1.0)
    alone = {m: posteriors(sources, replace(patients, rows={m: rows}), own) for m, rows in patients.rows.items()}
    both = {
        "evidence": posteriors(sources, patients, weights),
        "stacking": posteriors(sources, patients, weights, stack),
    }
    return both | alone


def joined(parts: Sequence[Outputs]) -> Outputs:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def with_method(group: Group, outputs: Outputs, method: str) -> Group:
    return replace(group, p=outputs[method])


def of_pairs(pairs: Mapping[str, Source], learned: Mapping[int, Any]) -> tuple[Patients, Outputs]:
    """The real people, each by what was learned on the folds that they are not in."""
    parts, outputs = [], []
    for fold, (weights, stack) in learned.items():
        patients = patients_of(pairs, [fold])
        parts.append(patients)
        outputs.append(say_all(pairs, patients, weights, stack))
    return together(parts), joined(outputs)


def lineage_scores(group: Group, outputs: Outputs, rows: npt.NDArray[np.int64]) -> tuple[dict[str, ev.Array], Any]:
    """Method → (n, 6) over the lineages that the combination sees, and the truth."""
    common = np.all([ev.seen(r.member) for r in group.readings[0]], axis=0)
    y = lineage_index()[group.patients.leaf[rows]]
    return {name: classes(p[rows], common, lineage_matrix()) for name, p in outputs.items()}, y


def choose(said: Mapping[str, tuple[Group, Outputs]], real: Mapping[str, tuple[Patients, Outputs]]) -> dict[str, Any]:
    """The method with the less held-out log-loss: the mean over all combinations, and the real pairs."""
    losses: dict[str, dict[str, float]] = {name: {} for name in METHODS}
    for key, (group, outputs) in said.items():
        rows = group.usual(range(99))
        scores, y = lineage_scores(group, outputs, rows)
        for name in METHODS:
            losses[name][key] = log_loss(scores[name], y)
    for patients, outputs in real.values():
        for name in METHODS:
            right = (outputs[name] * patients.truth).sum(axis=1)
            losses[name]["real pairs"] = float(-np.log(np.maximum(right, 1e-12)).mean())
    means = {name: round(float(np.mean(list(of.values()))), 5) for name, of in losses.items()}
    best = min(METHODS, key=lambda name: (means[name], METHODS.index(name)))
    detail = {name: {key: round(value, 4) for key, value in of.items()} for name, of in losses.items()}
    return {"method": best, "mean_log_loss": means, "log_loss": detail}


def metrics(
    said: Mapping[str, tuple[Group, Outputs]],
    groups: Mapping[str, Group],
    by_fold: Mapping[int, dict[str, Any]],
    real: Mapping[str, tuple[Patients, Outputs]],
    chosen: Mapping[str, Any],
    sources: Mapping[str, Source],
    rules: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, (group, outputs) in said.items():
        rows = group.usual(by_fold)
        scores, y = lineage_scores(group, outputs, rows)
        people = group.patients.people[rows]
        found[f"virtual patients: {key}"] = {
            "n": len(rows),
            "data": "virtual patients: predictions of different people with one diagnosis",
            "split": "5 folds of people; weights and thresholds from the other folds",
            "people": {m: len(np.unique(sources[m].group[r[rows]])) for m, r in group.patients.rows.items()},
            **_compared(scores, y, people, chosen["method"], group.patients.modalities, seed),
            "fusion": _answers(groups[key], by_fold),
        }
    for patients, outputs in real.values():
        found["real pairs: labs and expression of the same person"] = _pairs(
            patients, outputs, chosen["method"], sources, seed
        )
    found["virtual patients: all combinations"] = _overall(groups, by_fold)
    found["virtual patients: results of two people mixed up"] = _mixed_up(groups, rules, seed)
    found["next test: bits expected and found"] = _next_tests(groups, rules)
    return found


def _compared(
    scores: Mapping[str, ev.Array],
    y: npt.NDArray[np.int64],
    people: npt.NDArray[np.str_],
    method: str,
    modalities: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """The active method's figures; the other's; each modality's alone; and the fusion against the best of those."""
    alone = {m: scores[m] for m in modalities if m in scores}
    found: dict[str, Any] = {
        "figures": figures(scores[method], y, people, seed),
        "methods": {name: figures(scores[name], y, people, seed) for name in METHODS},
        "alone": {m: figures(p, y, people, seed) for m, p in alone.items()},
    }
    if alone:
        by_loss = min(alone, key=lambda m: log_loss(alone[m], y))
        most_right = max(alone, key=lambda m: float((alone[m].argmax(axis=1) == y).mean()))
        found["against_best"] = {
            "log_loss": {
                "modality": by_loss,
                **difference(scores[method], alone[by_loss], y, people, seed)["log_loss"],
            },
            "accuracy": {
                "modality": most_right,
                **difference(scores[method], alone[most_right], y, people, seed)["accuracy"],
            },
        }
    return found


def _pairs(
    patients: Patients, outputs: Outputs, method: str, sources: Mapping[str, Source], seed: int
) -> dict[str, Any]:
    """Real people, over the labels of expression (their subtypes), and over the lineages."""
    bundle = sources["expression"].bundle
    member = ev.membership(bundle.leaves)
    common = common_leaves(sources, patients)
    y = np.array([int(np.argmax((member == row).all(axis=1))) for row in patients.truth])
    scores = {name: classes(p, common, member) for name, p in outputs.items()}
    lineages = {name: classes(p, common, lineage_matrix()) for name, p in outputs.items()}
    at = lineage_index()[patients.leaf]
    return {
        "n": len(patients),
        "data": "real people; both predictions are held out",
        "split": "5 folds of people; weights from the other folds",
        **_compared(scores, y, patients.people, method, patients.modalities, seed),
        "lineage": _compared(lineages, at, patients.people, method, patients.modalities, seed),
    }


def _answers(group: Group, by_fold: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """How often there is an answer, how often it is right, whether the sets hold the truth, and the APL alert."""
    tree, rows = load_tree(), group.usual(by_fold)
    said = [_answer(group, i, by_fold[int(group.fold[i])]["thresholds"]) for i in rows]
    leaf = [tree.leaves[k] for k in group.patients.leaf[rows]]
    assessed = [(a["node"], name) for a, name in zip(said, leaf, strict=True) if a]
    found = {
        "abstained": share(a is None for a in said),
        "right_when_assessed": share(name in tree.leaves_under(node) for node, name in assessed),
        "depth": round(float(np.mean([tree.depth(node) for node, _ in assessed])), 2) if assessed else None,
        "contradiction": share(
            bool(group.strength[i] >= by_fold[int(group.fold[i])]["thresholds"]["discordance"]) for i in rows
        )
        if len(group.patients.rows) > 1
        else None,
        "sets": {f"{c:.0%}": _sets(group, by_fold, at) for at, c in enumerate(COVERAGES)},
    }
    return found | (_apl(group, by_fold) if is_looked_at(group.readings[0]) else {})


def _answer(group: Group, i: int, thresholds: Mapping[str, Any]) -> dict[str, Any] | None:
    stops = [node for node, strength in group.stops[i].items() if strength >= thresholds["discordance"]]
    return answer(group.p[i], group.readings[i], stops, thresholds)


def _sets(group: Group, by_fold: Mapping[int, dict[str, Any]], at: int) -> dict[str, Any]:
    rows, held, fits, sizes = group.usual(by_fold), [], [], []
    for i in rows:
        by = by_fold[int(group.fold[i])]["conformal"]["promises"][at]["by"]
        thresholds = by.get(group.key, by["otherwise"])
        if thresholds is None:
            return {}
        inside = conformal.inside(group.p[i], group.evidence[i], thresholds)
        fits.append(bool(inside.any()))
        held.append(bool(inside[group.patients.leaf[i]]))
        shown = inside if fits[-1] else conformal.credible(group.p[i], group.evidence[i], 0.0)
        sizes.append((len(conformal.cover(group.p[i], shown)), bool(shown[group.patients.leaf[i]])))
    lineage = lineage_index()[group.patients.leaf[rows]]
    return {
        "covers": share(held),
        "covers_as_shown": share(hit for _, hit in sizes),
        "nothing_fits": share(not one for one in fits),
        "nodes": round(float(np.mean([count for count, _ in sizes])), 2),
        "by_lineage": {LINEAGES[k]: share(np.array(held)[lineage == k]) for k in np.unique(lineage)},
    }


def _apl(group: Group, by_fold: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    apl = load_tree().leaves.index("apl")
    sick = group.apl(by_fold)
    well = [i for i in group.usual(by_fold) if group.patients.leaf[i] != apl]

    def alerts(rows: Any) -> Any:
        limits = {fold: rules["thresholds"]["urgent_apl"] for fold, rules in by_fold.items()}
        return share(apl_alert(group, i, limits[int(group.fold[i])]) for i in rows)

    return {
        "apl_alert_in_apl": alerts(sick),
        "apl_people": len(np.unique(group.patients.people[sick])),
        "apl_alert_in_others": alerts(well),
    }


def _overall(groups: Mapping[str, Group], by_fold: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Over all combinations alike: coverage of the sets, APL found and alerts raised, and the risk–coverage curve."""
    sets = {f"{c:.0%}": [s for g in groups.values() if (s := _sets(g, by_fold, at))] for at, c in enumerate(COVERAGES)}
    seen = [_apl(g, by_fold) for g in groups.values() if is_looked_at(g.readings[0])]
    return {
        "n": sum(len(g.usual(by_fold)) for g in groups.values()),
        "sets": {
            c: {"covers": _pooled(some, "covers"), "as_shown": _pooled(some, "covers_as_shown")}
            for c, some in sets.items()
        },
        "apl_alert_in_apl": _pooled(seen, "apl_alert_in_apl"),
        "apl_alert_in_others": _pooled(seen, "apl_alert_in_others"),
        "risk_coverage": _risk_coverage(groups, by_fold),
    }


def _pooled(some: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    said = [one[key] for one in some if one[key]]
    n = sum(one["n"] for one in said)
    return {"n": n, "value": round(sum(one["n"] * one["value"] for one in said) / max(n, 1), 4)}


def _risk_coverage(groups: Mapping[str, Group], by_fold: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Share wrong among the surest answers, by the share answered; and where the bundle's thresholds stand on it.

    An answer is the most probable lineage among those that the combination sees; what is sure is its probability.
    """
    sure, wrong = [], []
    for group in groups.values():
        scores, y = lineage_scores(group, {"p": group.p}, group.usual(by_fold))
        sure.append(scores["p"].max(axis=1))
        wrong.append(scores["p"].argmax(axis=1) != y)
    order = np.argsort(-np.concatenate(sure), kind="stable")
    errors = np.concatenate(wrong)[order]
    risk = np.cumsum(errors) / np.arange(1, len(errors) + 1)
    at = np.unique(np.linspace(0.05, 1, 20).round(2))
    return {
        "coverage": at.tolist(),
        "risk": [round(float(risk[max(int(c * len(risk)) - 1, 0)]), 4) for c in at],
        "area": round(float(risk.mean()), 4),
    }


def _mixed_up(groups: Mapping[str, Group], rules: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """One finding of a patient is another's, of a different lineage: how often that is noticed, beside the usual."""
    rng, found = np.random.default_rng(seed), {}
    limit = rules["thresholds"]["discordance"]
    for key, group in groups.items():
        rows = group.usual(range(99))
        if len(group.patients.rows) != 2 or not len(rows):
            continue
        lineage = lineage_index()[group.patients.leaf]
        hits = []
        for i, j in zip(rng.permutation(rows), rng.permutation(rows), strict=True):
            if lineage[i] != lineage[j]:
                said = contradiction(group.readings[i][0], group.readings[j][1], tree_prior())
                hits.append(bool(said and said.strength >= limit))
        found[key] = {"contradiction": share(hits), "usual": share(group.strength[rows] >= limit)}
    return found


def _next_tests(groups: Mapping[str, Group], rules: Mapping[str, Any]) -> dict[str, Any]:
    """Present → missing: the bits expected of the missing modality, and those that it gave when it came."""
    found: dict[str, Any] = {}
    for key, group in groups.items():
        for position, added in enumerate(group.patients.modalities):
            rest = [k for k in range(len(group.patients.rows)) if k != position]
            if not rest:
                continue
            statistics = replace(Statistics.of(rules["next_test"][added]), usable=1.0)
            rows = group.usual(range(99))[:150]
            before = [ev.posterior(tree_prior(), ev.total([group.readings[i][k] for k in rest])) for i in rows]
            expected = [expected_reduction(statistics, p) for p in before]
            given = [float(entropy(p) - entropy(group.p[i])) for p, i in zip(before, rows, strict=True)]
            present = "+".join(group.patients.modalities[k] for k in rest)
            found[f"{present} → {added}"] = {
                "expected": round(float(np.mean(expected)), 3),
                "found": round(float(np.mean(given)), 3),
                "n": len(rows),
                "of": key,
            }
    return found


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
