"""One image, to the pixel: its overlay, the cells found on it, and their names as people give them."""

from django.contrib import messages
from django.http import Http404
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from clinic.accounts.access import may
from clinic.audit.models import Action
from clinic.cases.models import ItemStatus
from clinic.cases.visibility import find, findings_visible_to, items_visible_to
from clinic.errors import MarrowError
from clinic.portal import gallery
from clinic.portal.guard import allowed, note
from clinic.portal.views.tabs import newest_assessment, tabs_of
from clinic.review import services
from clinic.review.cells import classes_of


@require_GET
@allowed("case.view")
def viewer(request, pk, number):
    item = find(items_visible_to, pk, by=request.user)
    frames = item.summary.get("frames", 1)
    if item.kind not in gallery.IMAGE_KINDS or item.status != ItemStatus.VALID or number >= frames:
        raise Http404
    case = item.case
    note(request, Action.ITEM_READ, obj=item, case=case, patient=case.patient, detail={"frame": number, "view": True})
    assessment = newest_assessment(case)
    cells, finding = _cells(assessment, item, number)
    chosen = _chosen(cells, request.GET.get("cell", ""))
    page = {
        "case": case,
        "tabs": tabs_of(case, "case_images"),
        "item": item,
        "number": number,
        "name": f"{item.filename}, frame {number + 1} of {frames}" if frames > 1 else item.filename,
        "width": item.summary.get("width", 512),
        "height": item.summary.get("height", 512),
        "overlay": gallery.overlay_of(assessment, item.pk, number),
        "said": _said(finding, f"{item.pk}/{number}"),
        "cells": cells,
        "cell": chosen,
        "classes": classes_of(finding) if finding else [],
        "reviews": finding.cell_reviews.filter(cell=chosen["id"]) if chosen else [],
        "may_review": may(request.user, "report.sign", case.patient.site),
        **_neighbours(case, item, number),
    }
    return render(request, "portal/viewer.html", page)


def _cells(assessment, item, number):
    """The cells on this frame, and the finding that names them."""
    findings = gallery.image_findings(assessment)
    for finding in findings:
        cells = [cell for cell in gallery.cells_of(finding, {str(item.pk): item}) if cell["frame"] == number]
        if cells:
            return sorted(cells, key=lambda cell: cell["number"] or 1), finding
    return [], next((row for row in findings if row.modality == item.kind), None)


def _chosen(cells, number):
    """The cell that ``?cell=`` names; of a single cell's image, that one."""
    if len(cells) == 1 and cells[0]["number"] is None:
        return cells[0]
    return next((cell for cell in cells if str(cell["number"]) == number), None)


def _said(finding, image):
    explanation = (finding.body.get("explanation") or {}) if finding else {}
    read = [*explanation.get("images", []), *explanation.get("cells", [])]
    said = next((one for one in read if one["id"] == image), None)
    return said and {**said, "share": said["probabilities"].get(said["label"])}


def _neighbours(case, item, number):
    """The frames before and after this one, in the order in which the files came."""
    rows = case.items.filter(kind__in=gallery.IMAGE_KINDS, status=ItemStatus.VALID)
    frames = [(row.pk, n) for row in rows for n in range(row.summary.get("frames", 1))]
    here = frames.index((item.pk, number))
    before, after = frames[here - 1] if here else None, frames[here + 1] if here + 1 < len(frames) else None
    return {
        "before": before and reverse("portal:viewer", args=before),
        "after": after and reverse("portal:viewer", args=after),
        "place": here + 1,
        "total": len(frames),
    }


@require_POST
@allowed("report.sign")
def review_cell(request, pk):
    """Name a cell of a finding anew, and come back to its image."""
    finding = find(findings_visible_to, pk, by=request.user)
    cell = request.POST.get("cell", "")
    try:
        services.review_cell(finding=finding, cell=cell, label=request.POST.get("label", ""), by=request.user)
    except MarrowError as error:
        messages.error(request, error.detail)
        return redirect("portal:case_images", finding.analysis.case_id)
    image, _, number = cell.partition(":")
    item, _, frame = image.partition("/")
    messages.success(request, "Kept as feedback; the model’s own name stays beside it.")
    return redirect(f"{reverse('portal:viewer', args=[item, int(frame or 0)])}?cell={number or 1}")
