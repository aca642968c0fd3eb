"""Held results and webhooks, by a real browser: a value is placed, a dead letter is sent again."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from clinic.interop.results.models import HeldResult
from clinic.interop.webhooks.models import Delivery
from tests.clinic.interop.conftest import delivery, held
from tests.factories import PatientFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def sound(page):
    found = Axe().run(page).response["violations"]
    assert found == [], found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_held_result_is_placed(visit, clinician, site, scheme):
    PatientFactory(site=site, mrn="M1")
    held(site)
    page = visit(clinician, color_scheme=scheme)
    page.get_by_role("link", name="Held results").click()
    sound(page)
    page.get_by_role("link", name="Leukos").click()
    sound(page)
    page.get_by_label("What it is").select_option("6690-2")
    page.get_by_label("Record number of the patient").fill("M1")
    page.get_by_role("button", name="Take the value").click()
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    assert HeldResult.objects.get().status == "taken"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_dead_letter_is_sent_again(visit, admin_user, site, scheme):
    delivery(site)
    page = visit(admin_user, color_scheme=scheme)
    page.get_by_role("link", name="Webhooks").click()
    sound(page)
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("No dead letters.")).to_be_visible()
    assert Delivery.objects.get().status == "waiting"
