"""What every test may ask for. Nothing here reaches the network or leaves anything behind."""

import pytest
from django.core.cache import cache
from django.db import connection
from rest_framework.test import APIClient

from clinic.audit import immutable
from clinic.audit.context import acting
from tests.factories import SiteFactory, member


@pytest.fixture(autouse=True)
def private_folders(settings, tmp_path):
    """Files, keys and anchors of one test are not those of another."""
    settings.FILES_ROOT = tmp_path / "files"
    settings.FILE_KEYS_FILE = tmp_path / "file_keys"
    settings.AUDIT_KEY_FILE = tmp_path / "audit_ed25519.pem"
    settings.AUDIT_ANCHORS = tmp_path / "anchors"
    cache.clear()


@pytest.fixture(autouse=True)
def emptying_allowed(request):
    """Tests that really commit are cleaned by emptying all tables, which the append-only triggers would refuse.

    They are taken off just before; Django's flush ends with post_migrate, which puts them on again.
    """
    marker = request.node.get_closest_marker("django_db")
    commits = {"transactional_db", "live_server"} & set(request.fixturenames)
    if not commits and not (marker and marker.kwargs.get("transaction")):
        yield
        return
    request.getfixturevalue("transactional_db")
    yield
    immutable.remove(connection)


@pytest.fixture
def site(db):
    return SiteFactory(code="home", name="Home laboratory")


@pytest.fixture
def other_site(db):
    return SiteFactory(code="elsewhere", name="Another laboratory")


@pytest.fixture
def technician(site):
    return member(site, "technician", username="tech")


@pytest.fixture
def clinician(site):
    return member(site, "clinician", username="doctor")


@pytest.fixture
def integrator(site):
    return member(site, "integrator", username="lis")


@pytest.fixture
def auditor(site):
    return member(site, "auditor", username="auditor")


@pytest.fixture
def admin_user(site):
    return member(site, "admin", username="boss")


@pytest.fixture
def outsider(other_site):
    """A clinician of another site."""
    return member(other_site, "clinician", username="outsider")


@pytest.fixture
def api():
    """``api(user)`` is a client of the API that is logged in as ``user``; ``api()`` is nobody."""

    def client(user=None, **said):
        made = APIClient(raise_request_exception=False, **said)
        if user:
            made.force_login(user)
        return made

    return client


@pytest.fixture
def as_task():
    """Within this test things happen as they do in a worker: nobody is logged in."""
    with acting("a test"):
        yield
