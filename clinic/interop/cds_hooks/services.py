"""CDS Hooks 2.0: what is stored of a patient, as cards. Nothing is computed for a card or decided by it."""

import uuid
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases.models import Assessment, AssessmentStatus
from clinic.cases.visibility import cases_visible_to, patients_visible_to
from clinic.errors import InvalidInput, NotFound
from clinic.interop.cds_hooks.models import CardFeedback, CardOutcome, ServedCard
from clinic.interop.cds_hooks.trust import spend
from ml.diagnosis_tree import load_tree
from ml.findings import percent

PREFETCH = {"patient": "Patient/{{context.patientId}}"}
REASONS_SYSTEM = "urn:marrow:override-reasons"
REASONS = {
    "known": "Known already",
    "other-diagnosis": "Another diagnosis is established",
    "not-relevant": "Not relevant to what I am doing",
    "disagree": "I disagree with the assessment",
}
SOURCE = "Marrow, decision support (research use)"
MOST_FEEDBACK = 100


@dataclass(frozen=True)
class Service:
    id: str
    hook: str
    title: str
    description: str
    urgent_only: bool = False

    def described(self):
        said = {"id": self.id, "hook": self.hook, "title": self.title, "description": self.description}
        return said | {"prefetch": PREFETCH, "usageRequirements": "A JWT of an issuer that Marrow was told of."}


SERVICES = {
    one.id: one
    for one in (
        Service(
            "marrow-patient-view",
            "patient-view",
            "Marrow: the leukaemia work-up so far",
            "The newest stored assessment of the patient: for a clinician to review, never a diagnosis by itself.",
        ),
        Service(
            "marrow-order-sign",
            "order-sign",
            "Marrow: what must not wait",
            "Before orders are signed: an urgent or contradictory assessment, or the next test that would tell most.",
            urgent_only=True,
        ),
    )
}


def service_of(id_):
    if id_ not in SERVICES:
        raise NotFound("unknown_service", "There is no such service.", "See /cds-services.")
    return SERVICES[id_]


@transaction.atomic
def serve(*, service, said, caller, base_url):
    """The cards for one call. Reading the stored result is written down, with the patient, as any reading is."""
    spend(caller)
    instance, context = _checked(service, said)
    patient = _patient(context, said.get("prefetch"), caller.user)
    assessment = _newest(patient, caller.user) if patient else None
    if assessment is None or (service.urgent_only and not (assessment.urgent or assessment.discordant)):
        known = {"service": service.id, "cards": 0}
        record(Action.CARD_SERVE, by=caller.user, obj=patient, detail=known)
        return []
    card = _card(assessment, base_url)
    served = ServedCard.objects.create(
        id=card["uuid"],
        service=service.id,
        hook_instance=instance,
        issuer=caller.issuer,
        patient=patient,
        assessment=assessment,
        summary=card["summary"],
    )
    known = {"service": service.id, "cards": 1, "summary": card["summary"]}
    record(Action.CARD_SERVE, by=caller.user, obj=served, case=assessment.analysis.case, detail=known)
    return [card]


def _checked(service, said):
    if not isinstance(said, dict):
        raise InvalidInput("not_a_call", "The body is no JSON object.", "Send a CDS Hooks request.")
    if said.get("hook") != service.hook:
        raise InvalidInput("other_hook", f"This service answers {service.hook}.", "Call it for that.", place="hook")
    try:
        instance = str(uuid.UUID(str(said.get("hookInstance"))))
    except ValueError:
        raise InvalidInput("bad_instance", "It is no UUID.", "Give one a call.", place="hookInstance") from None
    context = said.get("context")
    if not isinstance(context, dict) or not isinstance(context.get("patientId"), str):
        raise InvalidInput("no_patient", "The context names no patient.", "Give patientId.", place="context.patientId")
    return instance, context


def _patient(context, prefetch, user):
    """The patient by Marrow's own id, or by a record number of the prefetched resource; None where unknown here."""
    rows = patients_visible_to(user)
    try:
        if found := rows.filter(pk=uuid.UUID(context["patientId"])).first():
            return found
    except ValueError:
        pass
    resource = prefetch.get("patient") if isinstance(prefetch, dict) else None
    listed = resource.get("identifier") if isinstance(resource, dict) else None
    numbers = [one.get("value") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    found = rows.filter(mrn__in=[text for text in numbers if isinstance(text, str)][:20])[:2]
    return found[0] if len(found) == 1 else None


def _newest(patient, user):
    rows = Assessment.objects.filter(analysis__case__in=cases_visible_to(user), analysis__case__patient=patient)
    return rows.select_related("analysis__case__patient__site").order_by("-pk").first()


def _card(assessment, base_url):
    case = assessment.analysis.case
    link = {"label": "Open the case in Marrow", "url": f"{base_url}/cases/{case.pk}/", "type": "absolute"}
    return {
        "uuid": str(uuid.uuid4()),
        "summary": _summary(assessment)[:139],
        "indicator": "critical" if assessment.urgent else "warning" if assessment.discordant else "info",
        "detail": _detail(assessment),
        "source": {"label": SOURCE, "url": base_url},
        "links": [link],
        "overrideReasons": [
            {"code": code, "system": REASONS_SYSTEM, "display": display} for code, display in REASONS.items()
        ],
    }


def _summary(assessment):
    if assessment.urgent:
        return "Marrow: acute promyelocytic leukaemia is not excluded. Act before anything else."
    if assessment.status == AssessmentStatus.ABSTAINED:
        return "Marrow abstained on this patient's work-up."
    name = load_tree().nodes[assessment.answer].name
    return f"Marrow: {name}, {percent(assessment.probability)}. Not signed by this card."


def _detail(assessment):
    """Markdown; what the stored assessment says, in its own words."""
    body = assessment.body
    lines = [one["message"] for one in body["urgent"]]
    lines += [one.get("message", "") for one in body["discordance"]]
    lines += [one if isinstance(one, str) else one.get("message", "") for one in body["reasons"]]
    names = [load_tree().nodes[node].name for node in body["prediction_set"]]
    lines += [f"With {body['coverage']:.0%} coverage: {', '.join(names)}."] if names and "coverage" in body else []
    when = f"{assessment.created_at:%Y-%m-%d %H:%M} UTC"
    lines.append(f"Assessed {when}. Decision support: a clinician reviews and signs.")
    return "\n\n".join(filter(None, lines))


@transaction.atomic
def take_feedback(*, service, said, caller):
    """Keep what was done with cards; an override is kept with its reason. The same feedback again changes nothing."""
    spend(caller)
    listed = said.get("feedback") if isinstance(said, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_FEEDBACK:
        raise InvalidInput(
            "no_feedback", "There is no list of feedback.", f"Send 1 to {MOST_FEEDBACK}.", place="feedback"
        )
    for n, one in enumerate(listed):
        _keep(one, f"feedback[{n}]", service, caller)


def _keep(one, place, service, caller):
    one = one if isinstance(one, dict) else {}
    card = _served(one.get("card"), service, caller)
    if card is None:
        raise InvalidInput("unknown_card", "This card was not served to you.", "Give its uuid.", place=f"{place}.card")
    if one.get("outcome") not in CardOutcome.values:
        raise InvalidInput("unknown_outcome", "accepted or overridden.", place=f"{place}.outcome")
    at = parse_datetime(str(one.get("outcomeTimestamp", "")))
    why = one.get("overrideReason") if isinstance(one.get("overrideReason"), dict) else {}
    reason = why.get("reason") if isinstance(why.get("reason"), dict) else {}
    fields = {
        "reason_code": str(reason.get("code", ""))[:100],
        "reason_system": str(reason.get("system", ""))[:300],
        "comment": str(why.get("userComment", ""))[:5000],
    }
    if at is None:
        problem = "It is no time."
        raise InvalidInput("bad_time", problem, "Use ISO 8601 with a zone.", place=f"{place}.outcomeTimestamp")
    at = timezone.make_aware(at) if timezone.is_naive(at) else at
    try:
        with transaction.atomic():
            CardFeedback.objects.create(card=card, outcome=one["outcome"], outcome_at=at, **fields)
    except IntegrityError:
        return
    detail = {"outcome": one["outcome"], **fields}
    record(Action.CARD_FEEDBACK, by=caller.user, obj=card, case=card.assessment.analysis.case, detail=detail)


def _served(text, service, caller):
    try:
        pk = uuid.UUID(str(text))
    except ValueError:
        return None
    rows = ServedCard.objects.filter(pk=pk, service=service.id, issuer=caller.issuer)
    return rows.select_related("assessment__analysis__case__patient").first()
