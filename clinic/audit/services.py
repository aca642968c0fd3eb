"""The log of acts: write one, find some."""

from functools import partial

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from clinic.accounts.models import Membership
from clinic.audit.chain import GENESIS, columns_of, hash_of
from clinic.audit.context import current, defer_denial
from clinic.audit.models import Action, AuditEvent, Outcome
from clinic.canonical import canonical_json, digest, plain

WRITERS_LOCK = 0x4D415252_4F570001  # one number, known to every process: "MARROW", 1


def record(  # noqa: PLR0913 (who, what, whom, where, why and how it ended: each is asked of the log)
    action,
    *,
    by=None,
    obj=None,
    patient=None,
    case=None,
    site=None,
    outcome=Outcome.SUCCESS,
    purpose="",
    detail=None,
    before=None,
    after=None,
):
    """Write down an act, in the transaction of the act: if the event cannot be written, the act does not happen.

    Call it last in the transaction: on PostgreSQL the writers' lock is then taken after all row locks, by everyone.
    ``before`` and ``after`` are states of the object as JSON; only their digests are kept. Case, patient and site are
    found from ``obj`` where it has them.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("An audit event is written in the transaction of its act; there is none.")
    _wait_for_writers()
    last_seq, last_hash = AuditEvent.objects.order_by("-seq").values_list("seq", "hash").first() or (0, GENESIS)
    context = current()
    said = {
        "seq": last_seq + 1,
        "at": timezone.now().isoformat(timespec="microseconds"),
        "actor": _actor(by or context.user),
        "action": Action(action).value,
        "outcome": Outcome(outcome).value,
        "object": {"type": obj.__class__.__name__.lower() if obj else "", "id": str(obj.pk) if obj else ""},
        **_whereabouts(obj, case, patient, site),
        "purpose": purpose,
        "request": context.request_id,
        "address": context.address,
        "cause": context.cause,
        "detail": plain(detail or {}),
        "before": digest(before) if before is not None else "",
        "after": digest(after) if after is not None else "",
        "prev_hash": last_hash,
    }
    body = canonical_json(said).decode()
    return AuditEvent.objects.create(**columns_of(said), body=body, hash=hash_of(body))


def deny(act, *, by=None, obj=None, site=None, detail=None):
    """Write down that ``act`` was refused. Survives the rollback of what was refused."""
    defer_denial(partial(_record_denial, by=by, obj=obj, site=site, detail={"act": act} | (detail or {})))


@transaction.atomic
def _record_denial(**said):
    record(Action.DENIED, outcome=Outcome.DENIED, **said)


def _wait_for_writers():
    """One writer at a time. SQLite has that already: every transaction begins IMMEDIATE (see the settings)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITERS_LOCK])


def _actor(user):
    if user is None:
        return {"id": "", "name": "system"}
    if not user.pk:
        return {"id": "", "name": "anonymous"}
    full_name, token = user.get_full_name(), getattr(user, "token", None)
    name = f"{full_name} ({user.username})"[:200] if full_name else user.username
    return {"id": str(user.pk), "name": name} | ({"token": token.prefix} if token else {})


def _whereabouts(obj, case, patient, site):
    kind = obj.__class__.__name__.lower() if obj else ""
    case = case or (obj if kind == "case" else getattr(obj, "case", None))
    patient = patient or (obj if kind == "patient" else getattr(case, "patient", None))
    site_id = site.pk if site else getattr(patient, "site_id", None) or (obj.pk if kind == "site" else "")
    return {
        "case": str(case.pk) if case else "",
        "patient": str(patient.pk) if patient else "",
        "site": str(site_id),
    }


def events_of(sites):
    """Events of ``sites``; and those of no site, where the one who acted works there or was nobody known."""
    colleagues = Membership.objects.filter(site__in=sites).values_list("user_id", flat=True)
    actors = [*map(str, colleagues), ""]
    here = [str(pk) for pk in sites.values_list("pk", flat=True)]
    return AuditEvent.objects.filter(Q(site_id__in=here) | Q(site_id="", actor_id__in=actors))
