"""One's own tokens in the portal."""

import pytest
from django.urls import reverse

from clinic.tokens.models import AccessToken
from clinic.tokens.services import create_personal_token

pytestmark = pytest.mark.django_db
PAGE = reverse("tokens:tokens")


@pytest.fixture
def doctor(client, clinician):
    client.force_login(clinician)
    return client


def test_a_token_is_shown_once_and_opens_the_api(doctor, client, api, site):
    said = {"name": "Script", "scopes": ["case.view"], "site": site.code, "days": "7"}
    page = doctor.post(PAGE, said)
    secret = page.context["secret"]
    assert secret in page.content.decode()
    assert secret not in doctor.get(PAGE).content.decode()
    bearer = api()
    bearer.credentials(HTTP_AUTHORIZATION=f"Token {secret}")
    assert bearer.get(reverse("api:cases")).status_code == 200
    assert AccessToken.objects.get().site == site


def test_only_what_one_may_do_oneself_can_be_chosen(doctor):
    choices = [value for value, _ in doctor.get(PAGE).context["form"].fields["scopes"].choices]
    assert "report.sign" in choices
    assert "user.manage" not in choices
    assert doctor.post(PAGE, {"name": "x", "scopes": ["user.manage"], "days": "7"}).status_code == 400


def test_a_token_is_ended_here(doctor, clinician):
    row, _ = create_personal_token(name="Old <script>", scopes=["case.view"], days=1, by=clinician)
    assert "Old &lt;script&gt;" in doctor.get(PAGE).content.decode()
    assert doctor.post(reverse("tokens:revoke", args=[row.pk]), follow=True).status_code == 200
    assert not AccessToken.objects.get().live
    assert "Revoked" in doctor.get(PAGE).content.decode()
