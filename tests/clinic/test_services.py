"""The rules of the services; each refusal by its own code."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from clinic.accounts.access import ACTS_OF_ROLE, may
from clinic.accounts.models import Membership, Role
from clinic.accounts.services import create_site, create_user, grant_role
from clinic.audit.models import Action, AuditEvent
from clinic.cases import files, runs
from clinic.cases.models import Analysis, AnalysisStatus, ItemStatus, StudyItem
from clinic.cases.moves import move
from clinic.cases.services import (
    accept_item,
    cancel_analysis,
    open_case,
    receive_item,
    reject_item,
    request_analysis,
)
from clinic.errors import Conflict, Denied, InvalidInput, TooLarge
from clinic.patients.models import Patient
from clinic.patients.services import register_patient, search_patients
from tests.factories import PASSWORD, AnalysisFactory, BundleFactory, CaseFactory, ItemFactory, PatientFactory

pytestmark = pytest.mark.django_db

REJECTION = {"code": "truncated", "place": "labs.csv", "problem": "It ends early.", "remedy": "Export it again."}


@pytest.fixture
def case(site):
    return CaseFactory(patient__site=site)


@pytest.fixture
def bundles(db):
    return {name: BundleFactory(name=name).sha256 for name in ("labs", "fusion", "expression")}


@pytest.fixture
def sent(monkeypatch):
    """What was handed to the workers."""
    messages = []
    monkeypatch.setattr("clinic.cases.services.send", lambda *said: messages.append(said))
    return messages


def receive(case, by, content=b"hb,80\n", **said):
    return receive_item(**{"case": case, "file": [content], "filename": "labs.csv", "kind": "labs", "by": by} | said)


def last_event():
    return AuditEvent.objects.order_by("-seq").first()


class TestAccounts:
    def test_a_weak_password_is_refused(self, db):
        with pytest.raises(InvalidInput) as refusal:
            create_user(username="ada", password="password")
        assert (refusal.value.code, refusal.value.place) == ("weak_password", "password")

    def test_a_name_is_given_once(self, technician):
        with pytest.raises(Conflict) as refusal:
            create_user(username="tech", password=PASSWORD)
        assert refusal.value.code == "user_exists"

    def test_a_site_is_added_by_the_operator_only(self, admin_user):
        assert create_site(code="new", name="New").code == "new"
        with pytest.raises(Denied):
            create_site(code="newer", name="Newer", by=admin_user)
        with pytest.raises(Conflict):
            create_site(code="new", name="Again")

    def test_one_role_at_a_site(self, site, technician):
        grant_role(user=technician, site=site, role="clinician")
        assert list(technician.memberships.values_list("role", flat=True)) == ["clinician"]
        grant_role(user=technician, site=site, role=None)
        assert not technician.memberships.exists()
        assert last_event().action == Action.ROLE_CHANGE

    def test_only_an_admin_of_the_site_grants_its_roles(self, site, other_site, admin_user, clinician, technician):
        grant_role(user=technician, site=site, role="clinician", by=admin_user)
        for by, where in ((clinician, site), (admin_user, other_site)):
            with pytest.raises(Denied):
                grant_role(user=technician, site=where, role="admin", by=by)
        assert technician.memberships.get().role == "clinician"

    def test_an_unknown_role_is_refused_by_service_and_database(self, site, technician):
        with pytest.raises(InvalidInput):
            grant_role(user=technician, site=site, role="wizard")
        with pytest.raises(IntegrityError), transaction.atomic():
            Membership.objects.filter(user=technician).update(role="wizard")

    def test_an_unknown_act_is_denied_to_everyone(self, technician, clinician, admin_user):
        assert not any(may(user, "case.delete") for user in (technician, clinician, admin_user))
        assert set(ACTS_OF_ROLE) == set(Role)

    def test_who_is_inactive_may_nothing(self, clinician, site):
        assert may(clinician, "case.view", site)
        clinician.is_active = False
        assert not may(clinician, "case.view", site)


class TestPatients:
    def test_a_record_number_is_unique_at_a_site(self, site, other_site, technician, outsider):
        register_patient(site=site, mrn=" 7 ", name="A", by=technician)
        with pytest.raises(Conflict) as refusal:
            register_patient(site=site, mrn="7", name="B", by=technician)
        assert refusal.value.code == "mrn_exists"
        register_patient(site=other_site, mrn="7", name="B", by=outsider)

    @pytest.mark.parametrize("field", ["mrn", "name"])
    def test_a_patient_has_a_number_and_a_name(self, site, technician, field):
        said = {"mrn": "7", "name": "A"} | {field: "   "}
        with pytest.raises(InvalidInput) as refusal:
            register_patient(site=site, by=technician, **said)
        assert refusal.value.place == field

    def test_nobody_is_born_tomorrow(self, site, technician):
        tomorrow = timezone.localdate() + timedelta(days=1)
        with pytest.raises(InvalidInput) as refusal:
            register_patient(site=site, mrn="7", name="A", birth_date=tomorrow, by=technician)
        assert (refusal.value.code, refusal.value.place) == ("not_born_yet", "birth_date")
        assert register_patient(site=site, mrn="7", name="A", birth_date=timezone.localdate(), by=technician)

    def test_only_who_works_at_the_site_registers(self, site, outsider, auditor):
        for by in (outsider, auditor):
            with pytest.raises(Denied):
                register_patient(site=site, mrn="7", name="A", by=by)
        assert not Patient.objects.exists()

    def test_search_is_by_name_or_number(self, site):
        patient = PatientFactory(site=site, name="Grace Hopper", mrn="X-12")
        PatientFactory(site=site, name="Somebody Else", mrn="Y-13")
        for text in ("hopper", "x-1"):
            assert list(search_patients(Patient.objects.all(), text)) == [patient]


class TestItems:
    def test_a_file_is_kept_and_sent_to_be_checked(self, case, technician, sent):
        item = receive(case, technician, filename="../ward/labs\u202e.csv")
        assert (item.status, item.filename, item.size) == (ItemStatus.RECEIVED, "labs.csv", 6)
        assert files.opened(item.sha256).read() == b"hb,80\n"
        assert sent == [("workers.validate_item", str(item.pk))]
        assert last_event().action == Action.ITEM_RECEIVE
        assert last_event().patient_id == str(case.patient_id)

    def test_a_file_comes_once(self, case, technician, sent):
        first = receive(case, technician)
        with pytest.raises(Conflict) as refusal:
            receive(case, technician, filename="copy.csv")
        assert refusal.value.code == "duplicate_item"
        assert str(first.pk) in refusal.value.problem

    def test_a_rejected_file_may_come_again(self, case, technician, sent):
        reject_item(item=receive(case, technician), rejection=REJECTION)
        assert receive(case, technician).status == ItemStatus.RECEIVED

    def test_the_same_file_in_another_case_is_fine(self, site, case, technician, sent):
        receive(case, technician)
        receive(CaseFactory(patient__site=site), technician)
        assert StudyItem.objects.count() == 2

    @pytest.mark.parametrize(
        ("said", "error", "code"),
        [
            ({"file": []}, InvalidInput, "empty"),
            ({"file": [b""]}, InvalidInput, "empty"),
            ({"kind": "urine"}, InvalidInput, "unknown_kind"),
            ({"options": [1]}, InvalidInput, "bad_options"),
            ({"options": {"scale": float("nan")}}, InvalidInput, "bad_options"),
            ({"options": {"sample": "\ud800"}}, InvalidInput, "bad_options"),
            ({"options": {"sample": "x" * 20_000}}, InvalidInput, "bad_options"),
            ({"kind": "history", "file": [b"\xff\xfe\x00"]}, InvalidInput, "not_text"),
            ({"kind": "history", "file": [b"a\0b"]}, InvalidInput, "not_text"),
            ({"kind": "history", "file": [b"%PDF-1.7"]}, InvalidInput, "not_text"),
            ({"kind": "history", "file": [b"x" * 60_000] * 2}, TooLarge, "too_large"),
        ],
    )
    def test_what_cannot_be_taken_is_refused_with_its_code(self, case, technician, sent, said, error, code):
        with pytest.raises(error) as refusal:
            receive(case, technician, **said)
        assert refusal.value.code == code
        assert refusal.value.remedy
        assert not StudyItem.objects.exists()
        assert sent == []

    def test_a_history_is_valid_at_once(self, case, technician, sent):
        item = receive(case, technician, kind="history", content="Fièvre, 2 semaines".encode())
        assert (item.status, item.summary, sent) == (ItemStatus.VALID, {"characters": 18}, [])

    def test_only_who_may_upload_uploads(self, case, auditor, outsider, sent):
        for by in (auditor, outsider):
            with pytest.raises(Denied):
                receive(case, by)

    def test_an_item_is_judged_once(self, case, technician, sent):
        item = receive(case, technician)
        same = StudyItem.objects.get(pk=item.pk)
        assert accept_item(item=item, summary={"rows": 1})
        assert not reject_item(item=same, rejection=REJECTION)
        item.refresh_from_db()
        assert (item.status, item.summary, item.rejection) == (ItemStatus.VALID, {"rows": 1}, None)
        assert item.checked_at is not None
        assert AuditEvent.objects.filter(action=Action.ITEM_REJECT).count() == 0

    def test_rejected_means_with_a_reason(self, case):
        with pytest.raises(IntegrityError), transaction.atomic():
            ItemFactory(case=case, status=ItemStatus.REJECTED)


class TestAnalysis:
    def test_items_and_bundles_are_frozen(self, case, technician, bundles, sent):
        item = ItemFactory(case=case)
        rejected = ItemFactory(case=case, status=ItemStatus.REJECTED, rejection=REJECTION)
        analysis = request_analysis(case=case, by=technician)
        assert list(analysis.items.all()) == [item]
        assert rejected not in analysis.items.all()
        assert analysis.bundles == bundles
        assert analysis.status == AnalysisStatus.QUEUED
        assert sent == [("workers.run_analysis", str(analysis.pk))]
        assert last_event().action == Action.ANALYSIS_REQUEST

    @pytest.mark.parametrize(
        ("items", "code"),
        [
            ([], "nothing_to_analyse"),
            ([{"kind": "history"}], "nothing_to_analyse"),
            ([{"status": ItemStatus.REJECTED, "rejection": REJECTION}], "nothing_to_analyse"),
            ([{}, {"status": ItemStatus.RECEIVED}], "items_unchecked"),
            ([{"kind": "smear_field"}], "no_model"),
        ],
    )
    def test_what_cannot_be_analysed_is_refused(self, case, technician, bundles, sent, items, code):
        for said in items:
            ItemFactory(case=case, **said)
        with pytest.raises(Conflict) as refusal:
            request_analysis(case=case, by=technician)
        assert refusal.value.code == code
        assert sent == []
        assert not Analysis.objects.exists()

    def test_without_a_fusion_nothing_is_analysed(self, case, technician, sent):
        BundleFactory(name="labs")
        ItemFactory(case=case)
        with pytest.raises(Conflict) as refusal:
            request_analysis(case=case, by=technician)
        assert "fusion" in refusal.value.problem

    def test_one_live_analysis_of_a_case(self, case, technician, bundles, sent):
        ItemFactory(case=case)
        first = request_analysis(case=case, by=technician)
        with pytest.raises(Conflict) as refusal:
            request_analysis(case=case, by=technician)
        assert refusal.value.code == "analysis_running"
        assert str(first.pk) in refusal.value.problem
        cancel_analysis(analysis=first, by=technician)
        assert request_analysis(case=case, by=technician).pk != first.pk

    def test_what_has_ended_is_not_cancelled(self, case, technician, sent):
        ended = AnalysisFactory(case=case)
        with pytest.raises(Conflict) as refusal:
            cancel_analysis(analysis=ended, by=technician)
        assert refusal.value.code == "analysis_ended"

    def test_a_cancelled_run_is_not_claimed(self, case, technician, bundles, sent):
        ItemFactory(case=case)
        analysis = request_analysis(case=case, by=technician)
        cancel_analysis(analysis=analysis, by=technician)
        assert runs.claim(analysis.pk) is None

    def test_a_case_is_opened_at_a_site_of_ones_own(self, case, outsider):
        with pytest.raises(Denied):
            open_case(patient=case.patient, by=outsider)


class TestMove:
    def test_the_second_to_come_changes_nothing(self, case):
        analysis = AnalysisFactory(case=case, status=AnalysisStatus.QUEUED, finished_at=None)
        same = Analysis.objects.get(pk=analysis.pk)
        ended = {"to": AnalysisStatus.CANCELLED, "finished_at": analysis.requested_at}
        assert move(analysis, expect=[AnalysisStatus.QUEUED], **ended)
        assert not move(same, expect=[AnalysisStatus.QUEUED], **ended)
        assert (analysis.status, same.status) == (AnalysisStatus.CANCELLED, AnalysisStatus.QUEUED)

    def test_a_queryset_moves_too(self, case):
        AnalysisFactory(case=case, status=AnalysisStatus.QUEUED, finished_at=None)
        rows = Analysis.objects.filter(case=case)
        assert move(rows, expect=["queued"], to=AnalysisStatus.CANCELLED, finished_at=case.created_at)
        assert rows.get().status == AnalysisStatus.CANCELLED
