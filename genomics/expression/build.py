"""From data to a sealed ``expression`` bundle: fit, judge, calibrate, describe."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
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
    raw_cohort,
)
from genomics.expression.figures import Said, baselines, by_cohort_figures, by_label, scope_figures
from genomics.expression.heads import ROLES, Head, compose, similarity
from genomics.expression.joint import Novelty, combine, named_margin, save_whole
from genomics.expression.maps import CohortMap, fit_map, save_maps
from genomics.expression.thresholds import fit_thresholds
from genomics.expression.train import (
    HeldOut,
    Samples,
    axes_of,
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
from genomics.expression.unknown import fit_novelty, leave_class_out
from genomics.expression.whole import Whole, fit_evidence
from ml.bundle import Bundle, seal_bundle
from ml.calibration import fit_temperature
from ml.diagnosis_tree import load_tree

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

VERSION = "1.1.0"
LOW_SCOPE = 0.5
FILES = (ALL_FILE, AML_FILE, RAW_FILE, "all_labels.csv", "aml_labels_and_labs.csv")
EMPTY = np.zeros(0)
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
        "correction has made B- and T-cell genes as high as in B-ALL. Held out, none of them is recognised: 100 of 108 "
        "are out of scope, 8 are called B-ALL. Send raw counts or TPM, not batch-corrected values."
    ),
    (
        "With a cohort left out, the profile as a whole is judged by fewer B-ALL: of GSE227832 a third is out of scope "
        "when only GSE228632 has been seen. Another laboratory's samples may be left unclassified more often."
    ),
    "A left-out ETV6::RUNX1 is taken for ETV6::RUNX1-like: classes that resemble a known one are not seen as unknown.",
    "GSE228632 is labelled B-ALL; five of its samples carry T-cell antigens; held out, one of these is called AML.",
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
    cohorts, counts = (load_all(data), load_aml(data)), load_raw(data)
    samples, raw = gather(*cohorts, raw_cohort(counts)), head_ranks(counts)
    held = cross_validate(samples, seed)
    by_cohort = leave_cohort_out(samples, raw, seed)
    heads = _final_heads(samples, raw, held, by_cohort, seed)
    whole = _fit_whole(samples, held, by_cohort)
    novelty = {role: fit_novelty(role, heads[role].classes, samples, held) for role in ("b_all", "aml")}
    said = _out_of_fold(heads, held, whole, novelty)
    if oof:
        write_oof(oof, samples, said)
    folder = out / "expression" / VERSION
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_heads(heads, folder)
    save_file(_statistics(cohorts), folder / STATISTICS)
    manifest = _manifest(heads, said.labels) | {
        "maps": save_maps(cohort_maps(samples, seed), folder),
        "whole": save_whole(whole, novelty, folder),
    }
    leaves = {label: tuple(of["leaves"]) for label, of in manifest["labels"].items()}
    manifest["thresholds"]["answer"] = fit_thresholds(said.p, list(samples.label[said.rows]), leaves)
    unknown = leave_class_out(samples, novelty, seed)
    manifest |= {
        "unknown": unknown,
        "metrics": by_label(samples, said, leaves, LOW_SCOPE)
        | by_cohort_figures(by_cohort, heads, raw, LOW_SCOPE)
        | {"a class left out": unknown_row(unknown), "in scope": scope_figures(heads, raw, whole, said.scope)},
        "baselines": baselines(samples, held, said.rows),
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


def _out_of_fold(heads: dict[str, Head], held: HeldOut, whole: Whole, novelty: dict[str, Novelty]) -> Said:
    rows = np.flatnonzero(np.isfinite(held.alike["lineage"]))
    p, scope, known = {}, {}, np.ones(len(rows), bool)
    for role, head in heads.items():
        judged = np.isfinite(held.alike[role][rows])[:, None]
        calibrated = softmax(np.nan_to_num(held.logits[role][rows]) / head.temperature, axis=1)
        p[role] = np.where(judged, calibrated, np.array(head.share))
        alike = expit((held.alike[role][rows] - head.scope["middle"]) / head.scope["width"])
        scope[role] = np.where(judged[:, 0], alike, 1.0)
        if role in novelty:
            margin = named_margin(held.logits[role][rows], head.classes)
            known &= ~(novelty[role].score(margin, held.unlike[rows]) > novelty[role].cut) | ~judged[:, 0]
    kinds = heads["kind"].classes
    counted, in_scope = combine(p, scope, whole.evidence(held.unlike[rows]), kinds.index("B-ALL"))
    labels, joint = compose(counted, {role: head.classes for role, head in heads.items()})
    return Said(labels, joint, in_scope, known, rows)


def write_oof(path: Path, samples: Samples, said: Said) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"id": samples.id, "group": samples.group, "cohort": samples.cohort, "y": samples.label}
    frame = pd.DataFrame({name: column[said.rows] for name, column in told.items()} | {"in_scope": said.scope})
    p = pd.DataFrame(said.p, columns=[f"p:{label}" for label in said.labels])
    pd.concat([frame, p], axis=1).to_csv(path, index=False)


def _fit_whole(samples: Samples, held: HeldOut, by_cohort: dict[str, dict[str, Any]]) -> Whole:
    """Components of all B-ALL; what they are worth, from samples that had no part in them.

    Each cohort held out gets its own evidence, from the other cohorts, into ``by_cohort``.
    """
    judged = np.isfinite(held.unlike)
    inside, outside = (judged & np.isin(samples.kind, kinds) for kinds in (["B-ALL"], ["T-ALL", "Normal"]))
    for cohort, said in by_cohort.items():
        rest = samples.cohort != cohort
        worth = fit_evidence(held.unlike[inside & rest], held.unlike[outside & rest])
        said["whole"]["evidence"] = Whole(EMPTY, EMPTY, *worth).evidence(said["whole"]["unlike"])
    raw = by_cohort[LINEAGE_ONLY]  # raw counts are harder than other folds
    foreign = raw["whole"]["unlike"][raw["kind"]["called"] == "B-ALL"]
    middle, slope = fit_evidence(np.concatenate([held.unlike[inside], foreign]), held.unlike[outside])
    return replace(axes_of(samples, np.arange(len(samples.id))), middle=middle, slope=slope)


def unknown_row(unknown: dict[str, Any]) -> dict[str, Any]:
    """For the card: AUROC by class, and their mean."""
    about = {"data": "all cohorts", "split": "leave one class out", "n": len(unknown["auroc"])}
    return about | {"mean_auroc": unknown["mean"]} | unknown["auroc"]


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
        "thresholds": {"min_overlap": heads["lineage"].min_overlap, "low_scope": LOW_SCOPE},
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
