"""A patient over time as rows and as lines. Each line has a table beside it that says the same."""

from clinic.cases.course import SHOWN
from clinic.portal.templatetags.portal import node_name
from ml.diagnosis_tree import load_tree

WIDTH, HEIGHT, EDGE = 1000, 240, 16  # of every drawing, in SVG units; EDGE keeps marks whole at its border
STYLES = ("one", "two", "three", "four")


def read_course(course, labs):
    """``course``: clinic.cases.course.course_of; ``labs``: analysis id → its laboratory values (``labs_of``)."""
    points = course["points"]
    times = [point["at"] for point in points]
    return {
        "points": points,
        "changes": course["changes"],
        "hints": course["hints"],
        "drawn": len(points) > 1,
        "first": times[0] if times else None,
        "last": times[-1] if times else None,
        "shares": [
            _line(times, [p["probabilities"].get(n) for p in points], name=n, style=s) for n, s in _nodes(points)
        ],
        "blasts": _blasts(times, points),
        "labs": _labs(times, [labs.get(point["analysis"], []) for point in points]),
    }


def labs_of(findings):
    """Analysis id → the measured values of its laboratory finding."""
    return {
        str(row.analysis_id): [
            lab for lab in row.body.get("explanation", {}).get("labs", []) if lab["value"] is not None
        ]
        for row in findings
    }


def _nodes(points):
    """Those groups of diagnoses that any result was about."""
    seen = [node for node in SHOWN if any((point["probabilities"].get(node) or 0) > 0.01 for point in points)]
    return zip(seen, STYLES, strict=False)


def _line(times, values, *, name, style="one", low=0.0, high=1.0, text=None):
    marks = [
        {"x": x, "y": _place(value, low, high), "at": at, "value": value}
        for at, value, x in zip(times, values, _across(times), strict=True)
        if value is not None
    ]
    label = text or (node_name(name) if name in load_tree().nodes else name)
    path = " ".join(f"{mark['x']:.1f},{mark['y']:.1f}" for mark in marks)
    line = {"name": label, "style": style, "marks": marks, "path": path, "values": values}
    return line | {"only": [line]}


def _blasts(times, points):
    """The share of blasts with its interval; each kind of image is a line of its own, as they count different cells."""
    lines = []
    for kind, style in zip(sorted({p["blasts"]["of"] for p in points if p["blasts"]}), STYLES, strict=False):
        said = [p["blasts"] if p["blasts"] and p["blasts"]["of"] == kind else None for p in points]
        line = _line(times, [one and one["share"] for one in said], name=kind, style=style, text=kind)
        for mark, one in zip(line["marks"], [one for one in said if one], strict=True):
            mark |= {"top": _place(one["high"], 0, 1), "bottom": _place(one["low"], 0, 1), "said": one}
        lines.append(line)
    return lines


def _labs(times, said):
    """Every analyte that was measured twice or more, as a line between its least and its greatest value."""
    by_name = [{(lab["name"], lab["unit"]): lab for lab in labs} for labs in said]
    rows = []
    for name, unit in dict.fromkeys(key for labs in by_name for key in labs):
        values = [labs.get((name, unit), {}).get("value") for labs in by_name]
        measured = [value for value in values if value is not None]
        bounds = next((labs[name, unit].get("reference") for labs in by_name if (name, unit) in labs), None)
        low, high = min(measured), max(measured)
        span = (high - low) or abs(high) or 1.0
        line = _line(times, values, name=name, low=low - 0.05 * span, high=high + 0.05 * span)
        rows.append({**line, "unit": unit, "reference": bounds, "low": low, "high": high, "drawn": len(measured) > 1})
    return rows


def _across(times):
    """By time; results of the same moment stand side by side at the middle."""
    if not times:
        return []
    first, span = times[0], (times[-1] - times[0]).total_seconds()
    inside = WIDTH - 2 * EDGE
    return [EDGE + inside * ((at - first).total_seconds() / span if span else 0.5) for at in times]


def _place(value, low, high):
    return EDGE + (HEIGHT - 2 * EDGE) * (1 - (value - low) / (high - low))
