"""The chain shows what was done to it: every kind of tampering, with the triggers out of the way."""

import json
import tracemalloc
from io import StringIO

import httpx
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.utils import timezone

from clinic.audit import immutable
from clinic.audit.anchors import anchor_head, anchor_when_due, rotate_key
from clinic.audit.chain import GENESIS, columns_of, hash_of
from clinic.audit.delivery import deliver
from clinic.audit.keys import is_believed, signing_key
from clinic.audit.models import Action, Anchor, AuditEvent
from clinic.audit.services import record
from clinic.audit.verification import MARK, read_mark, verify, verify_on
from clinic.canonical import canonical_json
from tests.factories import CaseFactory, UserFactory, assessed_case, member

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


@pytest.mark.requirement("M-10")
def test_a_deleted_event_is_found(chain):
    AuditEvent.objects.filter(seq=4).delete()
    result = verify()
    assert result.first_bad == 4
    assert "missing" in result.why


def test_a_deleted_beginning_is_found(chain):
    AuditEvent.objects.filter(seq__lte=3).delete()
    assert verify().first_bad == 1


@pytest.mark.requirement("M-10")
def test_two_swapped_events_are_found(chain):
    with connection.cursor() as cursor:
        for source, target in ((4, 100), (7, 4), (100, 7)):
            cursor.execute("UPDATE audit_auditevent SET seq = %s WHERE seq = %s", [target, source])
    assert verify().first_bad == 4


@pytest.mark.requirement("M-10")
def test_an_event_put_in_between_is_found(chain):
    AuditEvent.objects.filter(seq__gte=4).update(seq=F("seq") + 100)
    AuditEvent.objects.filter(seq__gte=104).update(seq=F("seq") - 99)
    third = json.loads(AuditEvent.objects.get(seq=3).body)
    forged = third | {"seq": 4, "prev_hash": AuditEvent.objects.get(seq=3).hash, "detail": {"forged": True}}
    AuditEvent.objects.filter(seq=5).update(prev_hash="parked")  # its own place in the chain is taken now
    body = canonical_json(forged).decode()
    AuditEvent.objects.create(**columns_of(forged), body=body, hash=hash_of(body))
    assert verify().first_bad == 5


@pytest.mark.requirement("M-10")
def test_a_cut_tail_is_found_by_its_anchor(chain):
    anchor_head()
    AuditEvent.objects.filter(seq__gte=8).delete()
    result = verify()
    assert (result.ok, result.first_bad, result.count, result.anchored_to) == (False, 8, 7, None)
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


def made_anew(first):
    """Write every event from ``first`` on again, each with hashes that fit: a chain whole in itself."""
    prev = AuditEvent.objects.get(seq=first - 1).hash
    for event in AuditEvent.objects.filter(seq__gte=first).order_by("seq"):
        remade(event, prev_hash=prev, detail={"forged": True})
        prev = AuditEvent.objects.get(seq=event.seq).hash


@pytest.mark.requirement("M-10")
@pytest.mark.parametrize("first", [2, 4, 10])
def test_of_a_chain_made_anew_the_first_forged_event_is_named(chain, first):
    anchor_head()
    made_anew(first)
    result = verify()
    assert (result.ok, result.first_bad, result.count) == (False, first, first - 1)
    assert "was signed" in result.why


def test_a_chain_made_anew_between_two_anchors_is_found(chain):
    anchor_head()
    for n in range(10):
        record(Action.CASE_SEARCH, detail={"n": n})
    anchor_head()
    made_anew(13)
    result = verify()
    assert (result.first_bad, result.anchored_to) == (13, 10)


def test_a_chain_made_anew_fits_no_anchor_of_before_there_were_trails(chain):
    anchor = anchor_head()
    key, key_id = signing_key()
    said = {"seq": anchor.seq, "hash": anchor.hash, "at": anchor.said["at"], "key_id": key_id}
    signature = key.sign(canonical_json(said)).hex()
    next(settings_of_anchors().glob("0*.json")).write_bytes(canonical_json(said | {"signature": signature}))
    Anchor.objects.all().delete()
    assert verify().ok
    made_anew(4)
    assert verify().first_bad == 10


def settings_of_anchors():
    from django.conf import settings

    return settings.AUDIT_ANCHORS


def test_after_the_last_anchor_only_the_chain_speaks(chain):
    """Stated as a fact: what is not yet signed can be written anew; the result says which events those are."""
    anchor_head()
    for n in range(5):
        record(Action.CASE_SEARCH, detail={"n": n})
    made_anew(12)
    result = verify()
    assert result.ok
    assert (result.anchored_to, result.ranges) == (10, [(1, 10, True), (11, 15, False)])


def test_a_long_stretch_between_anchors_keeps_its_trail_short(chain, monkeypatch):
    monkeypatch.setattr("clinic.audit.anchors.TRAIL_MOST", 4)
    said = anchor_head().said
    assert (said["step"], len(said["trail"])) == (3, 3 * 8)
    assert verify().ok
    made_anew(5)
    assert verify().first_bad == 6  # the first of every third


def test_a_forged_trail_is_not_believed(chain):
    anchor = anchor_head()
    Anchor.objects.filter(pk=anchor.pk).update(said=anchor.said | {"trail": "0" * 80})
    result = verify()
    assert (result.first_bad, result.count) == (10, 9)
    assert "signature" in result.why


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


def test_verification_goes_on_from_the_last_verified_anchor(chain):
    anchor_head()
    assert verify_on().count == 10
    for n in range(3):
        record(Action.CASE_SEARCH, detail={"n": n})
    again = verify_on()
    assert (again.ok, again.from_seq, again.count, again.anchored_to) == (True, 11, 3, 10)
    anchor_head()
    verify_on()
    assert read_mark()["seq"] == 13
    assert verify_on().count == 0
    assert verify_on(full=True).count == 13


def test_what_was_verified_before_is_checked_again_in_full_only(chain):
    anchor_head()
    verify_on()
    AuditEvent.objects.filter(seq=4).update(actor="someone else")
    assert verify_on().ok
    assert verify_on(full=True).first_bad == 4


@pytest.mark.parametrize("seq", [4, 10])
def test_a_deletion_before_the_mark_is_found_without_asking_for_all(chain, seq):
    anchor_head()
    verify_on()
    record(Action.CASE_SEARCH)
    AuditEvent.objects.filter(seq=seq).delete()
    assert verify_on().first_bad == seq


def test_a_mark_that_was_moved_counts_for_nothing(chain, settings):
    anchor_head()
    verify_on()
    path = settings.AUDIT_ANCHORS / MARK
    said = json.loads(path.read_bytes())
    path.write_bytes(canonical_json(said | {"seq": 9, "hash": AuditEvent.objects.get(seq=9).hash}))
    AuditEvent.objects.filter(seq=4).update(actor="someone else")
    assert verify_on().first_bad == 4


def test_a_broken_chain_sets_no_mark(chain):
    AuditEvent.objects.filter(seq=4).update(actor="someone else")
    anchor_head()
    assert not verify_on().ok
    assert read_mark() is None


def test_a_new_key_signs_and_the_old_ones_still_hold(chain, settings):
    old, new = rotate_key()
    assert old != new
    assert list(Anchor.objects.order_by("seq").values_list("key_id", flat=True)) == [old, new]
    event = AuditEvent.objects.get(action=Action.KEY_ROTATE)
    assert json.loads(event.body)["detail"]["from"] == old
    assert settings.AUDIT_KEY_FILE.stat().st_mode & 0o777 == 0o600
    assert verify().ok
    made_anew(4)
    assert verify().first_bad == 4


def test_who_pins_the_first_key_believes_those_it_endorsed_and_no_other(chain, settings):
    first, second = rotate_key()
    _, third = rotate_key()
    settings.AUDIT_TRUSTED_KEYS = [first]
    assert all(is_believed(key) for key in (first, second, third))
    assert verify().ok
    settings.AUDIT_KEY_FILE.unlink()
    record(Action.CASE_SEARCH)
    stranger = anchor_head()
    assert not is_believed(stranger.key_id)
    assert verify().first_bad == stranger.seq


def test_a_key_in_anothers_place_is_not_that_key(chain, settings):
    old, new = rotate_key()
    (settings.AUDIT_ANCHORS / f"{old}.pub.pem").write_bytes((settings.AUDIT_ANCHORS / f"{new}.pub.pem").read_bytes())
    assert verify().first_bad == 10


def test_anchors_are_brought_to_a_folder_and_to_an_address(chain, settings, tmp_path, monkeypatch):
    put, down = {}, [True]

    def answer(url, content, timeout):
        if down[0]:
            raise httpx.ConnectError("down")
        put[url.rpartition("/")[2]] = content
        return httpx.Response(201, request=httpx.Request("PUT", url))

    monkeypatch.setattr("clinic.audit.delivery.httpx.put", answer)
    settings.AUDIT_ANCHOR_TARGETS = [str(tmp_path / "elsewhere"), "https://anchors.example/marrow/"]
    anchor_head()
    assert list(deliver().values()) == [1, 0]  # the address does not answer: tried again, and the folder is not kept up
    down[0] = False
    assert list(deliver().values()) == [0, 1]
    record(Action.CASE_SEARCH)
    rotate_key()
    assert list(deliver().values()) == [2, 2]
    kept = {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()}
    assert kept == put
    settings.AUDIT_ANCHORS = tmp_path / "elsewhere"  # what was brought away is enough to judge the chain
    assert verify().ok
    made_anew(4)
    assert verify().first_bad == 4


def test_a_head_is_anchored_when_it_is_due(chain, settings):
    settings.ANCHOR_SECONDS = 3600
    assert anchor_when_due().seq == 10
    record(Action.CASE_SEARCH)
    assert anchor_when_due() is None
    settings.ANCHOR_SECONDS = 0
    assert anchor_when_due().seq == 11


def test_verification_holds_one_event_at_a_time(chain):
    """Memory does not grow with the log: with twice the events, no more at the peak."""
    last = AuditEvent.objects.get(seq=10)
    rows, prev, said = [], last.hash, json.loads(last.body)
    for seq in range(11, 8001):
        body = canonical_json(said | {"seq": seq, "prev_hash": prev}).decode()
        rows.append(AuditEvent(**columns_of(json.loads(body)), body=body, hash=hash_of(body)))
        prev = rows[-1].hash
    AuditEvent.objects.bulk_create(rows, batch_size=500)
    del rows
    peaks = []
    for start in (4001, 1):
        tracemalloc.start()
        assert verify(start).ok
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


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


def _reviewed(report, *, by):
    """A row in each table of what people wrote."""
    from clinic.review.models import CellReview, Comment, SecondReading

    Comment.objects.create(case=report.case, by=by, author="Doctor", text="Seen.")
    finding = report.assessment.analysis.findings.first()
    CellReview.objects.create(finding=finding, cell="1", label="Blast", number=1, by=by, reviewer="Doctor")
    another = member(report.case.patient.site, "clinician")
    said = {"agrees": True, "meaning": "Read", "report_digest": report.digest, "at": timezone.now()}
    SecondReading.objects.create(sign_off=report.sign_off, first_by=by, by=another, reader="Another", **said)


@pytest.mark.parametrize("table", immutable.TABLES)
def test_the_database_itself_refuses_to_change_what_was_written(site, clinician, table):
    from clinic.cases.reports import draft_report, sign
    from tests.factories import PASSWORD

    report = draft_report(assessment=assessed_case(site), by=clinician)
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    _reviewed(report, by=clinician)
    anchor_head()
    connection.check_constraints()  # settles PostgreSQL's deferred keys, which a TRUNCATE would stumble over first
    key = "seq" if table == "audit_auditevent" else "id"
    acts = [f"UPDATE {table} SET {key} = {key}", f"DELETE FROM {table}"]
    if connection.vendor == "postgresql":
        acts.append(f"TRUNCATE {table} CASCADE")
    for act in acts:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(act)
