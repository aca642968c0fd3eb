"""The worklist by keyboard alone, the bell, terms and the choice of light or dark."""

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from clinic.notices.models import Notice
from tests.factories import CaseFactory, NoticeFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def three(site):
    return [CaseFactory(patient__site=site, patient__name=name) for name in ("First", "Second", "Third")]


def test_j_k_enter_slash_and_question_mark(visit, clinician, three):
    page = visit(clinician)
    for key, name in (("j", "First"), ("j", "Second"), ("j", "Third"), ("j", "Third"), ("k", "Second")):
        page.keyboard.press(key)
        expect(page.get_by_role("link", name=name, exact=True)).to_be_focused()
    page.keyboard.press("/")
    search = page.get_by_label("Name, record or accession number")
    expect(search).to_be_focused()
    page.keyboard.type("jk?")
    expect(search).to_have_value("jk?")
    search.fill("third")
    page.keyboard.press("Enter")
    expect(page.locator("[data-case]")).to_have_text(["Third"])
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.get_by_label("Single keys act on this browser").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="Third", exact=True)).not_to_be_focused()
    page.keyboard.press("?")
    page.get_by_label("Single keys act on this browser").check()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Third")).to_be_visible()


def test_a_new_case_comes_by_itself_and_the_focus_stays(visit, clinician, three, site):
    page = visit(clinician)
    page.keyboard.press("j")
    page.keyboard.press("j")
    CaseFactory(patient__site=site, patient__name="Fourth")
    expect(page.get_by_role("link", name="Fourth", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Second", exact=True)).to_be_focused()
    expect(page.get_by_role("navigation", name="Lists").get_by_role("link", name="To do 4")).to_be_visible()


def test_an_urgent_notice_turns_the_bell_and_leads_to_the_case(visit, clinician, three):
    NoticeFactory(case=three[0], recipient=clinician, kind="urgent")
    page = visit(clinician)
    page.get_by_role("link", name="1 urgent").click()
    page.get_by_role("link", name="First").click()
    expect(page.get_by_role("heading", name="First")).to_be_visible()
    assert not Notice.objects.filter(read_at__isnull=True).exists()
    expect(page.locator("#bell .count")).to_have_count(0)


def test_a_term_is_explained_on_focus_and_hidden_by_escape(visit, clinician, three):
    page = visit(clinician)
    page.get_by_role("link", name="discordance").focus()
    bubble = page.get_by_text("Two kinds of result contradict each other")
    expect(bubble).to_be_visible()
    page.keyboard.press("Escape")
    expect(bubble).not_to_be_visible()


def test_dark_is_chosen_and_stays(visit, clinician, three):
    page = visit(clinician, color_scheme="light")
    page.locator("details.menu > summary", has_text=clinician.display_name).click()
    page.get_by_role("button", name="Dark").click()
    page.goto(reverse("portal:help"))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 28)"
