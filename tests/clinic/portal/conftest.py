import pytest
from django.test import Client

from clinic.cases.reports import draft_report
from tests.portal_cases import full_case


class ClosingClient(Client):
    """Closes the files of answers that a test does not read to their end."""

    def __init__(self):
        super().__init__()
        self.answers = []

    def request(self, **said):
        self.answers.append(super().request(**said))
        return self.answers[-1]


@pytest.fixture
def client():
    made = ClosingClient()
    yield made
    for answer in made.answers:
        answer.close()


@pytest.fixture
def assessment(site):
    return full_case(site)


@pytest.fixture
def case(assessment):
    return assessment.analysis.case


@pytest.fixture
def report(assessment, clinician):
    return draft_report(assessment=assessment, by=clinician)
