from datetime import timedelta

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone

from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import SignOff
from clinic.cases.reports import draft_report
from clinic.errors import Conflict, Denied, InvalidInput
from clinic.monitoring import calibrations
from clinic.monitoring.comparison import agreement_of, shadow_of
from clinic.monitoring.drift import chance_of, measure_week, monday_of, stability, wilson
from clinic.monitoring.models import CalibrationStatus, ShadowResult
from clinic.registry.models import BundleStatus, ModelBundle
from clinic.registry.services import shadow
from tests.factories import (
    ABSTAINED,
    ASSESSED,
    FINDING,
    NOON,
    BundleFactory,
    CaseFactory,
    FindingFactory,
    assessed_case,
    member,
)

pytestmark = pytest.mark.django_db
BODY = {"fusion": {"reference": "fusion@1.0.0", "sha256": "f" * 64}, "temperature": 2.0, "cases": 40}


def signed_off(assessment, by, decision, diagnosis=""):
    report = draft_report(assessment=assessment, by=by)
    return SignOff.objects.create(
        report=report,
        by=by,
        signer=by.display_name,
        at=timezone.now(),
        decision=decision,
        diagnosis=diagnosis or assessment.answer,
        reason="Seen otherwise" if decision == "override" else "",
        meaning="Reviewed",
        report_digest=report.digest,
    )


class TestDrift:
    def test_the_index_is_nothing_for_the_same_and_large_for_another_distribution(self):
        before = [k / 100 for k in range(100)]
        assert stability(before, before) == pytest.approx(0, abs=1e-9)
        assert stability(before, [0.99] * 50) > 1
        assert stability(["a"] * 50 + ["b"] * 50, ["a"] * 5 + ["b"] * 95) > 0.25
        assert stability(before, []) is None

    def test_by_hand_for_two_names(self):
        said = stability(["a"] * 49 + ["b"] * 49, ["a"] * 24 + ["b"] * 74)
        p, q = (49.5 / 99, 49.5 / 99), (24.5 / 99, 74.5 / 99)
        from math import log

        assert said == pytest.approx(sum((b - a) * log(b / a) for a, b in zip(p, q, strict=True)))

    def test_a_count_is_as_likely_as_the_binomial_says(self):
        assert chance_of(5, 10, 0.5) == 1.0
        assert chance_of(0, 10, 0.5) == pytest.approx(2 / 1024)
        assert chance_of(10, 10, 0.5) == pytest.approx(2 / 1024)
        assert chance_of(20, 20, 1.0) > 0.5

    def test_a_rate_has_wilsons_interval(self):
        said = wilson(8, 10)
        assert (round(said["low"], 3), round(said["high"], 3)) == (0.490, 0.943)
        assert wilson(0, 0) is None

    def test_a_week_of_strange_inputs_alerts_and_a_usual_one_does_not(self, site):
        monday = monday_of(timezone.now())
        start = timezone.now()
        self.findings(site, 60, start - timedelta(weeks=3), label="AML", in_scope=0.9)
        self.findings(site, 20, start, label=None, in_scope=0.1)
        [strange] = [row for row in measure_week(site, monday) if row.subject == "labs@1.0.0"]
        assert any("in scope: 0% of 20 this week, 100% before" in said for said in strange.alerts)
        assert strange.figures["in_scope_score"]["value"] > 0.25
        measure_week(site, monday)
        assert site.weeks.filter(subject="labs@1.0.0", monday=monday).count() == 1

    def test_those_who_watch_are_told_of_each_change_once(
        self, site, clinician, settings, mailoutbox, django_capture_on_commit_callbacks
    ):
        settings.NOTICES_BY_MAIL = True
        admin = member(site, "admin", email="admin@lab.example")
        start = timezone.now()
        self.findings(site, 60, start - timedelta(weeks=3), label="AML", in_scope=0.9)
        self.findings(site, 20, start, label=None, in_scope=0.1)
        for _ in range(2):
            with django_capture_on_commit_callbacks(execute=True):
                measure_week(site, monday_of(start))
            self.findings(site, 1, start, label=None, in_scope=0.1)
        assert [mail.to for mail in mailoutbox] == [[admin.email]]
        assert "in scope: 0% of 20 this week" in mailoutbox[0].body
        assert AuditEvent.objects.filter(action=Action.DRIFT_ALERT).count() == 1

    def test_a_usual_week_or_a_small_one_does_not_alert(self, site):
        monday, start = monday_of(timezone.now()), timezone.now()
        self.findings(site, 60, start - timedelta(weeks=3), label="AML", in_scope=0.9)
        self.findings(site, 5, start, label=None, in_scope=0.1)
        assert not [said for row in measure_week(site, monday) for said in row.alerts]

    def findings(self, site, n, at, **said):
        case = CaseFactory(patient__site=site)
        with time_machine.travel(at, tick=False):
            for _ in range(n):
                FindingFactory(analysis__case=case, body=FINDING | {"bundle_sha256": "0" * 64} | said)


class TestAgreement:
    def test_agreed_and_overridden_are_counted_of_the_sites_one_may_see(self, site, other_site, clinician):
        bundle = BundleFactory(name="fusion")
        signed_off(assessed_case(site), clinician, "agree")
        signed_off(assessed_case(site), clinician, "override", "apl")
        signed_off(assessed_case(other_site), member(other_site, "clinician"), "override", "apl")
        said = agreement_of(bundle, [site])
        assert said["agreed"]["value"] == 0.5
        assert said["overridden"] == [{"said": "aml", "signed": "apl", "n": 1}]

    def test_of_a_modality_only_where_its_bundle_spoke(self, site, clinician):
        BundleFactory(name="fusion")
        assessment = assessed_case(site)
        signed_off(assessment, clinician, "agree")
        spoke = BundleFactory(name="labs", sha256=assessment.analysis.findings.get().bundle_sha256)
        assert agreement_of(spoke, [site])["agreed"]["n"] == 1
        assert agreement_of(BundleFactory(name="expression"), [site])["agreed"] is None


class TestShadow:
    def test_better_and_worse_are_judged_by_the_signature(self, site, clinician):
        row = BundleFactory(name="labs", status=BundleStatus.SHADOW, version="2.0.0")
        for signed, shadowed in (("apl", "apl"), ("aml_npm1", ""), ("aml", "aml")):
            assessment = assessed_case(site)
            signed_off(assessment, clinician, "override", signed)
            body = ASSESSED if shadowed else ABSTAINED
            ShadowResult.objects.create(
                analysis=assessment.analysis,
                bundle=row.reference,
                bundle_sha256=row.sha256,
                assessment=body,
                answer=shadowed,
            )
        said = shadow_of(row, [site])
        assert (said["n"], said["better"], said["worse"]) == (3, 0, 1)
        assert said["same"]["value"] == pytest.approx(1 / 3)

    def test_a_bundle_that_speaks_cannot_read_along(self, admin_user, shipped):
        with pytest.raises(Conflict, match="is active"):
            shadow(bundle=ModelBundle.objects.get(name="labs", status="active"), by=admin_user)

    def test_one_of_a_name_and_written_down(self, admin_user, shipped):
        bundle = ModelBundle.objects.get(name="labs", status="active")
        ModelBundle.objects.filter(pk=bundle.pk).update(status="imported")
        bundle.refresh_from_db()
        assert shadow(bundle=bundle, by=admin_user).status == "shadow"
        assert AuditEvent.objects.filter(action=Action.BUNDLE_SHADOW).count() == 1


class TestCalibration:
    def test_versions_supersede_each_other_and_are_undone_to_the_one_before(self, site, admin_user):
        first, second = (calibrations.adopt(site=site, body=BODY | {"n": n}, by=admin_user) for n in (1, 2))
        first.refresh_from_db()
        assert (first.status, second.status) == (CalibrationStatus.SUPERSEDED, CalibrationStatus.ACTIVE)
        assert calibrations.undo(site=site, reason="A new lamp", by=admin_user) == first
        assert calibrations.active_calibration(site) == first
        assert calibrations.undo(site=site, reason="Again", by=admin_user) is None
        with pytest.raises(Conflict):
            calibrations.undo(site=site, reason="And again", by=admin_user)
        acts = AuditEvent.objects.filter(action__startswith="calibration.").order_by("seq")
        assert [event.action for event in acts] == [*["calibration.adopt"] * 2, *["calibration.undo"] * 2]

    def test_only_an_admin_of_the_site_with_a_reason_undoes_it(self, site, other_site, admin_user):
        calibrations.adopt(site=site, body=BODY)
        with pytest.raises(Denied):
            calibrations.undo(site=site, reason="Mine", by=member(other_site, "admin"))
        with pytest.raises(InvalidInput):
            calibrations.undo(site=site, reason=" ", by=admin_user)

    def test_it_speaks_only_beside_the_fusion_it_was_learned_for(self, site):
        row = calibrations.adopt(site=site, body=BODY)
        assert calibrations.calibration_of(site) == {}
        BundleFactory(name="fusion", sha256="f" * 64)
        assert calibrations.calibration_of(site) == {"site-calibration": row.sha256}
        assert calibrations.body_of(row.sha256) == row.body
        type(row).objects.filter(pk=row.pk).update(body=BODY | {"temperature": 1.0})
        assert calibrations.body_of(row.sha256) is None

    def test_the_newest_signature_of_a_case_counts_and_one_without_a_diagnosis_does_not(self, site, clinician):
        assessment = assessed_case(site)
        signed_off(assessment, clinician, "agree")
        abstained = assessed_case(site, abstained=True)
        signed_off(abstained, clinician, "agree")
        [(findings, node)] = calibrations.signed_cases(site)
        assert (node, findings[0]["modality"]) == ("aml", "labs")

    def test_too_few_signed_cases_are_refused_and_kept(self, site, shipped):
        with pytest.raises(CommandError, match="0 signed cases can be used; 30 are needed"):
            call_command("recalibrate", "--site", site.code)
        row = site.calibrations.get()
        assert (row.status, row.sha256) == (CalibrationStatus.REFUSED, "")
        assert AuditEvent.objects.get(action=Action.CALIBRATION_REFUSE)


@pytest.fixture
def shipped(db):
    from clinic.registry.services import sync_bundles

    return sync_bundles()


def test_noon_is_a_monday():
    assert monday_of(NOON).isoformat() == "2026-03-02"
