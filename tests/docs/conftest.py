"""One live server for the whole guide, with the people and models that its examples speak of."""

import asyncio
import threading
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from clinic.accounts.models import User
from clinic.accounts.services import issue_token
from clinic.interop.hl7.listener import Listener
from clinic.registry.services import sync_bundles
from tests.clinic.interop.cds import KEY, client_settings
from tests.factories import PASSWORD, SiteFactory, member


@pytest.fixture
def guide_server(live_server, settings, tmp_path):
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
    settings.CDS_CLIENTS = client_settings("lis")
    key = tmp_path / "cds.pem"
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with listening(site, User.objects.get(username="lis")) as port:
        yield _environment(live_server.url, token, site) | {"MARROW_HL7_PORT": str(port), "MARROW_CDS_KEY": str(key)}


@contextmanager
def listening(site, user):
    """The HL7 listener in a thread of its own; yields its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listener = Listener(site=site, by=user, port=0)
    asyncio.run_coroutine_threadsafe(listener.__aenter__(), loop).result(120)
    try:
        yield listener.port
    finally:
        asyncio.run_coroutine_threadsafe(listener.__aexit__(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _environment(url, token, site):
    return {
        "MARROW_URL": url,
        "MARROW_TOKEN": token,
        "MARROW_SITE": str(site.pk),
        "MARROW_PASSWORD": PASSWORD,
    }
