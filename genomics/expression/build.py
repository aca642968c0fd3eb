"""From data to a sealed ``expression`` bundle: fit, judge, calibrate, describe."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from safetensors.numpy import save_file
from scipy.special import expit, softmax

from genomics.cards import DATA_ALL, DATA_AML, DATA_RAW, GENES, write_card
from genomics.expression.data import (
    ALL_FILE,
    AML_FILE,
    BLURRED,
    LINEAGE_ONLY,
    OTHER_AML,
    OTHER_B,
    RAW_FILE,
    Cohort,
    load_all,
    load_aml,
    load_raw,
)
from genomics.expression.heads import CONFLICT, ROLES, Head, compose, similarity, t_over_b
from genomics.expression.maps import CohortMap, fit_map, save_maps
from genomics.expression.train import (
    HeldOut,
    Samples,
    class_statistics,
    cross_validate,
    finish,
    fit_head,
    fit_scope,
    gather,
    head_ranks,
    leave_cohort_out,
    save_heads,
)
from ml.bundle import Bundle, seal_bundle
from ml.calibration import fit_temperature, metrics_report
from ml.diagnosis_tree import load_tree

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

VERSION = "1.0.0"
FILES = (ALL_FILE, AML_FILE, RAW_FILE, "all_labels.csv", "aml_labels_and_labs.csv")
STATISTICS = "statistics.safetensors"
BATCH_CORRECTED = ", batch-corrected"
LEAVES = {
    "Normal": ["haematogones", "no_leukaemia_other"],
    "T-ALL": ["t_all_etp", "t_all_nos"],
    "ETV6::RUNX1": ["b_all_etv6_runx1"],
    "ETV6::RUNX1-like": ["b_all_etv6_runx1_like"],
    "High hyperdiploid": ["b_all_hyperdiploid"],
    "iAMP21": ["b_all_iamp21"],
    "BCR::ABL1": ["b_all_bcr_abl1"],
    "BCR::ABL1-like": ["b_all_bcr_abl1_like"],
    "KMT2A-r": ["b_all_kmt2a"],
    "TCF3::PBX1": ["b_all_tcf3_pbx1"],
    "DUX4-r": ["b_all_dux4"],
    "ZNF384-r": ["b_all_znf384"],
    "MEF2D-r": ["b_all_mef2d"],
    "PAX5alt": ["b_all_pax5alt"],
    "PAX5 P80R": ["b_all_pax5_p80r"],
    "PML::RARA": ["apl"],
    "CBFB::MYH11": ["aml_cbfb_myh11"],
    "RUNX1::RUNX1T1": ["aml_runx1_runx1t1"],
    "KMT2A-r AML": ["aml_kmt2a"],
    "NPM1": ["aml_npm1"],
    "CEBPA": ["aml_cebpa"],
    "TP53-mutated": ["aml_tp53"],
}
LIMITS = [
    "The normal samples are sorted T and B cells and marrow stroma, not healthy marrow.",
    "All AML samples are of one study (TCGA-LAML): the lineage of AML of another laboratory is not measured.",
    (
        "T-ALL is learned from 20 samples of one study; the T-ALL of Cohort 7/8 count little, because their batch "
        "correction has made B- and T-cell genes as high as in B-ALL. Held out, none of them is recognised."
    ),
    "GSE228632 is labelled B-ALL; four of its samples carry T-cell antigens and lack CD19.",
    "T-ALL is one label; ETP-ALL and the molecular subtypes of T-ALL are not told apart.",
    "Samples with few blasts look like normal marrow, and may look like AML.",
    (
        "BCR::ABL1-like, BCR::ABL1 and part of DUX4-r are often taken for another B-ALL; "
        "confirm by FISH, PCR or fusion calling."
    ),
    "NUTM1-r (2 samples) is part of 'B-ALL other'; NUP98-r, MR/complex and BCR::ABL1 AML are part of 'AML other'.",
    "MPAL is not a label.",
]


def label_leaves() -> dict[str, list[str]]:
    """Label → leaves; the two "other" labels take every leaf of their lineage that no label names."""
    tree, named = load_tree(), {leaf for leaves in LEAVES.values() for leaf in leaves}
    other = {OTHER_B: "b_all", OTHER_AML: "aml"}
    return LEAVES | {label: [x for x in tree.leaves_under(node) if x not in named] for label, node in other.items()}


def train(data: Path, out: Path, *, seed: int, oof: Path | None = None) -> Bundle:
    """Train on ``data``, write the bundle to ``out/expression/VERSION`` and the held-out predictions to ``oof``."""
    started = time.monotonic()
    cohorts = (load_all(data), load_aml(data))
    samples, raw = gather(*cohorts), head_ranks(load_raw(data))
    held = cross_validate(samples, seed)
    by_cohort = leave_cohort_out(samples, raw, seed)
    heads = _final_heads(samples, raw, held, by_cohort, seed)
    said = _out_of_fold(heads, held)
    if oof:
        write_oof(oof, samples, said)
    folder = out / "expression" / VERSION
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_heads(heads, folder)
    save_file(_statistics(cohorts), folder / STATISTICS)
    manifest = _manifest(heads, said.labels) | {
        "maps": save_maps(cohort_maps(samples, seed), folder),
        "metrics": _metrics(samples, said, heads, raw, by_cohort),
        "baselines": _baselines(samples, held, said.rows),
        "trained": {
            "command": f"python -m genomics train expression --data DATA --out ml/bundles --seed {seed}",
            "seed": seed,
            "date": time.strftime("%Y-%m-%d"),
            "device": "cpu",
            "minutes": round((time.monotonic() - started) / 60, 2),
        },
    }
    write_card(folder, manifest)
    return seal_bundle(folder, manifest)


def _final_heads(
    samples: Samples, raw: dict[str, Array], held: HeldOut, by_cohort: dict[str, dict[str, Any]], seed: int
) -> dict[str, Head]:
    heads, everyone = {}, np.arange(len(samples.id))
    for role in ROLES:
        head = fit_head(role, samples, everyone, seed)
        truth = samples.role_label[role]
        seen = np.isfinite(held.alike[role]) & (truth != "") & ((samples.cohort != BLURRED) | (role != "kind"))
        scores, y = held.logits[role][seen], np.array([head.classes.index(c) for c in truth[seen]])
        alike, of_role = held.alike[role][seen], samples.ranks[role][seen]
        if role == "lineage":  # other cohorts are harder than other folds: they set the temperature
            foreign = [said[role]["logits"] for cohort, said in by_cohort.items() if cohort != "GSE133499"]
            scores = np.vstack([scores[y == 1], *foreign])
            y = np.concatenate([np.ones((y == 1).sum(), int), np.zeros(len(scores) - (y == 1).sum(), int)])
            alike = np.concatenate([alike, *(said[role]["alike"] for said in by_cohort.values())])
        elif role in ("kind", "b_all"):  # and so are raw counts
            alike = np.concatenate([alike, similarity(raw[role], head.centroids)])
        temperature = fit_temperature(scores, y)
        # the lineage is never sharpened: one study holds all AML, one the clean T-ALL; their margins flatter
        temperature = max(temperature, 1.0) if role in ("lineage", "kind") else temperature
        heads[role] = finish(head, temperature, fit_scope(head, of_role, alike, seed))
    return heads


@dataclass(frozen=True)
class Said:
    """What the folds said of their held-out ``rows``, calibrated and composed: ``p`` (n, labels), ``scope`` (n,)."""

    labels: tuple[str, ...]
    p: Array
    scope: Array
    rows: Rows


def _out_of_fold(heads: dict[str, Head], held: HeldOut) -> Said:
    rows = np.flatnonzero(np.isfinite(held.alike["lineage"]))
    p, scope = {}, {}
    for role, head in heads.items():
        judged = np.isfinite(held.alike[role][rows])[:, None]
        calibrated = softmax(np.nan_to_num(held.logits[role][rows]) / head.temperature, axis=1)
        p[role] = np.where(judged, calibrated, np.array(head.share))
        alike = expit((held.alike[role][rows] - head.scope["middle"]) / head.scope["width"])
        scope[role] = np.where(judged[:, 0], alike, 1.0)
    aml = p["lineage"][:, 1]
    labels, joint = compose(p, {role: head.classes for role, head in heads.items()})
    return Said(labels, joint, scope["lineage"] * (aml * scope["aml"] + (1 - aml) * scope["kind"]), rows)


def write_oof(path: Path, samples: Samples, said: Said) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"id": samples.id, "group": samples.group, "cohort": samples.cohort, "y": samples.label}
    frame = pd.DataFrame({name: column[said.rows] for name, column in told.items()} | {"in_scope": said.scope})
    p = pd.DataFrame(said.p, columns=[f"p:{label}" for label in said.labels])
    pd.concat([frame, p], axis=1).to_csv(path, index=False)


def cohort_maps(samples: Samples, seed: int) -> dict[str, CohortMap]:
    """Of the lineages, and of the subtypes of B-ALL and of AML. What batch correction has blurred is named apart."""
    lineage = np.where(samples.cohort == BLURRED, samples.lineage + BATCH_CORRECTED, samples.lineage)
    labels = {"lineage": lineage, **{role: samples.role_label[role] for role in ("b_all", "aml")}}
    return {role: fit_map(samples.ranks[role][of != ""], of[of != ""].astype(str), seed) for role, of in labels.items()}


def _statistics(cohorts: tuple[Cohort, ...]) -> dict[str, npt.NDArray[np.float16]]:
    return {name: array for cohort in cohorts for name, array in class_statistics(cohort.table, cohort.label).items()}


def _manifest(heads: dict[str, Head], labels: tuple[str, ...]) -> dict[str, Any]:
    leaves = label_leaves()
    shares = {role: np.array([head.share]) for role, head in heads.items()}
    share = dict(zip(labels, compose(shares, {r: h.classes for r, h in heads.items()})[1][0].tolist(), strict=True))
    return {
        "name": "expression",
        "version": VERSION,
        "modality": "expression",
        "labels": {k: {"name": k, "leaves": leaves[k], "training_share": share[k]} for k in labels},
        "preprocessing": {
            "input": "panel genes of one sample, linear; ranks within the sample, ties shared",
            "floor": heads["lineage"].floor,
            "per_length": {role: head.per_length for role, head in heads.items()},
            "genes": {role: len(head.genes) for role, head in heads.items()},
        },
        "calibration": {"temperature": {role: head.temperature for role, head in heads.items()}},
        "thresholds": {"min_overlap": heads["lineage"].min_overlap, "low_scope": 0.5},
        "in_scope": {
            "method": (
                "correlation of ranks with the nearest class centroid; logistic, held-out samples against shuffled"
            ),
            **{role: head.scope for role, head in heads.items()},
        },
        "data": [DATA_ALL, DATA_AML, DATA_RAW, GENES],
        "licence": "research use",
        "intended_use": "A second opinion on lineage and molecular subtype of suspected acute leukaemia, from bulk "
        "RNA-seq of blood or marrow at diagnosis. Not for follow-up samples, not for measurable residual disease, not "
        "alone.",
        "limits": LIMITS,
    }


def _metrics(
    samples: Samples, said: Said, heads: dict[str, Head], raw: dict[str, Array], by_cohort: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    out = _by_label(samples, said)
    for cohort, of_cohort in by_cohort.items():
        p_aml = softmax(of_cohort["lineage"]["logits"] / heads["lineage"].temperature, axis=1)[:, 1]
        out[f"lineage, {cohort} held out"] = {
            "data": cohort + (", raw counts" if cohort == LINEAGE_ONLY else ""),
            "split": "leave one cohort out",
            "n": len(p_aml),
            "called_aml": int((p_aml > 0.5).sum()),
            "largest_p_aml": float(p_aml.max()),
            **{f"called_{kind}": int((of_cohort["kind"]["called"] == kind).sum()) for kind in heads["kind"].classes},
        }
    antigens = t_over_b(raw["kind"], heads["kind"].genes) > CONFLICT
    called_t = by_cohort[LINEAGE_ONLY]["kind"]["called"] == "T-ALL"
    out[f"lineage, {LINEAGE_ONLY} held out"]["antigens_of_T_lineage"] = int(antigens.sum())
    out[f"lineage, {LINEAGE_ONLY} held out"]["called_T-ALL_against_antigens"] = int((called_t & ~antigens).sum())
    out["in scope"] = _scope_figures(heads, raw, said.scope)
    return out


def _by_label(samples: Samples, said: Said) -> dict[str, Any]:
    """The reports by label: of all held-out rows, and of the parts that others report."""
    label, lineage, cohort = (of[said.rows] for of in (samples.label, samples.lineage, samples.cohort))
    count = pd.Series(label).map(pd.Series(label).value_counts()).to_numpy()
    all13 = (lineage != "AML") & ~np.isin(label, ["Normal", OTHER_B]) & (count >= 7)
    aml = (lineage == "AML") & (label != OTHER_AML) & (count >= 5)
    parts = {
        "ALL subtypes, 13 classes": (all13, "GSE227832, Cohort 7/8"),
        "ALL subtypes, 13 classes, without Cohort 7/8": (all13 & (cohort != BLURRED), "GSE227832"),
        "AML genetic subtypes, 7 classes": (aml, "TCGA-LAML"),
    }
    out = {"all labels": _part(samples, said, np.ones(len(label), bool), "GEO ALL and normal cohorts, TCGA-LAML")}
    return out | {name: _part(samples, said, keep, data, only=True) for name, (keep, data) in parts.items()}


def _part(
    samples: Samples, said: Said, keep: npt.NDArray[np.bool_], data: str, *, only: bool = False
) -> dict[str, Any]:
    """The report of a part of the rows; ``only``: among the labels that occur in it, p renormalised."""
    y = np.array([said.labels.index(label) for label in samples.label[said.rows]])
    use = np.unique(y[keep]) if only else np.arange(len(said.labels))
    part = said.p[keep][:, use] / said.p[keep][:, use].sum(axis=1, keepdims=True)
    named = tuple(said.labels[k] for k in use)
    split = "5-fold, grouped by patient" + (", among the classes named" if only else "")
    group = samples.group[said.rows][keep]
    return {"data": data, "split": split} | metrics_report(part, np.searchsorted(use, y[keep]), named, group)


def _scope_figures(heads: dict[str, Head], raw: dict[str, Array], scope: Array) -> dict[str, Any]:
    rng = np.random.default_rng(1)

    def score(ranks: dict[str, Array]) -> Array:
        said = [
            expit((similarity(ranks[r], heads[r].centroids) - heads[r].scope["middle"]) / heads[r].scope["width"])
            for r in ("lineage", "kind")
        ]
        return np.asarray(said[0] * said[1])

    noise = {role: rng.permuted(raw[role], axis=1) for role in ROLES}
    return {
        "data": "held-out folds; GSE228632 raw counts; the same with all genes exchanged",
        "split": "as named",
        "n": len(scope),
        "median_held_out": float(np.median(scope)),
        "share_below_half_held_out": float((scope < 0.5).mean()),
        "median_raw_counts": float(np.median(score(raw))),
        "largest_shuffled": float(score(noise).max()),
    }


def _baselines(samples: Samples, held: HeldOut, rows: Rows) -> dict[str, Any]:
    out = {}
    for role in ("b_all", "aml"):
        truth = samples.role_label[role][rows]
        use = (truth != "") & (held.centroid_label[role][rows] != "")
        hit = held.centroid_label[role][rows][use] == truth[use]
        _, n = np.unique(truth[use].astype(str), return_counts=True)
        out[role] = {"nearest_centroid_accuracy": float(hit.mean()), "majority_accuracy": float(n.max() / n.sum())}
    return out
