"""The APL alert is there before the other modalities are read: the worker's own loop, with models stood in for."""

import pytest

from clinic.audit.models import Action, AuditEvent
from clinic.cases import runs, services
from clinic.cases.alerts import standing
from clinic.cases.models import Analysis, AnalysisStatus
from clinic.patients.services import register_patient
from tests.factories import ItemFactory
from tests.ml.test_fusion import BUNDLE, certain
from workers import analysis as work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(site, clinician, settings):
    settings.TASKS_INLINE = True
    patient = register_patient(site=site, mrn="A-1", name="Alert", by=clinician)
    case = services.open_case(patient=patient, by=clinician)
    items = [ItemFactory(case=case, kind=kind) for kind in ("smear_field", "smear_cell", "expression", "labs")]
    queued = Analysis.objects.create(case=case, bundles={"fusion": "0" * 64}, requested_by=clinician)
    queued.items.set(items)
    return runs.claim(queued.pk)


def analyse(run, monkeypatch, label_of):
    """Run the worker's own loop; each modality says its label. Returns what was up when each began to be read."""
    up = {}

    def find(_, modality, __):
        up[modality] = [alert.code for alert in standing(run.case)]
        assert Analysis.objects.get(pk=run.pk).status == AnalysisStatus.RUNNING
        return certain(modality, label_of[modality])

    monkeypatch.setattr(work, "_find", find)
    monkeypatch.setattr(work, "bundle_of", lambda _: BUNDLE)
    work.analyse(run)
    return up


SAYS_T_ALL = {"labs": "ALL", "expression": "T-ALL", "smear_cell": "AML", "smear_field": "Pro-B"}


def test_the_first_finding_that_calls_for_it_raises_it_before_the_next_is_read(run, monkeypatch):
    up = analyse(run, monkeypatch, SAYS_T_ALL | {"labs": "APL"})
    assert list(up) == ["labs", "expression", "smear_cell", "smear_field"]
    assert up == {"labs": []} | {key: ["apl_not_excluded"] for key in list(up)[1:]}
    (alert,) = standing(run.case)
    assert alert.modality == "labs"
    assert alert.body["excluded_by"]
    event = AuditEvent.objects.get(action=Action.ALERT_RAISE)
    assert event.case_id == str(run.case.pk)


def test_where_nothing_calls_for_it_none_is_raised(run, monkeypatch):
    assert set(map(tuple, analyse(run, monkeypatch, SAYS_T_ALL).values())) == {()}
    assert not AuditEvent.objects.filter(action=Action.ALERT_RAISE).exists()
