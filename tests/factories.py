"""Rows for tests, as the services would have left them. No fixture files."""

from datetime import UTC, date, datetime

import factory
from django.contrib.auth.hashers import make_password
from django.db import transaction
from factory.django import DjangoModelFactory

from clinic.accounts.models import Membership, Role, Site, User
from clinic.canonical import digest
from clinic.cases import files, triage
from clinic.cases.models import (
    Analysis,
    AnalysisStatus,
    Artefact,
    Assessment,
    Case,
    Finding,
    ItemStatus,
    StudyItem,
)
from clinic.notices.models import Notice
from clinic.patients.models import Patient
from clinic.registry.models import BundleStatus, ModelBundle

PASSWORD = "blood-film-under-the-lens"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FINDING = {
    "modality": "labs",
    "bundle": "labs@1.0.0",
    "label": "AML",
    "probabilities": {"ALL": 0.1, "AML": 0.7, "APL": 0.2},
    "in_scope": 0.9,
    "leaves": {"ALL": ["b_all_nos"], "AML": ["aml_nos"], "APL": ["apl"]},
    "training_share": {"ALL": 0.3, "AML": 0.5, "APL": 0.2},
    "quality": [],
    "reasons": [],
    "explanation": {},
}
ASSESSED = {
    "status": "assessed",
    "answer": {"node": "aml", "name": "Acute myeloid leukaemia (AML)", "probability": 0.83},
    "prediction_set": ["aml"],
    "probabilities": {"aml": 0.83, "all": 0.17},
    "urgent": [],
    "discordance": [],
    "reasons": [],
}
ABSTAINED = ASSESSED | {"status": "abstained", "answer": None, "reasons": ["The input is unlike what was trained on."]}


@transaction.atomic
def triaged(case_id):
    triage.refresh(case_id)


class SiteFactory(DjangoModelFactory):
    class Meta:
        model = Site

    code = factory.Sequence(lambda n: f"site-{n}")
    name = factory.Sequence(lambda n: f"Laboratory {n}")


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User

    username = factory.Sequence(lambda n: f"user{n}")
    first_name = "Ada"
    last_name = factory.Sequence(lambda n: f"Moreau{n}")
    password = factory.LazyFunction(lambda: make_password(PASSWORD))


def member(site, role, **fields):
    """A user who has this role at ``site``."""
    user = UserFactory(**fields)
    Membership.objects.create(user=user, site=site, role=Role(role))
    return user


class PatientFactory(DjangoModelFactory):
    class Meta:
        model = Patient

    site = factory.SubFactory(SiteFactory)
    mrn = factory.Sequence(lambda n: f"M{n:06d}")
    name = factory.Sequence(lambda n: f"Testperson {n}")
    birth_date = date(1990, 5, 17)
    sex = "female"
    synthetic = True
    created_by = factory.SubFactory(UserFactory)


class CaseFactory(DjangoModelFactory):
    class Meta:
        model = Case

    patient = factory.SubFactory(PatientFactory)
    site = factory.SelfAttribute("patient.site")
    title = "New blasts in the count"
    created_by = factory.SubFactory(UserFactory)


class ItemFactory(DjangoModelFactory):
    """A file that lies in the store; its content is ``content``."""

    class Meta:
        model = StudyItem
        skip_postgeneration_save = True

    class Params:
        content = factory.Sequence(lambda n: f"hb_g_l,wbc_10e9_l\n{80 + n},12\n".encode())

    case = factory.SubFactory(CaseFactory)
    kind = "labs"
    filename = "labs.csv"
    sha256 = factory.LazyAttribute(lambda item: files.store_bytes(item.content))
    size = factory.LazyAttribute(lambda item: len(item.content))
    status = ItemStatus.VALID
    received_by = factory.SubFactory(UserFactory)

    @factory.post_generation
    def into_triage(self, create, extracted, **kwargs):
        triaged(self.case_id)


class BundleFactory(DjangoModelFactory):
    class Meta:
        model = ModelBundle

    name = "labs"
    version = "1.0.0"
    sha256 = factory.LazyAttribute(lambda bundle: digest([bundle.name, bundle.version]))
    path = "/nowhere"
    manifest = factory.LazyAttribute(
        lambda bundle: {
            "name": bundle.name,
            "intended_use": "Tests",
            "limits": ["None known"],
            "licence": "research use",
        }
    )
    status = BundleStatus.ACTIVE


class AnalysisFactory(DjangoModelFactory):
    """A run that ended well, over the valid items of its case."""

    class Meta:
        model = Analysis
        skip_postgeneration_save = True

    case = factory.SubFactory(CaseFactory)
    status = AnalysisStatus.SUCCEEDED
    bundles = factory.LazyFunction(lambda: dict(ModelBundle.objects.values_list("name", "sha256")))
    requested_by = factory.SubFactory(UserFactory)
    finished_at = NOON

    @factory.post_generation
    def take_items(self, create, extracted, **kwargs):
        self.items.set(self.case.items.filter(status=ItemStatus.VALID))
        triaged(self.case_id)


class FindingFactory(DjangoModelFactory):
    class Meta:
        model = Finding

    analysis = factory.SubFactory(AnalysisFactory)
    modality = "labs"
    bundle = "labs@1.0.0"
    bundle_sha256 = factory.LazyAttribute(lambda finding: digest(["labs", "1.0.0"]))
    body = factory.LazyAttribute(lambda finding: FINDING | {"bundle_sha256": finding.bundle_sha256})


class ArtefactFactory(DjangoModelFactory):
    class Meta:
        model = Artefact

    finding = factory.SubFactory(FindingFactory)
    kind = "gradcam"
    name = "overlay.png"
    media_type = "image/png"
    sha256 = factory.LazyFunction(lambda: files.store_bytes(b"\x89PNG\r\n\x1a\nnot really"))


class AssessmentFactory(DjangoModelFactory):
    class Meta:
        model = Assessment
        skip_postgeneration_save = True

    class Params:
        abstained = False

    analysis = factory.SubFactory(AnalysisFactory)
    body = factory.LazyAttribute(lambda said: ABSTAINED if said.abstained else ASSESSED)
    status = factory.LazyAttribute(lambda said: said.body["status"])
    answer = factory.LazyAttribute(lambda said: said.body["answer"]["node"] if said.body["answer"] else "")
    probability = factory.LazyAttribute(
        lambda said: said.body["answer"]["probability"] if said.body["answer"] else None
    )
    digest = factory.LazyAttribute(lambda said: digest(said.body))

    @factory.post_generation
    def into_triage(self, create, extracted, **kwargs):
        triaged(self.analysis.case_id)


class NoticeFactory(DjangoModelFactory):
    class Meta:
        model = Notice

    recipient = factory.SubFactory(UserFactory)
    case = factory.SubFactory(CaseFactory)
    kind = "ready"
    changed_at = NOON


def assessed_case(site, **said):
    """A case of ``site`` with a labs item, its finding and its assessment. Returns the assessment."""
    case = CaseFactory(patient__site=site)
    ItemFactory(case=case)
    analysis = AnalysisFactory(case=case)
    FindingFactory(analysis=analysis)
    return AssessmentFactory(analysis=analysis, **said)
