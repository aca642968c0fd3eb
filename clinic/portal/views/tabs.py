"""The tabs of a case beside its overview: images, expression, labs, history, and what was done with it."""

from itertools import groupby

from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from clinic.audit.models import Action, AuditEvent
from clinic.audit.words import words_of
from clinic.cases import downloads
from clinic.cases.models import Assessment, ItemKind, ItemStatus
from clinic.cases.visibility import cases_visible_to, find
from clinic.portal import expression_view, gallery, labs_view
from clinic.portal.guard import allowed, note
from clinic.portal.reading import read_assessment

TABS = (
    ("case", "Overview"),
    ("case_images", "Images"),
    ("case_expression", "Expression"),
    ("case_labs", "Labs"),
    ("case_history", "History"),
    ("case_audit", "Audit"),
)
EVENTS = 100


def tabs_of(case, current, items=None):
    """The tabs with their counts; ``items`` of the case, where a page has them already."""
    if items is None:
        kinds = list(case.items.exclude(status=ItemStatus.REJECTED).values_list("kind", flat=True))
    else:
        kinds = [item.kind for item in items if item.status != ItemStatus.REJECTED]
    counts = {
        "case_images": kinds.count(ItemKind.SMEAR_FIELD) + kinds.count(ItemKind.SMEAR_CELL),
        "case_expression": kinds.count(ItemKind.EXPRESSION),
        "case_labs": kinds.count(ItemKind.LABS),
    }
    return [
        {
            "url": reverse(f"portal:{name}", args=[case.pk]),
            "text": text,
            "current": name == current,
            "count": counts.get(name),
        }
        for name, text in TABS
    ]


def newest_assessment(case):
    return Assessment.objects.filter(analysis__case=case).select_related("analysis").order_by("-pk").first()


def _tab(name):
    """A page of one case: found, noted as read, drawn in the frame of its tabs."""

    def decorate(rows_of):
        @require_GET
        @allowed("case.view")
        def view(request, pk):
            case = find(cases_visible_to, pk, by=request.user)
            note(request, Action.CASE_READ, obj=case, case=case, patient=case.patient, detail={"tab": name})
            assessment = newest_assessment(case)
            page = {
                "case": case,
                "tabs": tabs_of(case, name),
                "assessment": assessment,
                "said": read_assessment(assessment) if assessment else None,
            }
            return render(request, f"portal/{name}.html", page | rows_of(request, page))

        return view

    return decorate


def _findings(page, *modalities):
    said = page["said"]["findings"] if page["said"] else []
    return [one for one in said if one["body"]["modality"] in modalities]


@_tab("case_images")
def images(request, page):
    findings = _findings(page, "smear_field", "smear_cell")
    return {"findings": findings, **gallery.of_case(page["case"], page["assessment"], request.GET)}


@_tab("case_expression")
def expression(_request, page):
    findings = _findings(page, "expression")
    return {"findings": findings, "view": expression_view.of(findings[0]["body"]) if findings else None}


@_tab("case_labs")
def labs(_request, page):
    findings = _findings(page, "labs")
    return {"findings": findings, **labs_view.of(page["case"], findings[0]["body"] if findings else None)}


@_tab("case_history")
def history(request, page):
    case = page["case"]
    letters = case.items.filter(kind=ItemKind.HISTORY, status=ItemStatus.VALID).select_related("received_by")
    others = cases_visible_to(request.user).filter(patient=case.patient).exclude(pk=case.pk).order_by("-created_at")
    return {
        "letters": [{"item": item, "text": _text(item)} for item in letters],
        "runs": case.analyses.select_related("assessment", "requested_by"),
        "others": others[:EVENTS],
        "reports": case.reports.select_related("sign_off", "created_by"),
    }


def _text(item):
    return downloads.whole(item.sha256).decode("utf-8-sig", errors="replace")


@_tab("case_audit")
def audit(request, page):
    """The life of this case, newest first: who did and who saw what of it."""
    events = AuditEvent.objects.filter(case_id=str(page["case"].pk))
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit():
        events = events.filter(seq__lt=int(before[:18]))
    rows = list(events.order_by("-seq")[: EVENTS + 1])
    note(request, Action.AUDIT_READ, obj=page["case"], case=page["case"], detail={"case": str(page["case"].pk)})
    return {
        "events": _runs(rows[:EVENTS]),
        "older": rows[EVENTS - 1].seq if rows[EVENTS:] else None,
    }


def _runs(rows):
    """Events in a row by one person doing one thing are one line: a look at forty pictures is not forty lines."""
    runs = groupby(rows, key=lambda row: (row.actor, row.action, row.outcome))
    return [
        {"newest": run[0], "oldest": run[-1], "count": len(run), "what": words_of(run[0].action)}
        for run in (list(same) for _, same in runs)
    ]
