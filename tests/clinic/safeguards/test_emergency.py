"""Break the glass: who gets in, to what, for how long, and who hears of it."""

import json

import pytest
from django.urls import reverse

from clinic.audit.models import Action, AuditEvent
from clinic.cases.visibility import cases_visible_to, patients_visible_to
from clinic.errors import Conflict, Denied
from clinic.safeguards import emergency
from clinic.safeguards.models import EmergencyAccess
from clinic.tokens.services import issue_for_login
from tests.factories import CaseFactory, assessed_case
from tests.portal_cases import events

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("M-12")]
PAGE = "/emergency-access/"
REASON = "Unconscious in our emergency room, blasts on the smear."


@pytest.fixture
def case(site):
    return assessed_case(site).analysis.case


def asked(case, **said):
    patient = case.patient
    return {
        "site": str(patient.site_id),
        "mrn": patient.mrn,
        "birth_date": str(patient.birth_date),
        "reason": REASON,
    } | said


def open_glass(case, by):
    patient = case.patient
    said = {"site": patient.site, "mrn": patient.mrn, "birth_date": patient.birth_date}
    return emergency.break_glass(**said, reason=REASON, by=by)


def test_the_whole_story(client, case, outsider, auditor, time_machine):
    time_machine.move_to(1_790_000_000, tick=False)
    page = reverse("portal:case", args=[case.pk])
    client.force_login(outsider)
    assert client.get(page).status_code == 404
    time_machine.shift(1)
    assert client.post(PAGE, asked(case)).status_code == 302
    assert page in client.get(PAGE).content.decode()
    assert client.get(page).status_code == 200
    assert events(Action.GLASS_BREAK).get().patient_id == str(case.patient_id)
    assert REASON in json.loads(events(Action.GLASS_BREAK).get().body)["detail"]["reason"]

    client.force_login(auditor)
    told = client.get(reverse("portal:audit")).content.decode()
    assert "1 emergency access to patients of your site" in told
    shown = client.get(PAGE).content.decode()
    assert REASON in shown
    assert "2 recorded acts" in shown
    access = EmergencyAccess.objects.get()
    client.post(reverse("safeguards:review", args=[access.pk]), {"justified": "no", "note": "Not on call."})
    access.refresh_from_db()
    assert (access.justified, access.reviewed_by) == (False, auditor)
    assert events(Action.GLASS_REVIEW).count() == 1
    assert "emergency access to patients" not in client.get(reverse("portal:audit")).content.decode()

    client.force_login(outsider)
    time_machine.shift(61 * 60)
    assert client.get(page).status_code in {302, 404}
    assert not cases_visible_to(outsider).exists()


def test_it_opens_one_patient_and_no_other(case, outsider, site):
    other = CaseFactory(patient__site=site)
    open_glass(case, outsider)
    assert list(cases_visible_to(outsider)) == [case]
    assert list(patients_visible_to(outsider)) == [case.patient]
    assert other not in cases_visible_to(outsider)


def test_it_opens_to_read_and_not_to_act(client, case, outsider):
    open_glass(case, outsider)
    client.force_login(outsider)
    before = AuditEvent.objects.filter(action=Action.ANALYSIS_REQUEST).count()
    client.post(reverse("portal:analyse", args=[case.pk]))
    assert AuditEvent.objects.filter(action=Action.ANALYSIS_REQUEST).count() == before
    assert events(Action.DENIED).exists()


def test_a_token_does_not_profit(api, case, outsider):
    open_glass(case, outsider)
    _, token = issue_for_login(user=outsider)
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    assert client.get(reverse("api:case", args=[case.pk])).status_code == 404


@pytest.mark.parametrize(
    "said", [{"mrn": "no such"}, {"birth_date": "1901-01-01"}, {"reason": "urgent"}, {"reason": ""}]
)
def test_who_cannot_name_the_patient_or_the_reason_stays_out(client, case, outsider, said):
    client.force_login(outsider)
    assert client.post(PAGE, asked(case, **said)).status_code == 400
    assert not EmergencyAccess.objects.exists()
    assert events(Action.DENIED).count() == (0 if "reason" in said else 1)


def test_who_works_there_needs_no_glass(case, clinician):
    with pytest.raises(Conflict):
        open_glass(case, clinician)


def test_only_clinicians_break_glass(case, technician, integrator, auditor, admin_user):
    for by in (technician, integrator, auditor, admin_user):
        with pytest.raises(Denied):
            open_glass(case, by)


def test_nobody_judges_their_own_access(case, outsider, site):
    from clinic.accounts.models import Membership

    access = open_glass(case, outsider)
    Membership.objects.create(user=outsider, site=site, role="auditor")
    assert not emergency.unreviewed(outsider).exists()
    with pytest.raises(Denied):
        emergency.review(access=access, justified=True, note="", by=outsider)


def test_an_access_is_judged_once_and_by_its_own_site(case, outsider, auditor, other_site):
    from tests.factories import member

    access = open_glass(case, outsider)
    with pytest.raises(Denied):
        emergency.review(access=access, justified=True, note="", by=member(other_site, "auditor"))
    emergency.review(access=access, justified=True, note="", by=auditor)
    with pytest.raises(Conflict):
        emergency.review(access=access, justified=False, note="", by=auditor)
