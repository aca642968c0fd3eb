"""axe-core on every page, in light and dark, on a desk and at 375 pixels: no violation of any weight.

The pages are read off the table of permissions, which names every endpoint: a new page is tried here by itself.
"""

import json
from pathlib import Path

import axe_playwright_python
import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.urls import reverse

from tests.clinic.accounts.test_second_factor import SecurityKey
from tests.factories import PASSWORD, UserFactory, member
from tests.security.matrix import USERS, World, rows

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
DESK, SMALL = {"width": 1280, "height": 900}, {"width": 375, "height": 800}
SEEN = [("light", DESK), ("dark", DESK), ("dark", SMALL), ("light", SMALL)]
OF_LOOKS = ["color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block"]
RUN = """async rules => {
  document.querySelectorAll("details:not(.menu)").forEach(one => one.open = true);
  const said = rules ? {runOnly: rules} : {};
  const {violations} = await axe.run(document, {...said, resultTypes: ["violations"]});
  const nodes = one => one.nodes.map(node => node.html.slice(0, 160)).join(" | ");
  return violations.map(one => `${one.impact} ${one.id}: ${nodes(one)}`);
}"""
NO_PAGES = {  # what answers a script, or is a file
    "portal:home",  # leads on
    "portal:worklist_pulse",
    "portal:case_pulse",
    "portal:report_pdf",
    "portal:item_file",
    "portal:item_frame",
    "portal:artefact",
    "portal:audit_export",
    "notices:pulse",
    "notices:open",  # leads on
    "uploads:uploads",
    "uploads:pulse",
    "uploads:upload",
    "mfa_download_recovery_codes",
    "mfa_authenticate",  # leads on: our own login asks for the code
    "/healthz",
}
WITH_FACTOR = {  # pages that need what most people in the table lack
    "mfa_reauthenticate",
    "mfa_deactivate_totp",
    "mfa_view_recovery_codes",
    "mfa_generate_recovery_codes",
    "mfa_remove_webauthn",
    "mfa_edit_webauthn",
    "mfa_reauthenticate_webauthn",
}
BEFORE_A_FACTOR = {"mfa_activate_totp", "mfa_add_webauthn"}  # after signing in, so that nothing is asked again
REFUSALS = {"socialaccount_login_error": 401}


def wanted_pages():
    """Row → the kind of person who opens it."""
    pages = [row for row in rows() if row.method == "GET" and not row.tokens and row.route not in NO_PAGES]
    return {row.route: (row, _opener(row)) for row in pages}


def _opener(row):
    if row.route in WITH_FACTOR:
        return "with a second factor"
    if row.route in BEFORE_A_FACTOR:
        return "clinician"
    may = [name for name, status in row.answers.items() if status == 200]
    return next((name for name in ("nobody", "clinician", "admin", *may) if name in may), None)


def key_of(user):
    credential = json.loads(SecurityKey().register({"publicKey": {"challenge": "b25jZQ"}}))
    return Authenticator.objects.create(user=user, type="webauthn", data={"name": "My key", "credential": credential})


@pytest.fixture
def world(site, other_site):
    return World(site, other_site)


def violations(page, name):
    """What axe finds, as "page, look: finding"; every rule once in each width, what depends on colours in all."""
    page.evaluate(AXE)
    for scheme, size in SEEN:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(size)
        every = (scheme == "light") == (size == DESK)
        for found in page.evaluate(RUN, None if every else OF_LOOKS):
            yield f"{name}, {scheme}, {size['width']}: {found}"


def test_no_page_has_a_violation(visit, world):
    pages, open_as, found = wanted_pages(), {}, []
    assert [route for route, (_, opener) in pages.items() if opener is None and route not in REFUSALS] == []
    for route, (row, opener) in sorted(pages.items(), key=lambda pair: pair[1][1] == "with a second factor"):
        if opener is None:
            continue
        if opener not in open_as:
            open_as[opener] = open_page(visit, world, opener)
        page, user = open_as[opener]
        url = row.url(world) if "webauthn" not in route or not row.objects else reverse(route, args=[key_of(user).pk])
        answer = page.goto(url)
        assert answer.status == 200, f"{route} {answer.status}"
        assert page.url.endswith(url.partition("?")[0]), f"{route} led to {page.url}"
        assert page.locator("h1").count() == 1, route
        found += violations(page, route)
        wide = page.evaluate("document.documentElement.scrollWidth")
        found += [f"{route}: {wide} pixels wide on a small screen"] * (wide > SMALL["width"])
    assert found == [], json.dumps(found, indent=1)


def open_page(visit, world, opener):
    """A page signed in as that kind of person. Factors are added after signing in: this session need not show them."""
    if opener == "nobody":
        return visit(), None
    user = member(world.site, "clinician") if opener not in USERS else USERS[opener](world)
    page = visit(user)
    page.goto(reverse("account_reauthenticate"))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url(lambda url: "/confirm/" not in url)
    if opener == "with a second factor":
        TOTP.activate(user, "JBSWY3DPEHPK3PXP")
        RecoveryCodes.activate(user)
        key_of(user)
    return page, user


def test_refusals_have_no_violation_either(browser, live_server, client):
    client.force_login(UserFactory())
    context = browser.new_context(base_url=live_server.url)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page, found = context.new_page(), []
    for address, status in (("/nowhere/", 404), ("/audit/", 403), (reverse("socialaccount_login_error"), 401)):
        assert page.goto(address).status == status
        found += violations(page, address)
    context.close()
    assert found == [], json.dumps(found, indent=1)
