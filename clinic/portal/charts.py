"""The geometry of the charts: numbers in, rows out. A template draws each row as one small SVG in a table."""

import math

from clinic.portal.templatetags.portal import modality_name
from ml.diagnosis_tree import load_tree

WIDTH = 1000  # of every chart, in SVG units
REACH = 8.0  # log-odds beyond ±8 (1 in 3000) are drawn at the edge


def bars(shares, *, chosen=None, keep=8):
    """Label → share (0…1) as rows, largest first; beyond ``keep`` they become one row."""
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])
    shown, rest = ranked[:keep], ranked[keep:]
    rows = [
        {"label": label, "share": share, "width": share * WIDTH, "chosen": label == chosen} for label, share in shown
    ]
    if rest:
        share = sum(value for _, value in rest)
        rows.append({"label": f"{len(rest)} others together", "share": share, "width": share * WIDTH})
    return rows


def pushes(entries):
    """(label, push in log-odds, anything else to show) as bars from a middle line; the longest fills its half."""
    longest = max((abs(push) for _, push, _ in entries), default=0) or 1.0
    half = WIDTH / 2
    rows = []
    for label, push, more in entries:
        width = abs(push) / longest * half
        place = {"x": half - width * (push < 0), "width": width, "tone": "for" if push >= 0 else "against"}
        rows.append({"label": label, "push": push, **place, **more})
    return rows


def waterfall(body, node):
    """From the prior to the posterior log-odds of ``node``, one step for each modality (they add up exactly)."""
    before, after = (body[name][node] for name in ("prior", "probabilities"))
    steps, level = [], _logit(before)
    for modality, shares in body["evidence"].items():
        push = shares[node]
        steps.append(
            {"label": modality_name(modality), "factor": factor(push), **_span(level, level + push), "push": push}
        )
        level += push
    return {
        "node": node,
        "name": load_tree().nodes[node].name,
        "before": {"share": before, **_span(0.0, _logit(before))},
        "steps": steps,
        "after": {"share": after, **_span(0.0, _logit(after))},
        "zero": _place(0.0),
    }


def factor(push):
    """What a push in log-odds does to the odds, in words."""
    if abs(push) < math.log(1.05):
        return "no change"
    size = math.exp(min(abs(push), math.log(9999)))
    text = f"{size:,.0f}" if size >= 10 else f"{size:.1f}"
    more = "> " if abs(push) > math.log(9999) else ""
    return f"odds {'×' if push > 0 else '÷'} {more}{text}"


def candidates(body, count=3):
    """The nodes worth comparing: the answer, APL where it is urgent, and the strongest beside the answer's path."""
    tree, p = load_tree(), body["probabilities"]
    answer = (body["answer"] or {}).get("node")
    path = tree.path(answer)[1:] if answer else ()
    if answer:
        beside = {sibling for node in path for sibling in tree.children(tree.parent(node))} - set(path)
    else:
        beside = {"no_leukaemia", *tree.children("acute_leukaemia")}
    first = [node for node in (answer, "apl" if body["urgent"] else None) if node]
    ranked = sorted(beside, key=lambda node: -p[node])
    return list(dict.fromkeys([*first, *ranked]))[:count]


def _logit(share):
    share = min(max(share, 1e-12), 1 - 1e-12)
    return math.log(share / (1 - share))


def _place(level):
    return (min(max(level, -REACH), REACH) + REACH) / (2 * REACH) * WIDTH


def _span(start, end):
    """A bar from ``start`` to ``end``; one too short to see still shows as a line."""
    left, right = sorted((_place(start), _place(end)))
    return {"x": left, "width": max(right - left, 3), "tone": "for" if end >= start else "against"}
