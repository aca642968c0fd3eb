"""The chain shows what was done to it: every kind of tampering, with the triggers out of the way."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import F

from clinic.audit import immutable
from clinic.audit.anchors import anchor_head
from clinic.audit.chain import GENESIS, columns_of, hash_of
from clinic.audit.models import Action, Anchor, AuditEvent
from clinic.audit.services import record, verify
from clinic.canonical import canonical_json
from tests.factories import CaseFactory, UserFactory, assessed_case

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain(db):
    """Ten events, and the triggers off."""
    user = UserFactory(username="writer")
    for n in range(10):
        record(Action.CASE_SEARCH, by=user, detail={"n": n})
    immutable.remove(connection)


def remade(event, **changes):
    """Change what an event says, and give it a hash that fits."""
    said = json.loads(event.body) | changes
    body = canonical_json(said).decode()
    AuditEvent.objects.filter(pk=event.pk).update(**columns_of(said), body=body, hash=hash_of(body))


def test_a_chain_that_nobody_touched_is_whole(chain):
    result = verify()
    assert (result.ok, result.count, result.first_bad) == (True, 10, None)
    assert AuditEvent.objects.get(seq=1).prev_hash == GENESIS
    assert result.head == AuditEvent.objects.get(seq=10).hash


def test_the_empty_chain_is_whole(db):
    assert verify().ok
    assert verify().count == 0


@pytest.mark.parametrize("column", ["actor", "action", "at", "patient_id", "outcome", "site_id"])
def test_a_changed_column_is_found(chain, column):
    other = {"action": "login", "at": "2001-01-01T00:00:00+00:00", "outcome": "denied"}.get(column, "someone else")
    AuditEvent.objects.filter(seq=4).update(**{column: other})
    result = verify()
    assert (result.ok, result.first_bad) == (False, 4)
    assert column in result.why


def test_a_changed_text_is_found(chain):
    event = AuditEvent.objects.get(seq=4)
    AuditEvent.objects.filter(seq=4).update(body=event.body.replace("writer", "nobody"))
    assert verify().first_bad == 4


def test_a_changed_event_with_a_fitting_hash_breaks_the_next(chain):
    remade(AuditEvent.objects.get(seq=4), detail={"n": "forged"})
    result = verify()
    assert (result.first_bad, result.why) == (5, "it does not follow the event before it")


def test_a_deleted_event_is_found(chain):
    AuditEvent.objects.filter(seq=4).delete()
    result = verify()
    assert result.first_bad == 4
    assert "missing" in result.why


def test_a_deleted_beginning_is_found(chain):
    AuditEvent.objects.filter(seq__lte=3).delete()
    assert verify().first_bad == 1


def test_two_swapped_events_are_found(chain):
    with connection.cursor() as cursor:
        for source, target in ((4, 100), (7, 4), (100, 7)):
            cursor.execute("UPDATE audit_auditevent SET seq = %s WHERE seq = %s", [target, source])
    assert verify().first_bad == 4


def test_an_event_put_in_between_is_found(chain):
    AuditEvent.objects.filter(seq__gte=4).update(seq=F("seq") + 100)
    AuditEvent.objects.filter(seq__gte=104).update(seq=F("seq") - 99)
    third = json.loads(AuditEvent.objects.get(seq=3).body)
    forged = third | {"seq": 4, "prev_hash": AuditEvent.objects.get(seq=3).hash, "detail": {"forged": True}}
    AuditEvent.objects.filter(seq=5).update(prev_hash="parked")  # its own place in the chain is taken now
    body = canonical_json(forged).decode()
    AuditEvent.objects.create(**columns_of(forged), body=body, hash=hash_of(body))
    assert verify().first_bad == 5


def test_a_cut_tail_is_found_by_its_anchor(chain):
    anchor_head()
    AuditEvent.objects.filter(seq__gte=8).delete()
    result = verify()
    assert (result.ok, result.first_bad, result.count, result.anchored_to) == (False, 8, 7, 10)
    assert "the end of the chain is gone" in result.why


def test_a_cut_tail_is_found_when_the_anchor_row_is_cut_too(chain):
    anchor_head()
    Anchor.objects.all().delete()
    AuditEvent.objects.filter(seq__gte=8).delete()
    assert verify().first_bad == 8


def test_a_cut_tail_is_found_when_the_anchor_files_are_gone(chain, settings):
    anchor_head()
    for path in settings.AUDIT_ANCHORS.glob("*.json"):
        path.unlink()
    AuditEvent.objects.filter(seq__gte=8).delete()
    assert verify().first_bad == 8


def test_without_an_anchor_a_cut_tail_cannot_be_seen(chain):
    """The reason for anchors, stated as a fact."""
    AuditEvent.objects.filter(seq__gte=8).delete()
    assert verify().ok


def test_a_chain_made_anew_does_not_fit_its_anchor(chain):
    anchor_head()
    prev = AuditEvent.objects.get(seq=3).hash
    for event in AuditEvent.objects.filter(seq__gte=4).order_by("seq"):
        remade(event, prev_hash=prev, detail={"forged": True})
        prev = AuditEvent.objects.get(seq=event.seq).hash
    result = verify()
    assert result.first_bad == 10
    assert "not the one that was signed" in result.why


def test_a_forged_anchor_does_not_hold(chain, settings):
    anchor = anchor_head()
    Anchor.objects.filter(pk=anchor.pk).update(signature="00" * 64)
    result = verify()
    assert result.first_bad == 10
    assert "signature" in result.why


def test_an_anchor_of_an_unknown_key_does_not_hold(chain, settings):
    anchor_head()
    for path in settings.AUDIT_ANCHORS.glob("*.pub.pem"):
        path.unlink()
    assert not verify().ok


def test_an_unreadable_anchor_file_is_named(chain, settings):
    anchor_head()
    path = next(settings.AUDIT_ANCHORS.glob("*.json"))
    path.write_text("{")
    assert path.name in verify().why


def test_the_chain_goes_on_after_an_anchor(chain):
    anchor_head()
    record(Action.CASE_SEARCH)
    again = anchor_head()
    assert (again.seq, Anchor.objects.count()) == (11, 2)
    assert anchor_head().pk == again.pk
    assert verify().ok


def test_the_signing_key_is_private(chain, settings):
    anchor_head()
    assert settings.AUDIT_KEY_FILE.stat().st_mode & 0o777 == 0o600


def test_verification_may_begin_later(chain):
    AuditEvent.objects.filter(seq=2).update(actor="someone else")
    assert verify(from_seq=3).ok
    assert verify(from_seq=3).count == 8
    assert not verify().ok


def run_verify(*args):
    out = StringIO()
    try:
        call_command("verify_audit", *args, stdout=out)
    except SystemExit as error:
        return error.code, out.getvalue()
    return 0, out.getvalue()


def test_the_command_names_the_first_bad_number(chain):
    status, said = run_verify()
    assert (status, said) == (0, "audit chain whole: 10 events, no anchor yet\n")
    AuditEvent.objects.filter(seq=6).delete()
    status, said = run_verify()
    assert status == 1
    assert said.startswith("audit chain broken at seq 6: ")
    status, said = run_verify("--json")
    assert status == 1
    assert json.loads(said)["first_bad"] == 6


def test_an_event_needs_the_transaction_of_its_act(transactional_db):
    with pytest.raises(RuntimeError, match="transaction"):
        record(Action.LOGIN)


def test_an_act_that_is_undone_leaves_no_event(db):
    with transaction.atomic():
        record(Action.LOGIN)
        transaction.set_rollback(True)
    assert AuditEvent.objects.count() == 0


def test_what_cannot_be_written_down_does_not_happen(site, clinician, monkeypatch):
    from clinic.patients.models import Patient
    from clinic.patients.services import register_patient

    def broken(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(AuditEvent.objects, "create", broken)
    with pytest.raises(OSError, match="disk full"):
        register_patient(site=site, mrn="1", name="A", by=clinician)
    assert not Patient.objects.exists()


def test_an_event_outlives_its_actor(db):
    user = UserFactory(username="gone", first_name="", last_name="")
    event = record(Action.LOGIN, by=user)
    actor_id = str(user.pk)
    user.delete()
    event.refresh_from_db()
    assert (event.actor, event.actor_id) == ("gone", actor_id)
    assert verify().ok


def test_an_event_says_where_its_object_belongs(db):
    case = CaseFactory()
    event = record(Action.CASE_READ, obj=case)
    assert (event.case_id, event.patient_id) == (str(case.pk), str(case.patient_id))
    assert event.site_id == str(case.patient.site_id)
    assert (event.object_type, event.object_id) == ("case", str(case.pk))


def test_states_are_kept_as_digests_only(db):
    event = record(Action.ROLE_CHANGE, before={"role": "secret-before"}, after={"role": "secret-after"})
    assert "secret" not in event.body
    said = json.loads(event.body)
    assert len(said["before"]) == len(said["after"]) == 64
    assert said["before"] != said["after"]


@pytest.mark.parametrize("table", immutable.TABLES)
def test_the_database_itself_refuses_to_change_what_was_written(site, clinician, table):
    from clinic.cases.reports import draft_report, sign
    from tests.factories import PASSWORD

    report = draft_report(assessment=assessed_case(site), by=clinician)
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    anchor_head()
    connection.check_constraints()  # settles PostgreSQL's deferred keys, which a TRUNCATE would stumble over first
    key = "seq" if table == "audit_auditevent" else "id"
    acts = [f"UPDATE {table} SET {key} = {key}", f"DELETE FROM {table}"]
    if connection.vendor == "postgresql":
        acts.append(f"TRUNCATE {table} CASCADE")
    for act in acts:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(act)
