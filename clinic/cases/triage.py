"""What the worklist needs of a case, copied onto its row whenever something of it changes.

A service calls ``refresh`` in its own transaction, after its writes and before its audit event. The case's row is
locked first: of two that change one case at once, the second then sees what the first wrote.
"""

from django.db.models import Case as Choice
from django.db.models import CharField, Exists, OuterRef, Subquery, Value, When

from clinic.cases.models import LIVE, Alert, Analysis, Assessment, Case, CaseState, SignOff, StudyItem, Triage

COPIED = ("answer", "probability", "urgent", "discordant")
NOTHING_SAID = {"answer": "", "probability": None, "urgent": False, "discordant": False}


def refresh(case_id):
    """Bring the copies on the row of this case up to date. Returns (state before, state after)."""
    case = Case.objects.select_for_update(no_key=True).get(pk=case_id)
    before = case.state
    for name, value in facts(case_id).items():
        setattr(case, name, value)
    case.save(update_fields=["state", "triage", *COPIED])
    return before, case.state


def facts(case_id):
    """What the copies should be, from the rows that they are copied from."""
    said = _with_facts(Case.objects.filter(pk=case_id)).get()
    shown = {name: said[f"said_{name}"] for name in COPIED} if said["verdict"] else NOTHING_SAID
    shown = shown | {"urgent": bool(shown["urgent"] or said["alerted"])}
    signed = said["signed"] and not said["alerted"]
    return {"state": said["now"], "triage": _rank(said["now"], signed=signed, **shown), **shown}


def _rank(state, *, signed, urgent, discordant, **_):
    if state == CaseState.SIGNED:
        return Triage.SIGNED
    if signed or not (urgent or discordant):
        return Triage.WAITING
    return Triage.URGENT if urgent else Triage.DISCORDANT


def _with_facts(cases):
    """The newest run, what the newest assessment says, whether that one is signed, an alert from a run that has none,
    and the one state of all this.
    """
    runs = Analysis.objects.filter(case=OuterRef("pk")).order_by("-requested_at", "-id")
    newest = Assessment.objects.filter(analysis__case=OuterRef("pk")).order_by("-pk")
    cases = cases.annotate(
        run=Subquery(runs.values("status")[:1]),
        verdict=Subquery(newest.values("status")[:1]),
        assessment=Subquery(newest.values("pk")[:1]),
        **{f"said_{name}": Subquery(newest.values(name)[:1]) for name in COPIED},
    )
    unsettled = Alert.objects.filter(lowered_at__isnull=True, analysis__assessment__isnull=True)
    cases = cases.annotate(alerted=Exists(unsettled.filter(analysis__case=OuterRef("pk"))))
    cases = cases.annotate(signed=Exists(SignOff.objects.filter(report__assessment=OuterRef("assessment"))))
    unchecked = StudyItem.objects.filter(case=OuterRef("pk"), status="received")
    now = Choice(
        When(run__in=LIVE, then=Value(CaseState.ANALYSING)),
        When(run="failed", then=Value(CaseState.FAILED)),
        When(Exists(unchecked), then=Value(CaseState.CHECKING)),
        When(signed=True, then=Value(CaseState.SIGNED)),
        When(verdict__isnull=False, then="verdict"),
        default=Value(CaseState.OPEN),
        output_field=CharField(),
    )
    return cases.annotate(now=now).values("now", "verdict", "signed", "alerted", *(f"said_{name}" for name in COPIED))
