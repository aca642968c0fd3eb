"""The worklist: the order of triage, its lists, search, pages, saved views, and the poll that tells of a change."""

import re
from datetime import timedelta
from importlib import import_module
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from clinic.accounts.models import Membership
from clinic.audit.models import Action
from clinic.cases import runs, triage
from clinic.cases.models import AnalysisStatus, Case, Triage
from clinic.cases.reports import draft_report, sign
from clinic.cases.services import accept_item, open_case, receive_item, reject_item
from clinic.errors import Conflict
from tests.factories import PASSWORD, AnalysisFactory, CaseFactory, PatientFactory
from tests.portal_cases import events, finding, fused_case

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(client, clinician):
    """``ask(**query)`` → the names on the page, in their order, and its text."""
    client.force_login(clinician)

    def page(query=None, **said):
        response = client.get(reverse("portal:worklist") + (f"?{query}" if query else ""), said or None)
        assert response.status_code == 200
        text = response.content.decode()
        return re.findall(r"data-case>([^<]+)</a>", text), text

    return page


def aged(case, hours):
    Case.objects.filter(pk=case.pk).update(created_at=timezone.now() - timedelta(hours=hours))
    return case


@pytest.fixture
def cases(site):
    """One case of each rank, and two that wait."""
    apart = fused_case(
        site, [finding("expression", "T-ALL", 0.99), finding("labs", "AML", 0.999)], patient__name="Apart"
    )
    alarm = fused_case(site, [finding("labs", "APL")], patient__name="Alarm")
    made = {"alarm": alarm.analysis.case, "apart": apart.analysis.case}
    Case.objects.filter(pk=made["apart"].pk).update(urgent=False, discordant=True, triage=Triage.DISCORDANT)
    for name, hours in (("young", 1), ("old", 50)):
        made[name] = aged(CaseFactory(patient__site=site, patient__name=name.title(), accession=f"ACC-{name}"), hours)
    return made


def test_urgent_then_discordant_then_the_longest_waiting(ask, cases):
    names, text = ask()
    assert names == ["Alarm", "Apart", "Old", "Young"]
    assert text.count("Urgent: APL not excluded") == 1
    assert ask(sort="newest")[0][-1] == "Old"
    assert ask(sort="name")[0] == ["Alarm", "Apart", "Old", "Young"]
    assert ask(view="all", sort="oldest")[0][0] == "Old"


def test_each_list_shows_its_cases_and_their_number(ask, cases, clinician):
    report = draft_report(assessment=cases["alarm"].analyses.get().assessment, by=clinician)
    assert ask(view="urgent")[0] == ["Alarm"]
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    assert ask(view="urgent")[0] == []
    assert ask(view="signed")[0] == ["Alarm"]
    assert ask(view="discordant")[0] == ["Apart"]
    assert ask(view="open")[0] == ["Old", "Young"]
    names, text = ask(view="all")
    assert sorted(names) == ["Alarm", "Apart", "Old", "Young"]
    counts = dict(re.findall(r'>([A-Z][a-z ]+) <span class="count[^"]*">(\S+)</span>', text))
    assert (counts["To do"], counts["Signed"], counts["All"], counts["Urgent"]) == ("3", "1", "4", "0")
    assert ask(view="no such list", sort="no", days="x", site="y")[0] == ask()[0]


def test_more_than_can_be_counted_is_said_so(ask, cases, monkeypatch):
    monkeypatch.setattr("clinic.cases.worklist.COUNTED", 2)
    monkeypatch.setattr("clinic.portal.views.worklist.COUNTED", 2)
    assert ">2+</span>" in ask()[1]


@pytest.mark.parametrize("few", [0, 2000])
def test_search_by_name_number_and_accession(ask, cases, site, monkeypatch, few):
    monkeypatch.setattr("clinic.cases.worklist.FEW", few)
    PatientFactory(site=site, name="No case at all")
    mrn = cases["old"].patient.mrn
    assert ask(q="LARM")[0] == ["Alarm"]
    assert ask(q=mrn.lower())[0] == ["Old"]
    assert ask(q="yo")[0] == ["Young"]
    assert ask(q="ld")[0] == []
    assert ask(q="100%")[0] == []
    if few:
        assert ask(q="acc-you")[0] == ["Young"]


def test_filters_by_age_kind_and_site(ask, cases, other_site, clinician, outsider):
    assert ask(days=1, view="open")[0] == ["Young"]
    assert ask(synthetic="no")[0] == []
    CaseFactory(patient__site=other_site, patient__name="Foreign")
    assert "Foreign" not in ask()[0]
    assert "Foreign" not in ask(site=other_site.pk)[0]
    Membership.objects.create(user=clinician, site=other_site, role="clinician")
    assert ask()[0] == ["Alarm", "Apart", "Old", "Young", "Foreign"]
    assert ask(site=other_site.pk)[0] == ["Foreign"]


@pytest.mark.parametrize("sort", ["triage", "newest", "oldest", "name"])
@pytest.mark.parametrize("two_sites", [False, True])
def test_pages_hold_every_case_once_in_order(ask, cases, other_site, clinician, monkeypatch, sort, two_sites):
    if two_sites:
        Membership.objects.create(user=clinician, site=other_site, role="clinician")
    for name in ("Bert", "Zoe"):
        CaseFactory(patient__site=other_site if two_sites else cases["old"].site, patient__name=name)
    whole = ask(sort=sort)[0]
    assert len(whole) == 6
    monkeypatch.setattr("clinic.portal.views.worklist.PAGE", 2)
    names, query = [], f"sort={sort}"
    while query:
        found, text = ask(query)
        names += found
        following = re.search(r'href="\?([^"]+)" rel="next"', text)
        query = following and following[1].replace("&amp;", "&")
        assert not query or not any(name in query for name in whole)
    assert names == whole


def test_a_place_that_is_none_says_what_to_do(client, clinician):
    client.force_login(clinician)
    wrong = ("x", "1~2~3", f"1~2026-01-01T00:00:00+00:00~{uuid4()}~1")
    for query in (*({"after": after} for after in wrong), {"sort": "name", "after": str(uuid4())}):
        response = client.get(reverse("portal:worklist"), query, follow=True)
        assert len(response.redirect_chain) == 1
        assert "This page of the list cannot be found." in response.content.decode()
        assert client.get(reverse("portal:worklist_pulse"), query)["HX-Trigger"] == "worklist-changed"


def test_the_list_takes_few_queries(client, clinician, cases):
    client.force_login(clinician)
    with CaptureQueriesContext(connection) as asked:
        client.get(reverse("portal:worklist"), {"q": "a"})
    assert len(asked) <= 20, "\n".join(query["sql"][:150] for query in asked)


def test_saved_views_are_ones_own_and_hold_no_search(client, clinician, technician, ask):
    save = reverse("portal:save_view")
    response = client.post(save, {"name": " Night  shift ", "view": "urgent", "days": "1", "q": "Alarm"})
    assert response.url.endswith("?view=urgent&days=1")
    client.post(save, {"name": "Night shift", "view": "all"})
    assert clinician.saved_views.get().query == "view=urgent&days=1"
    text = ask()[1]
    assert "Night shift" in text
    assert "There is a view called Night shift already." in text
    client.force_login(technician)
    assert "Night shift" not in client.get(reverse("portal:worklist")).content.decode()
    client.force_login(clinician)
    client.post(reverse("portal:delete_view", args=[clinician.saved_views.get().pk]))
    assert not clinician.saved_views.exists()


def test_the_poll_tells_of_a_change_and_of_no_patient(client, ask, cases):
    mark = re.search(r"mark=([0-9a-f]+)", ask()[1])[1]
    calm = client.get(reverse("portal:worklist_pulse"), {"mark": mark})
    assert "HX-Trigger" not in calm
    AnalysisFactory(case=cases["old"], status=AnalysisStatus.QUEUED, finished_at=None)
    stirred = client.get(reverse("portal:worklist_pulse"), {"mark": mark})
    assert stirred["HX-Trigger"] == "worklist-changed"
    assert stirred.content == b""
    assert events(Action.CASE_SEARCH).count() == 1


# The copies on a case's row


def test_the_state_follows_what_happens(clinician, site):
    case = open_case(patient=PatientFactory(site=site), by=clinician)

    def state():
        case.refresh_from_db()
        return case.state, case.triage

    assert state() == ("open", Triage.WAITING)
    first, second = (
        receive_item(case=case, file=[name], filename="labs.csv", kind="labs", by=clinician) for name in (b"x", b"y")
    )
    assert state()[0] == "checking"
    accept_item(item=first, summary={})
    assert state()[0] == "checking"
    reject_item(item=second, rejection={"code": "bad", "place": "", "problem": "", "remedy": ""})
    assert state()[0] == "open"
    run = AnalysisFactory(case=case, status=AnalysisStatus.QUEUED, finished_at=None)
    assert state()[0] == "analysing"
    run = runs.claim(run.pk)
    body = fused_case(site, [finding("labs", "APL")]).body
    assessment = runs.complete(run, body)
    assert state() == (assessment.status, Triage.URGENT)
    assert (case.answer, case.probability, case.urgent) == (assessment.answer, assessment.probability, True)
    report = draft_report(assessment=assessment, by=clinician)
    sign(report=report, by=clinician, password=PASSWORD, decision="override", diagnosis="apl", reason="Seen.")
    assert state() == ("signed", Triage.SIGNED)
    again = AnalysisFactory(case=case, status=AnalysisStatus.QUEUED, finished_at=None)
    assert state() == ("analysing", Triage.WAITING)
    runs.fail(runs.claim(again.pk), code="internal_error", message="Broken.")
    assert state() == ("failed", Triage.WAITING)


def test_a_row_that_disagrees_with_itself_cannot_be_written(site):
    case = CaseFactory(patient__site=site)
    for wrong in ({"state": "signed"}, {"triage": Triage.SIGNED}, {"triage": Triage.URGENT}, {"state": "dreaming"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Case.objects.filter(pk=case.pk).update(**wrong)


def test_one_accession_number_is_one_case_of_a_site(clinician, site):
    patient = PatientFactory(site=site)
    open_case(patient=patient, accession="A-1", by=clinician)
    open_case(patient=patient, by=clinician)
    open_case(patient=patient, by=clinician)
    with pytest.raises(Conflict, match="already a case with the accession number A-1"):
        open_case(patient=patient, accession=" A-1 ", by=clinician)


def test_the_migration_fills_what_the_services_keep(cases, clinician, site):
    """The copies of rows from before: wiped, filled by the migration, compared with what the service says."""
    report = draft_report(assessment=cases["alarm"].analyses.get().assessment, by=clinician)
    sign(report=report, by=clinician, password=PASSWORD, decision="agree")
    for case in cases.values():
        triage.refresh(case.pk)
    kept = list(Case.objects.order_by("pk").values("site", "state", "triage", *triage.COPIED))
    Case.objects.update(state="open", triage=2, **triage.NOTHING_SAID)
    import_module("clinic.cases.migrations.0003_fill_triage").fill(apps, None)
    assert list(Case.objects.order_by("pk").values("site", "state", "triage", *triage.COPIED)) == kept
