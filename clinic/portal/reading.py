"""What a page shows of an assessment: the stored JSON as rows for the templates. Nothing is judged anew here."""

from datetime import date, datetime

from clinic.cases.reports import companions
from clinic.portal import charts, glance
from clinic.portal.templatetags.portal import UNITS
from clinic.registry.models import ModelBundle
from ml.diagnosis_tree import load_tree
from ml.findings import MODALITIES

SHOWN = 12  # genes or values of one step; the others are one row
FACTS = ("limits", "intended_use", "licence", "data")


def read_assessment(assessment):
    analysis = assessment.analysis
    findings = list(analysis.findings.prefetch_related("artefacts"))
    spoke = [*(row.bundle_sha256 for row in findings), *companions(findings), analysis.bundles.get("fusion", "")]
    names = {str(pk): name for pk, name in analysis.items.values_list("pk", "filename")}
    pictures = {picture.name: picture for row in findings for picture in row.artefacts.all()}
    read = read_findings([row.body for row in findings], names, pictures)
    return {
        **read_body(assessment.body),
        "findings": read,
        "files": set(names),
        "warnings": glance.warnings(read),
        "bundles": [bundle_facts(bundle) for bundle in ModelBundle.objects.filter(sha256__in=spoke).order_by("name")],
    }


def read_report(report):
    """The frozen text of a report, in the same form."""
    body = report.body
    names = {item["id"]: item["filename"] for item in body["items"]}
    read = read_findings(body["findings"], names, {})
    return {
        **read_body(body["assessment"]),
        "findings": read,
        "warnings": glance.warnings(read),
        "pictures": [_picture(one, names) for one in body.get("pictures", [])],
        "bundles": body["bundles"],
        "created": datetime.fromisoformat(body["created"]),
        "born": date.fromisoformat(body["patient"]["birth_date"]) if body["patient"]["birth_date"] else None,
    }


def _picture(said, names):
    image, _, number = said["name"].partition(":")
    what = f"Cell {number}" if number else "Where the model looked"
    return {**said, "caption": f"{what}, {_name_of(image, names)}"}


def bundle_facts(bundle):
    facts = {name: bundle.manifest.get(name) for name in FACTS}
    return {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256, **facts}


def read_bundle(bundle):
    """A registered bundle for the models page: its facts, and each split's figures as a table."""
    manifest = bundle.manifest
    shares = [(label, said.get("training_share")) for label, said in manifest.get("labels", {}).items()]
    return {
        "row": bundle,
        "facts": bundle_facts(bundle),
        "metrics": [
            {"name": split, **said} for split, said in manifest.get("metrics", {}).items() if "figures" in said
        ],
        "labels": shares,
    }


def read_body(body):
    """The parts of an assessment that need no row: a signed report shows them from its own frozen copy."""
    tree, answer, p = load_tree(), body["answer"], body["probabilities"]
    path = tree.path(answer["node"])[1:] if answer else ()
    compared = charts.candidates(body) if body.get("evidence") else []
    return {
        "body": body,
        "discordance": [{**one, "sides": glance.sides(one)} for one in body["discordance"]],
        "next_tests": glance.next_tests(body),
        "counterfactuals": glance.counterfactuals(body),
        "models": glance.models(body),
        "wider_sets": [one for one in body.get("prediction_sets", []) if one["coverage"] > body["coverage"]],
        "trail": [{"node": node, "share": p[node]} for node in path if node in p],
        "comparisons": [charts.waterfall(body, node) for node in compared],
        "leaves": charts.bars({leaf: p[leaf] for leaf in tree.leaves if leaf in p}, keep=6),
        "nodes": [
            {"node": node, "share": p[node], "depth": tree.depth(node)}
            for node in tree.nodes
            if node in p and node != tree.root
        ],
        "maturation": charts.bars((body.get("maturation") or {}).get("probabilities", {})),
    }


def read_findings(bodies, names, pictures):
    """In the order of the work-up. ``names``: item id → file name; ``pictures``: image id → its overlay."""
    ordered = sorted(bodies, key=lambda body: MODALITIES.index(body["modality"]))
    return [read_finding(body, names, pictures) for body in ordered]


def read_finding(body, names, pictures):
    explanation = body["explanation"]
    template, explain = EXPLAIN[body["modality"]]
    return {
        "body": body,
        "bars": charts.bars(body["probabilities"], chosen=body["label"]),
        "reasons": [_with_names(reason, explanation, names) for reason in body["reasons"]],
        "template": f"portal/parts/explain_{template}.html",
        "explained": explain(explanation, names, pictures) if explanation else None,
    }


def _name_of(image_id, names):
    """An image's id is "item/frame", as the worker names it; a person knows the file."""
    item, _, frame = image_id.partition("/")
    name = names.get(item, item)
    return f"{name}, frame {int(frame) + 1}" if frame.isdecimal() and int(frame) else name


def _with_names(text, explanation, names):
    for image in [*explanation.get("images", []), *explanation.get("cells", [])]:
        text = text.replace(image["id"], _name_of(image["id"], names))
    return text


def _image(said, names, pictures):
    item, _, frame = said["id"].partition("/")
    share = said["probabilities"].get(said["label"])
    place = {"item": item, "frame": int(frame or 0), "name": _name_of(said["id"], names)}
    return {**said, **place, "share": share, "overlay": pictures.get(said["id"])}


def _fields(explanation, names, pictures):
    images = [_image(said, names, pictures) for said in explanation["images"]]
    cells = explanation.get("white_cells")
    return {
        "images": sorted(images, key=lambda image: image["overlay"] is None),
        "white_cells": cells and {**_counts(cells), **_gallery(cells, names, pictures)},
    }


def _cells(explanation, names, pictures):
    """The differential, and the cells that count most in the case."""
    cells = sorted(explanation["cells"], key=lambda cell: -cell["attention"])
    return {**_counts(explanation), "images": [_image(said, names, pictures) for said in cells]}


def _counts(said):
    counts, total = said["differential"], sum(said["differential"].values())
    return {
        "differential": [
            {"label": name, "count": count, "width": count / total * charts.WIDTH, "share": count / total}
            for name, count in counts.items()
        ],
        "counted": total,
        "blasts": said["blast_share"],
    }


def _gallery(said, names, pictures):
    """The white cells of the fields that have a picture, the surest blasts first."""
    shown = [{**cell, "picture": pictures[cell["id"]]} for cell in said["cells"] if cell["id"] in pictures]
    for cell in shown:
        cell["name"] = _name_of(cell["field"], names)
    unlike = sum(cell["label"] is None for cell in said["cells"])
    shown.sort(key=lambda cell: -cell["blast"] * cell["in_scope"])
    return {"gallery": shown, "unlike": unlike, "found": len(said["cells"]), "cut_off": said["cut_off"]}


def _genes(explanation, *_):
    """Each step of the model: the answer against the runner-up, as pushes that add up to the step's log-odds."""
    return {"steps": [_step(step, [_gene(gene) for gene in step["genes"]]) for step in explanation.get("steps", [])]}


def _labs(explanation, *_):
    computed = explanation.get("derived", {})
    values = [_lab(lab, computed) for lab in explanation.get("labs", [])]
    return {"steps": [_step(explanation, values)] if values else []}


def _step(step, pushes):
    ranked = sorted(pushes, key=lambda push: -abs(push[1]))
    rest = step.get("other_genes", 0.0) + sum(push for _, push, _ in ranked[SHOWN:])
    rows = [*ranked[:SHOWN], ("All others", rest, {}), ("Before any value", step["intercept"], {})]
    return {**step, "rows": charts.pushes(rows)}


def _gene(gene):
    return gene["symbol"], gene["contribution"], {"note": gene.get("note")}


def _lab(lab, computed):
    unit = UNITS.get(lab["unit"], lab["unit"])
    measured = "not measured" if lab["value"] is None else f"{round(lab['value'], 2):.10g} {unit}"
    if lab.get("analyte") in computed:
        measured += ", computed from others"
    low, high = lab.get("reference") or (None, None)
    usual = f"usual in adults {low:g} to {high:g}" if low is not None else None
    return lab["name"], lab["contribution"], {"value_text": measured, "note": usual}


EXPLAIN = {
    "smear_field": ("smear_field", _fields),
    "smear_cell": ("smear_cell", _cells),
    "expression": ("steps", _genes),
    "labs": ("steps", _labs),
}
