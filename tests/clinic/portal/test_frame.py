"""The frame around every page: the bar, and light or dark."""

import re

import pytest
from django.urls import reverse

from clinic.portal.navigation import NAVIGATION

pytestmark = pytest.mark.django_db

SEEN = {
    "technician": ["Worklist", "New case", "Models"],
    "clinician": ["Worklist", "New case", "Models"],
    "auditor": ["Models", "Audit"],
    "admin_user": ["Models", "Audit"],
}


def bar(text):
    return re.findall(r'<a href="([^"]+)"(?: aria-current="(\w+)")?>([^<]+)</a>', text.split("</nav>")[0])


@pytest.mark.parametrize("who", SEEN)
def test_the_bar_shows_what_one_may_open_and_where_one_is(client, request, who):
    client.force_login(request.getfixturevalue(who))
    entries = bar(client.get(reverse("portal:models")).content.decode())
    texts = [text for _, _, text in entries]
    assert [text for text in texts if text in SEEN[who]] == SEEN[who]
    assert not {"Worklist", "New case", "Audit"} & set(texts) - set(SEEN[who])
    assert [text for _, current, text in entries if current] == ["Models"]
    assert all(client.get(address).status_code == 200 for address, _, _ in entries)


def test_a_case_belongs_to_the_worklist(client, clinician, case):
    client.force_login(clinician)
    entries = bar(client.get(reverse("portal:case", args=[case.pk])).content.decode())
    assert [(text, current) for _, current, text in entries if current] == [("Worklist", "true")]


def test_every_entry_of_the_bar_has_its_own_view():
    assert len({entry.view for entry in NAVIGATION}) == len(NAVIGATION)


def test_light_and_dark_are_a_choice_of_this_browser(client, clinician):
    client.force_login(clinician)
    models, choose = reverse("portal:models"), reverse("portal:theme")
    assert "data-theme" not in client.get(models).content.decode()
    assert client.post(choose, {"theme": "dark", "next": models}).url == models
    assert '<html lang="en-GB" data-theme="dark">' in client.get(models).content.decode()
    assert client.post(choose, {"theme": "", "next": "https://elsewhere.example/"}).url == reverse("portal:home")
    assert "data-theme" not in client.get(models).content.decode()
    client.cookies["theme"] = '"><script>'
    assert "data-theme" not in client.get(models).content.decode()
