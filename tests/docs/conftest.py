"""One live server for the whole guide, with the people and models that its examples speak of."""

import pytest

from clinic.accounts.services import issue_token
from clinic.registry.services import sync_bundles
from tests.factories import PASSWORD, SiteFactory, member


@pytest.fixture
def guide_server(live_server):
    """What the guide calls by name: the environment of its examples."""
    site = SiteFactory(code="home", name="Home laboratory")
    for username, role, first, last in (
        ("doctor", "clinician", "Dora", "Doctor"),
        ("lis", "integrator", "", ""),
        ("boss", "admin", "Bea", "Boss"),
    ):
        member(site, role, username=username, first_name=first, last_name=last)
    sync_bundles()
    token, _ = issue_token(request=None, username="lis", password=PASSWORD)
    return {
        "MARROW_URL": live_server.url,
        "MARROW_TOKEN": token,
        "MARROW_SITE": str(site.pk),
        "MARROW_PASSWORD": PASSWORD,
    }
