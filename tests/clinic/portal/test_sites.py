"""A site's settings: only its administrators change them, and each change is an event."""

import pytest
from django.urls import reverse

from clinic.accounts.sites import set_second_reader
from clinic.audit.models import Action, AuditEvent
from clinic.errors import Denied
from tests.factories import SiteFactory, member

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(site):
    return member(site, "admin")


def test_an_administrator_has_every_report_read_twice_and_takes_it_back(client, admin, site):
    client.force_login(admin)
    change = reverse("portal:change_site", args=[site.pk])
    assert "One signature is enough" in client.get(reverse("portal:sites")).content.decode()
    for said, wanted in (("yes", True), ("no", False)):
        page = client.post(change, {"second_reader": said}, follow=True).content.decode()
        site.refresh_from_db()
        assert site.second_reader is wanted
        assert "second reader is" in page
    changes = AuditEvent.objects.filter(action=Action.SITE_CHANGE, site_id=str(site.pk))
    assert [event.object_id for event in changes] == [str(site.pk)] * 2


def test_the_same_again_is_no_event(admin, site):
    set_second_reader(site=site, wanted=False, by=admin)
    assert not AuditEvent.objects.filter(action=Action.SITE_CHANGE).exists()


def test_a_site_of_others_is_neither_shown_nor_changed(client, admin, clinician, site):
    other = SiteFactory(name="Elsewhere")
    client.force_login(admin)
    assert "Elsewhere" not in client.get(reverse("portal:sites")).content.decode()
    with pytest.raises(Denied):
        set_second_reader(site=other, wanted=True, by=admin)
    with pytest.raises(Denied):
        set_second_reader(site=site, wanted=True, by=clinician)
