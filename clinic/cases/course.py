"""One patient over time: what each ended analysis said, and which changes are larger than its own uncertainty.

Blasts change where the 95 % interval of the difference of two shares leaves out zero (Newcombe 1998, method 10,
doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I): it counts the cells' chance alone, neither the
smear's nor the classifier's errors. An answer changes where the later one is not among the diagnoses that the earlier
prediction set left possible; abstentions between them are passed over.

From three counts on, each way of counting has a hint (``ml.blast_course``): rules tried on simulated courses alone.
"""

from itertools import pairwise
from math import sqrt

from clinic.cases.models import Analysis, AnalysisStatus
from ml.blast_course import LEAST_POINTS, hint
from ml.diagnosis_tree import load_tree

INTERVAL = ("share", "low", "high")
SHOWN = ("acute_leukaemia", "all", "aml", "apl")


def course_of(cases):
    """Points in time of these cases of one patient, the oldest first, with the changes from each to the next."""
    ended = Analysis.objects.filter(case__in=cases, status=AnalysisStatus.SUCCEEDED)
    ended = ended.select_related("assessment", "case").prefetch_related("findings").order_by("finished_at", "id")
    points = [_point(analysis) for analysis in ended]
    answered = [point for point in points if point["answer"]]
    changes = [_blasts_changed(*pair) for pair in pairwise(points)] + [
        _answer_changed(*pair) for pair in pairwise(answered)
    ]
    changes = sorted((change for change in changes if change), key=lambda change: change["at"])
    return {"points": points, "changes": changes, "hints": _hints(points)}


def _hints(points):
    """What the blasts suggest, for each kind of image that was counted at three times or more."""
    by_kind = {}
    for point in points:
        if point["blasts"]:
            by_kind.setdefault(point["blasts"]["of"], []).append((point["at"], point["blasts"]))
    return [
        {"of": kind, **hint(times, *([one[part] for one in blasts] for part in INTERVAL), counted="images")}
        for kind, (times, blasts) in ((kind, zip(*said, strict=True)) for kind, said in sorted(by_kind.items()))
        if len(set(times)) >= LEAST_POINTS
    ]


def _point(analysis):
    body = analysis.assessment.body
    return {
        "at": analysis.finished_at,
        "case": str(analysis.case_id),
        "stage": analysis.case.stage,
        "analysis": str(analysis.pk),
        "answer": body["answer"]["node"] if body["answer"] else "",
        "probability": body["answer"]["probability"] if body["answer"] else None,
        "probabilities": {node: body["probabilities"].get(node) for node in SHOWN},
        "set": body["prediction_set"],
        "blasts": _blasts(analysis.findings.all()),
    }


def _blasts(findings):
    """The share of blasts among the cells that an image named, with its interval; the larger count where two did."""
    said = [(row.modality, _share_in(row.body.get("explanation", {}))) for row in findings]
    counted = [(modality, share) for modality, share in said if share and share.get("counted")]
    if not counted:
        return None
    modality, share = max(counted, key=lambda pair: pair[1]["counted"])
    return {"of": modality, **{name: share[name] for name in ("blasts", "counted", "share", "low", "high")}}


def _share_in(explanation):
    return (explanation.get("white_cells") or explanation).get("blast_share")


def difference(before, after):
    """After − before of two shares {share, low, high} with the 95 % interval of Newcombe's method 10."""
    p, q = before["share"], after["share"]
    low = sqrt((q - after["low"]) ** 2 + (before["high"] - p) ** 2)
    high = sqrt((after["high"] - q) ** 2 + (p - before["low"]) ** 2)
    return {"value": q - p, "low": q - p - low, "high": q - p + high}


def _blasts_changed(before, after):
    if not (before["blasts"] and after["blasts"]) or before["blasts"]["of"] != after["blasts"]["of"]:
        return None
    by = difference(before["blasts"], after["blasts"])
    if by["low"] <= 0 <= by["high"]:
        return None
    return {"what": "blasts", "direction": "up" if by["value"] > 0 else "down", **_between(before, after), "by": by}


def _answer_changed(before, after):
    tree, now = load_tree(), after["answer"]
    possible = any(node in tree.path(now) or now in tree.path(node) for node in before["set"])
    said = {"from": before["answer"], "to": now}
    return None if possible else {"what": "answer", "direction": "other", **_between(before, after), "by": said}


def _between(before, after):
    return {"since": before["at"], "at": after["at"], "analysis": after["analysis"]}
