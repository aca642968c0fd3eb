"""The emergency stop: nothing new begins, what runs ends, everybody is told, and it takes a second act to release."""

import pytest
from django.urls import reverse

from clinic.audit.models import Action
from clinic.cases import runs, services
from clinic.cases.models import AnalysisStatus
from clinic.errors import Conflict, Denied, InvalidInput
from clinic.safeguards import halts
from tests.factories import AnalysisFactory, BundleFactory, ItemFactory
from tests.portal_cases import events

pytestmark = [pytest.mark.django_db, pytest.mark.requirement("M-18")]


@pytest.fixture
def case(site):
    for name in ("labs", "expression", "fusion"):
        BundleFactory(name=name)
    return ItemFactory(case__patient__site=site).case


def stop(by, bundle=""):
    return halts.halt(bundle=bundle, reason="It answers the same to everything.", by=by)


@pytest.mark.parametrize("bundle", ["", "labs", "fusion"])
def test_nothing_new_begins(case, technician, admin_user, bundle):
    stop(admin_user, bundle)
    with pytest.raises(halts.Halted):
        services.request_analysis(case=case, by=technician)
    assert not case.analyses.exists()


def test_a_model_that_the_case_does_not_need_may_be_halted(case, technician, admin_user):
    stop(admin_user, "expression")
    assert services.request_analysis(case=case, by=technician)


def test_the_api_says_so_as_a_problem(api, case, technician, admin_user):
    stop(admin_user)
    answer = api(technician).post(reverse("api:analyses", args=[case.pk]))
    assert (answer.status_code, answer.json()["code"]) == (503, "inference_halted")
    assert "It answers the same" in answer.json()["detail"]


def test_every_page_says_so(client, case, technician, admin_user):
    stop(admin_user)
    client.force_login(technician)
    text = client.get(reverse("portal:worklist")).content.decode()
    assert "Every model is halted." in text
    assert "It answers the same to everything." in text


def test_what_runs_ends_before_its_next_modality_and_says_why(case, admin_user, as_task):
    from workers.analysis import analyse
    from workers.tasks import _run

    run = AnalysisFactory(case=case, status=AnalysisStatus.QUEUED, finished_at=None)
    claimed = runs.claim(run.pk)
    stop(admin_user)
    with pytest.raises(halts.Halted):
        analyse(claimed)
    _run(claimed)
    run.refresh_from_db()
    assert (run.status, run.failure_code) == (AnalysisStatus.FAILED, "inference_halted")
    assert "It answers the same to everything." in run.failure_message
    assert not run.findings.exists()


def test_what_runs_ends_at_its_next_sign_of_progress(case, admin_user, as_task):
    from workers.analysis import _progress

    run = AnalysisFactory(case=case, status=AnalysisStatus.QUEUED, finished_at=None)
    say = _progress(runs.claim(run.pk), "labs")
    say(1, 3)
    stop(admin_user, "labs")
    with pytest.raises(halts.Halted):
        say(3, 3)


def test_it_takes_a_second_act_with_its_reason_to_release(case, technician, admin_user):
    halt = stop(admin_user)
    with pytest.raises(InvalidInput):
        halts.release(halt=halt, reason=" ", by=admin_user)
    halts.release(halt=halt, reason="The bundle is replaced.", by=admin_user)
    assert services.request_analysis(case=case, by=technician)
    with pytest.raises(Conflict):
        halts.release(halt=halt, reason="Again.", by=admin_user)
    assert events(Action.INFERENCE_HALT).count() == events(Action.INFERENCE_RELEASE).count() == 1


def test_only_an_administrator_stops_and_releases(case, clinician, technician, auditor, admin_user):
    halt = stop(admin_user)
    for by in (clinician, technician, auditor):
        with pytest.raises(Denied):
            stop(by, "labs")
        with pytest.raises(Denied):
            halts.release(halt=halt, reason="x", by=by)


def test_one_live_halt_of_one_thing(case, admin_user):
    stop(admin_user)
    with pytest.raises(Conflict):
        stop(admin_user)
    with pytest.raises(InvalidInput):
        stop(admin_user, "no-such-model")


def test_the_page_halts_and_releases(client, case, admin_user):
    client.force_login(admin_user)
    assert client.post("/stop/", {"bundle": "", "reason": ""}).status_code == 400
    client.post("/stop/", {"bundle": "labs", "reason": "Wrong units."})
    halt = halts.live_halts().get()
    assert "The model labs is halted" in client.get("/stop/").content.decode()
    client.post(reverse("safeguards:release", args=[halt.pk]), {"reason": "Put right."})
    assert not halts.live_halts().exists()
    assert "Put right." in client.get("/stop/").content.decode()
