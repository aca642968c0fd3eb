"""How the fusion came to what it says: shares that add up, steps from prior to posterior, and the answer without each.

Every figure is traceable: ``trace`` names for each modality its bundle, the bundle's hash, and the SHA-256 of the
finding's canonical JSON (RFC 8785), which the audit log holds too.
"""

from __future__ import annotations

import hashlib
import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import rfc8785

from ml import evidence as ev
from ml.diagnosis_tree import load_tree
from ml.posterior import by_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ml.bundle import Bundle
    from ml.findings import Finding
    from ml.posterior import Posterior

CANDIDATES = 5


def shapley(readings: Sequence[ev.Reading], posterior: Posterior) -> dict[str, dict[str, float]]:
    """Modality → node → its Shapley share of logit P(node | all) − logit prior(node), in nats; the root has none."""
    logits = {
        chosen: _logits(posterior([readings[i] for i in chosen]))
        for size in range(len(readings) + 1)
        for chosen in combinations(range(len(readings)), size)
    }
    n, shares = len(readings), {}
    for i, reading in enumerate(readings):
        others = [chosen for chosen in logits if i not in chosen]
        total = sum(
            (logits[tuple(sorted((*chosen, i)))] - logits[chosen]) / (n * math.comb(n - 1, len(chosen)))
            for chosen in others
        )
        shares[reading.modality] = dict(zip(list(load_tree().nodes)[1:], np.asarray(total)[1:].tolist(), strict=True))
    return shares


def _logits(p: ev.Array) -> ev.Array:
    of_node = ev.node_matrix() @ p
    of_others = (1.0 - ev.node_matrix()) @ p
    return np.asarray(np.log(np.maximum(of_node, 1e-300)) - np.log(np.maximum(of_others, 1e-300)))


def candidates(answer: Mapping[str, Any] | None, is_urgent: bool, shares: Mapping[str, float]) -> list[str]:  # noqa: FBT001
    """The nodes worth comparing: the answer, APL where it is urgent, and the strongest beside the answer's path."""
    tree = load_tree()
    path = tree.path(answer["node"])[1:] if answer else ()
    if answer:
        beside = {sibling for node in path for sibling in tree.children(tree.parent(node) or tree.root)} - set(path)
    else:
        beside = {"no_leukaemia", *tree.children("acute_leukaemia")}
    first = [node for node in (answer and answer["node"], "apl" if is_urgent else None) if node]
    ranked = sorted(beside, key=lambda node: (-shares[node], node))
    return list(dict.fromkeys([*first, *ranked]))[:CANDIDATES]


def waterfall(
    nodes: Iterable[str],
    prior: Mapping[str, float],
    after: Mapping[str, float],
    shares: Mapping[str, Mapping[str, float]],
    trace: Mapping[str, Mapping[str, str]],
) -> list[dict[str, Any]]:
    """For each candidate the steps in log-odds from its prior to its posterior, each with what it is from."""
    return [_steps(node, prior[node], after[node], shares, trace) for node in nodes]


def _steps(
    node: str,
    prior: float,
    after: float,
    shares: Mapping[str, Mapping[str, float]],
    trace: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    level, steps = logit(prior), []
    for modality, of in shares.items():
        steps.append(
            {"modality": modality, "log_odds": of[node], "from": level, "to": level + of[node], **trace[modality]}
        )
        level += of[node]
    return {"node": node, "name": load_tree().nodes[node].name, "prior": prior, "probability": after, "steps": steps}


def logit(p: float) -> float:
    p = min(max(p, 1e-300), 1 - 1e-16)
    return math.log(p) - math.log1p(-p)


def counterfactuals(
    readings: Sequence[ev.Reading],
    node: str | None,
    of: Callable[[Sequence[ev.Reading]], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Modality → what would be said without it. ``of``: readings → {answer, p, urgent, prediction_set}."""
    found = {}
    for left_out in readings:
        said = of([r for r in readings if r is not left_out])
        shares = by_node(said.pop("p"))
        said["probability_of_answer"] = shares[node] if node else None
        said["changes_answer"] = (said["answer"] and said["answer"]["node"]) != node
        found[left_out.modality] = said
    return found


def trace_of(findings: Iterable[Finding]) -> dict[str, dict[str, str]]:
    return {
        f.modality: {"bundle": f.bundle, "bundle_sha256": f.bundle_sha256, "finding_sha256": sha256_of(f.as_dict())}
        for f in findings
    }


def sha256_of(said: Any) -> str:
    return hashlib.sha256(rfc8785.dumps(said)).hexdigest()


def inputs_sha256(findings: Iterable[Finding], bundle: Bundle, prior: ev.Array) -> str:
    """The hash of everything that an assessment is a function of: with it, the same bytes come again."""
    made_of = {
        "findings": {m: said["finding_sha256"] for m, said in trace_of(findings).items()},
        "bundle": bundle.sha256,
        "tree": load_tree().version,
        "prior": prior.tolist(),
    }
    return sha256_of(made_of)
