"""Whole cases for the portal's tests: findings as the models shape them, fused by the real fusion, stored as rows."""

from io import BytesIO

from django.urls import reverse
from PIL import Image

from clinic.audit.models import AuditEvent
from clinic.canonical import digest
from clinic.cases import files
from ml.diagnosis_tree import load_tree
from ml.findings import Finding
from ml.fusion import fuse
from tests.factories import (
    AnalysisFactory,
    ArtefactFactory,
    AssessmentFactory,
    BundleFactory,
    CaseFactory,
    FindingFactory,
    ItemFactory,
)
from tests.ml.test_fusion import BUNDLE

UNDER = load_tree().leaves_under
OTHER_AML = tuple(leaf for leaf in UNDER("aml") if leaf != "apl")
LABELS = {
    "smear_field": {"haematogones": (0.2, ("haematogones",)), "Pre-B": (0.8, UNDER("b_all"))},
    "smear_cell": {"APL": (0.3, ("apl",)), "AML": (0.7, OTHER_AML)},
    "expression": {
        "Normal": (0.1, UNDER("no_leukaemia")),
        "T-ALL": (0.2, UNDER("t_all")),
        "B-ALL": (0.5, UNDER("b_all")),
        "AML": (0.2, UNDER("aml")),
    },
    "labs": {"ALL": (0.35, UNDER("all")), "AML": (0.55, OTHER_AML), "APL": (0.1, ("apl",))},
}


def png(shade=200, side=64):
    out = BytesIO()
    Image.new("RGB", (side, side), (shade, 120, 160)).save(out, "PNG")
    return out.getvalue()


def finding(modality, label, sure=0.97, **more):
    labels = LABELS[modality]
    rest = (1 - sure) / (len(labels) - 1)
    return Finding(
        modality=modality,
        bundle=f"{modality.replace('_', '-')}@1.0.0",
        bundle_sha256=digest([modality.replace("_", "-"), "1.0.0"]),
        label=label,
        probabilities={name: sure if name == label else rest for name in labels},
        leaves={name: leaves for name, (_, leaves) in labels.items()},
        training_share={name: share for name, (share, _) in labels.items()},
        **{"in_scope": 0.95, **more},
    )


def image_said(item, label, **more):
    said = {"id": f"{item.pk}/0", "label": label, "probabilities": {label: 0.9}, "in_scope": 0.9}
    return said | {"quality": [], "reasons": []} | more


def fused_case(site, findings, **case_fields):
    """A case of ``site`` with these findings, fused; an item of each kind. Returns the assessment."""
    for name in ("smear-field", "smear-cell", "expression", "labs", "fusion"):
        BundleFactory._meta.model.objects.filter(name=name).exists() or BundleFactory(name=name)
    case = CaseFactory(patient__site=site, **case_fields)
    for said in findings:
        ItemFactory(case=case, kind=said.modality, filename=f"{said.modality}.dat")
    return assess(case, findings)


def assess(case, findings):
    analysis = AnalysisFactory(case=case)
    for said in findings:
        FindingFactory(
            analysis=analysis,
            modality=said.modality,
            bundle=said.bundle,
            bundle_sha256=said.bundle_sha256,
            body=said.as_dict(),
        )
    body = fuse(findings, BUNDLE).as_dict()
    return AssessmentFactory(
        analysis=analysis, body=body, urgent=bool(body["urgent"]), discordant=bool(body["discordance"])
    )


def keep_frame(item, content):
    """What the reader makes of an image: its one frame."""
    with files.workplace() as folder:
        (folder / "frame-0000.png").write_bytes(content)
        files.keep_canonical(item, folder)


def full_case(site):
    """A B-ALL with all four kinds of result, each with its explanation, a picture and an overlay."""
    BundleFactory(name="fusion")
    case = CaseFactory(patient__site=site, patient__name="Synthia Test", title="Blasts on the smear")
    field, cell = (
        ItemFactory(case=case, kind=kind, filename=f"{kind}.png", content=png(shade))
        for kind, shade in (("smear_field", 210), ("smear_cell", 180))
    )
    for item in (field, cell):
        keep_frame(item, png())
    ItemFactory(case=case, kind="expression", filename="counts.tsv")
    ItemFactory(case=case, kind="labs", filename="labs.csv")
    fields = {"images": [image_said(field, "Pre-B")], "maturation": {"Pro-B": 0.1, "Early Pre-B": 0.2, "Pre-B": 0.7}}
    blasts = {"blasts": 1, "counted": 1, "share": 1.0, "low": 0.21, "high": 1.0}
    cells = {
        "cells": [image_said(cell, "Promyelocyte", attention=1.0)],
        "differential": {"Promyelocyte": 1},
        "blast_share": blasts,
    }
    genes = [
        {"symbol": "CD19", "contribution": 1.5, "direction": "for", "note": "B lineage"},
        {"symbol": "MPO", "contribution": -0.5, "direction": "against"},
    ]
    step = {
        "answer": "B-ALL",
        "against": "AML",
        "log_odds": 2.0,
        "intercept": 0.25,
        "other_genes": 0.75,
        "genes": genes,
    }
    lab = {"name": "White blood cells", "value": 12.4, "unit": "10*9/L", "reference": [4.0, 11.0], "contribution": 0.8}
    none = {"name": "Fibrinogen", "value": None, "unit": "g/L", "reference": None, "contribution": 0.1}
    labs = {"answer": "ALL", "against": "AML", "log_odds": 0.7, "intercept": -0.2, "labs": [lab, none]}
    findings = [
        finding("smear_field", "Pre-B", explanation=fields, reasons=(f"{field.pk}/0: It is blurred.",)),
        finding("smear_cell", "AML", 0.72, explanation=cells),
        finding("expression", "B-ALL", explanation={"steps": [step]}),
        finding("labs", "ALL", explanation=labs),
    ]
    assessment = assess(case, findings)
    saved = assessment.analysis.findings.get(modality="smear_field")
    ArtefactFactory(finding=saved, kind="grad_cam", name=f"{field.pk}/0", sha256=files.store_bytes(png(90)))
    return assessment


def address(name, case):
    """The URL of ``name`` for whatever of ``case`` it shows."""
    field = case.items.filter(kind="smear_field").first()
    key = {
        "report": lambda: case.reports.first().pk,
        "sign": lambda: case.reports.first().pk,
        "amend": lambda: case.reports.first().pk,
        "item_file": lambda: field.pk,
        "item_frame": lambda: field.pk,
        "viewer": lambda: field.pk,
        "artefact": lambda: case.analyses.first().findings.get(modality="smear_field").artefacts.get().pk,
        "cancel": lambda: case.analyses.first().pk,
    }.get(name, lambda: case.pk)
    if name in {"worklist", "worklist_pulse", "new_case", "audit", "models"}:
        return reverse(f"portal:{name}")
    more = [0] if name in {"item_frame", "viewer"} else []
    return reverse(f"portal:{name}", args=[key(), *more])


def events(action, **said):
    return AuditEvent.objects.filter(action=action, **said)
