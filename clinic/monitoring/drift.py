"""Do this week's inputs and answers at a site still look like those before? Population stability, rates, agreement.

The population stability index sums (now − before)·ln(now / before) over bins (ten of equal share before, of a number;
its values, of a name); by custom above 0.25 is a change. A rate is compared by an exact binomial test.
"""

from bisect import bisect_right
from collections import Counter
from datetime import datetime, time, timedelta
from math import comb, log, sqrt
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from clinic.accounts.models import Site
from clinic.cases.models import Assessment, Finding
from clinic.monitoring.models import SiteWeek
from clinic.monitoring.warnings import warn

BINS = 10
CHANGED = 0.25
FEWEST, FEWEST_BEFORE = 20, 60
LOOK_BACK = timedelta(weeks=26)
RARE = 0.001  # of the chance that a week like this comes about without a change


def stability(before, now):
    """The index of two lists, both numbers or both names; half a case is added to each bin, so that it is finite."""
    if not before or not now:
        return None
    key = _binned(before) if isinstance(before[0], (int, float)) else str
    was, is_ = Counter(map(key, before)), Counter(map(key, now))
    bins = was.keys() | is_.keys()
    total = 0.0
    for one in bins:
        p, q = ((c[one] + 0.5) / (n + 0.5 * len(bins)) for c, n in ((was, len(before)), (is_, len(now))))
        total += (q - p) * log(q / p)
    return total


def _binned(before):
    ordered = sorted(before)
    edges = sorted({ordered[len(ordered) * k // BINS] for k in range(1, BINS)})
    return lambda value: bisect_right(edges, value)


def chance_of(k, n, rate):
    """Of a count as far out as ``k`` of ``n`` on its side, were the rate still ``rate`` (one of two sides, doubled)."""
    rate = min(max(rate, 0.5 / (n + 1)), 1 - 0.5 / (n + 1))
    low, high = (0, k) if k <= rate * n else (k, n)
    return min(1.0, 2 * sum(comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(low, high + 1)))


def monday_of(moment):
    day = timezone.localtime(moment).date()
    return day - timedelta(days=day.weekday())


def measure_week(site, monday):
    """Measure every bundle and the fusion at ``site`` in the week from ``monday`` on. Returns the rows written."""
    start = datetime.combine(monday, time.min, ZoneInfo(settings.TIME_ZONE))
    now, before = (start, start + timedelta(weeks=1)), (start - LOOK_BACK, start)
    subjects = {**_of_findings(site, now, before), "fusion": _of_fusion(site, now, before)}
    rows = []
    for subject, (these, those) in subjects.items():
        if these["n"]:
            figures = {name: _figure(these[name], those[name]) for name in these if name != "n"}
            alerts = [said for name, figure in figures.items() if (said := _alert(subject, name, figure))]
            told = {"figures": figures, "alerts": alerts}
            with transaction.atomic():
                rows.append(_write(site, monday, subject, told))
    return rows


def _write(site, monday, subject, told):
    """The row of the week; what it did not say when it was last measured is told to those who watch."""
    key = {"site": site, "monday": monday, "subject": subject}
    before = SiteWeek.objects.select_for_update().filter(**key).first()
    known = [_about(said) for said in before.alerts] if before else []
    row, _ = SiteWeek.objects.update_or_create(**key, defaults=told)
    if new := [said for said in row.alerts if _about(said) not in known]:
        warn(row, new)
    return row


def _about(alert):
    """Which figure of which bundle an alert is of: its sentence changes with every case that comes."""
    return alert.split(":")[:2]


def measure_this_week():
    """Every site, this week and the one before (which may have ended since it was last measured)."""
    monday = monday_of(timezone.now())
    return [
        row
        for site in Site.objects.order_by("code")
        for day in (monday - timedelta(weeks=1), monday)
        for row in measure_week(site, day)
    ]


def _of_findings(site, *spans):
    """Bundle reference → what its findings look like, in each span."""
    seen = [list(_findings(site, span)) for span in spans]
    return {ref: tuple(_columns(ref, rows) for rows in seen) for ref in {row["bundle"] for row in seen[0]}}


def _findings(site, span):
    rows = Finding.objects.filter(analysis__case__patient__site=site, created_at__gte=span[0], created_at__lt=span[1])
    return rows.values("bundle", "body__label", "body__in_scope", "body__probabilities", "body__quality")


def _columns(reference, rows):
    mine = [row for row in rows if row["bundle"] == reference]
    return {
        "n": len(mine),
        "label": [row["body__label"] or "none" for row in mine],
        "probability": [max(row["body__probabilities"].values(), default=0.0) for row in mine],
        "in_scope_score": [float(row["body__in_scope"]) for row in mine],
        "in_scope": [bool(row["body__label"]) for row in mine],
        "without_quality_warning": [not row["body__quality"] for row in mine],
    }


def _of_fusion(site, *spans):
    return tuple(_fusion_columns(site, span) for span in spans)


def _fusion_columns(site, span):
    rows = Assessment.objects.filter(
        analysis__case__patient__site=site, created_at__gte=span[0], created_at__lt=span[1]
    ).values_list("answer", "probability", "discordant")
    answered = [row for row in rows if row[0]]
    return {
        "n": len(rows),
        "answer": [row[0] or "none" for row in rows],
        "probability": [row[1] for row in answered],
        "answered": [bool(row[0]) for row in rows],
        "without_contradiction": [not row[2] for row in rows],
    }


def _figure(now, before):
    """Of yes and no the rate and how likely it is by chance; of numbers and names the stability index."""
    said = {"n": len(now), "n_before": len(before)}
    if now and isinstance(now[0], bool):
        was = sum(before) / len(before) if before else None
        chance = chance_of(sum(now), len(now), was) if was is not None else None
        return said | {"kind": "rate", "value": sum(now) / len(now), "before": was, "chance": chance}
    return said | {"kind": "stability", "value": stability(before, now)}


def _alert(subject, name, figure):
    if figure["n"] < FEWEST or figure["n_before"] < FEWEST_BEFORE:
        return ""
    what = f"{subject}: {name.replace('_', ' ')}"
    if figure["kind"] == "rate" and figure["chance"] < RARE:
        return f"{what}: {figure['value']:.0%} of {figure['n']} this week, {figure['before']:.0%} before."
    if figure["kind"] == "stability" and figure["value"] > CHANGED:
        return f"{what}: the distribution has changed (population stability index {figure['value']:.2f})."
    return ""


def wilson(k, n, z=1.96):
    """K of n with the 95 % interval of Wilson (1927), as {value, low, high, n}; None where n is 0."""
    if not n:
        return None
    p, d = k / n, 1 + z * z / n
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    middle = (p + z * z / (2 * n)) / d
    return {"value": p, "low": max(0.0, middle - half), "high": min(1.0, middle + half), "n": n}
