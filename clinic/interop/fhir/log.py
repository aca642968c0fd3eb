"""AuditEvent: the log, as ``clinic.audit.fhir`` tells it, to those who oversee it."""

from django.db.models import Q

from clinic.accounts.access import sites_where
from clinic.audit.fhir import OUTCOMES, audit_event
from clinic.audit.models import Action
from clinic.audit.services import events_of
from clinic.interop.fhir.search import Source, by_date, by_token, token

EVENTS = Source(
    rows=lambda user: events_of(sites_where(user, "audit.view")),
    resource=audit_event,
    at="at",
    prefix="seq-",
    numbered=True,
    recorded_as=Action.AUDIT_READ,
    filters={
        "patient": lambda text: Q(patient_id=text.removeprefix("Patient/")),
        "agent": lambda text: Q(actor_id=text) | Q(actor__icontains=text),
        "subtype": lambda text: Q(action=token(text)[1]),
        "outcome": by_token("outcome", {code: Q(outcome=said) for said, code in OUTCOMES.items()}),
        "date": by_date("at"),
        "_lastUpdated": by_date("at"),
    },
)
