"""A list over several sites is put together from theirs: the same rows in the same order as one list would have."""

import pytest
from django.urls import reverse

from clinic.accounts.models import Membership
from clinic.cases.models import Case
from clinic.patients.models import Patient
from tests.factories import CaseFactory, PatientFactory

pytestmark = pytest.mark.django_db


def _pages(client, url):
    while url:
        page = client.get(url).json()
        yield [row["id"] for row in page["results"]]
        url = page["next"]


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_pages_over_two_sites_are_one_list(api, clinician, site, other_site, order):
    Membership.objects.create(user=clinician, site=other_site, role="clinician")
    for n in range(9):
        CaseFactory(patient=PatientFactory(site=[site, other_site][n % 2]))
    pages = list(_pages(api(clinician), f"{reverse('api:cases')}?limit=4&ordering={order}"))
    ids = Case.objects.order_by(order, order.replace("created_at", "id")).values_list("pk", flat=True)
    assert [len(page) for page in pages] == [4, 4, 1]
    assert [pk for page in pages for pk in page] == [str(pk) for pk in ids]


def test_of_a_foreign_site_the_list_shows_nothing(api, clinician, site, other_site):
    own, _ = (CaseFactory(patient=PatientFactory(site=one)) for one in (site, other_site))
    assert list(_pages(api(clinician), reverse("api:cases"))) == [[str(own.pk)]]


def test_names_of_two_sites_are_in_the_databases_order(api, clinician, site, other_site):
    Membership.objects.create(user=clinician, site=other_site, role="clinician")
    for names, of in (("anna berta clara", site), ("Xenia Yara Zoe", other_site)):
        for name in names.split():  # most databases sort as a dictionary does, Python by number of the letter
            PatientFactory(site=of, name=name)
    pages = list(_pages(api(clinician), f"{reverse('api:patients')}?limit=2&ordering=name"))
    ids = Patient.objects.order_by("name", "id").values_list("pk", flat=True)
    assert [pk for page in pages for pk in page] == [str(pk) for pk in ids]
