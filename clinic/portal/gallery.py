"""The images of a case and the cells found on them, those that counted most first, under the names they have now."""

from django.core.paginator import Paginator
from django.urls import reverse

from clinic.cases.models import Artefact, Finding, ItemKind, ItemStatus
from clinic.portal.charts import WIDTH
from clinic.review import cells as reviewing
from ml.differential import blast_share

IMAGES, CELLS = 48, 60  # a page
SPARE = 0.35  # of a cell's box, shown around it
IMAGE_KINDS = (ItemKind.SMEAR_FIELD, ItemKind.SMEAR_CELL)


def of_case(case, assessment, query):
    items = {str(item.pk): item for item in case.items.filter(kind__in=IMAGE_KINDS, status=ItemStatus.VALID)}
    findings = image_findings(assessment)
    images = sorted(_images(items, findings), key=lambda image: -image["influence"])
    found = [cell for finding in findings for cell in cells_of(finding, items)]
    chosen = query.get("class", "")
    shown = [cell for cell in found if not chosen or cell["now"] == chosen]
    image_page = Paginator(images, IMAGES).get_page(query.get("images"))
    cell_page = Paginator(shown, CELLS).get_page(query.get("cells"))
    return {
        "images": image_page.object_list,
        "image_page": image_page,
        "cells": cell_page.object_list,
        "cell_page": cell_page,
        "cell_classes": _classes(found),
        "chosen": chosen,
        **counted(findings),
    }


def image_findings(assessment):
    """The findings of images of an assessment's analysis, that of single cells first: it has the better cells."""
    if assessment is None:
        return []
    rows = Finding.objects.filter(analysis=assessment.analysis, modality__in=IMAGE_KINDS)
    rows = rows.prefetch_related("cell_reviews")
    return sorted(rows, key=lambda row: row.modality != ItemKind.SMEAR_CELL)


def _images(items, findings):
    """Every frame of every image, read or not."""
    said = {one["id"]: one for row in findings for one in _read(row.body)}
    cells = {}
    for row in findings:
        for cell in reviewing.found_cells(row.body).values():
            if "field" in cell:
                cells[cell["field"]] = cells.get(cell["field"], 0) + 1
    for pk, item in items.items():
        for frame in range(item.summary.get("frames", 1)):
            key = f"{pk}/{frame}"
            one = said.get(key, {})
            label = one.get("label")
            yield {
                "item": pk,
                "frame": frame,
                "name": f"{item.filename}, frame {frame + 1}" if item.summary.get("frames", 1) > 1 else item.filename,
                "label": label,
                "share": one.get("probabilities", {}).get(label),
                "read": bool(one),
                "reasons": one.get("reasons", []),
                "cells": cells.get(key, 0),
                "influence": one.get("attention", one.get("in_scope", -1.0) if label else -0.5 if one else -1.0),
            }


def _read(body):
    explanation = body.get("explanation") or {}
    return [*explanation.get("images", []), *explanation.get("cells", [])]


def cells_of(finding, items):
    """The cells of one finding, the most influential first, each with its name now and where it lies."""
    reviews = reviewing.reviewed(finding)
    rows = []
    for pk, cell in reviewing.found_cells(finding.body).items():
        image, _, number = pk.partition(":")
        item_pk, _, frame = image.partition("/")
        if item_pk not in items:
            continue
        item, review = items[item_pk], reviews.get(pk)
        label = cell["label"]
        rows.append(
            {
                "id": pk,
                "item": item_pk,
                "frame": int(frame or 0),
                "number": int(number) if number else None,
                "name": f"{item.filename}{f', cell {number}' if number else ''}",
                "label": label,
                "now": review.label if review else label or "",
                "review": review,
                "share": cell.get("share", cell.get("probabilities", {}).get(label)),
                "blast": cell.get("blast"),
                "in_scope": cell.get("in_scope"),
                "influence": cell.get("attention", cell.get("blast", 0.0) * cell.get("in_scope", 0.0)),
                "box": cell.get("box"),
                "view": _view(cell.get("box"), item),
                "width": item.summary.get("width"),
                "height": item.summary.get("height"),
                "finding": finding.pk,
                "url": f"{reverse('portal:viewer', args=[item_pk, int(frame or 0)])}?cell={number or 1}#cell",
            }
        )
    return sorted(rows, key=lambda row: -row["influence"])


def _view(box, item):
    """The part of the frame to show of a cell, as an SVG viewBox: a square around it, or the whole image."""
    if box is None:
        return f"0 0 {item.summary.get('width', 100)} {item.summary.get('height', 100)}"
    top, left, bottom, right = box
    side = (1 + 2 * SPARE) * max(bottom - top, right - left)
    return f"{(left + right - side) / 2:.1f} {(top + bottom - side) / 2:.1f} {side:.1f} {side:.1f}"


def _classes(found):
    names = [cell["now"] for cell in found if cell["now"]]
    return sorted({(name, names.count(name)) for name in names}, key=lambda pair: (-pair[1], pair[0]))


def counted(findings):
    """The differential of the finding that has cells: as people have reviewed it, and as the model made it."""
    finding = next((row for row in findings if reviewing.found_cells(row.body)), None)
    if finding is None:
        return {"counts": []}
    reviews = reviewing.reviewed(finding)
    rows = reviewing.differential(finding.body, reviews)
    total = max(sum(now for *_, now in rows), 1)
    changed = sum(review.label != review.model_label for review in reviews.values())
    return {
        "counts": [
            {
                "label": label,
                "model": model,
                "count": now,
                "share": now / total,
                "width": now / total * WIDTH,
            }
            for label, model, now in rows
        ],
        "counted": sum(now for *_, now in rows),
        "changed": changed,
        "blasts": reviewing.blasts_now(finding.body, reviews),
        "model_blasts": blast_share([cell["label"] for cell in reviewing.found_cells(finding.body).values()]),
    }


def overlay_of(assessment, item_pk, frame):
    """The Grad-CAM picture of a frame, where there is one."""
    if assessment is None:
        return None
    own = Artefact.objects.filter(finding__analysis=assessment.analysis, kind="grad_cam", name=f"{item_pk}/{frame}")
    return own.first()
