import pytest
from django.urls import reverse

from tests.factories import PASSWORD


@pytest.fixture
def enter(client):
    """``enter(address=…, **fields)`` sends the login form; a clinician "doctor" is the one expected."""

    def send(client=client, address="192.0.2.1", **said):
        form = {"username": "doctor", "password": PASSWORD} | said
        return client.post(reverse("portal:login"), form, REMOTE_ADDR=address)

    return send
