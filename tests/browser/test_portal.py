"""The whole job as a person does it, and what holds on every page: keyboard, small screens, dark mode, contrast."""

import re

import pytest
from django.conf import settings
from django.urls import reverse
from playwright.sync_api import expect

from clinic.audit.models import Action, AuditEvent
from clinic.audit.verification import verify
from clinic.cases.models import AnalysisStatus, Case, SignOff, StudyItem
from clinic.cases.reports import draft_report
from clinic.registry.services import sync_bundles
from tests.factories import PASSWORD, AnalysisFactory, CaseFactory, ItemFactory
from tests.portal_cases import assess, finding, full_case, fused_case

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SMALL = {"width": 375, "height": 800}


def upload(page, kind, *files, scripts=True):
    """Choose files and wait until each has its verdict; ``kind`` "" leaves it to the content."""
    if kind:
        page.get_by_text("Say what they are").click()
        page.get_by_label("Kind").select_option(kind)
    page.locator("input.drop").set_input_files(
        [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files]
    )
    if not scripts:
        page.get_by_role("button", name="Add", exact=True).click()
        return
    expect(page.locator(".upload-announce")).to_contain_text(f"{len(files)} file", timeout=60_000)


def new_case(page, name="Nora Newcomer"):
    page.get_by_role("link", name="New case").first.click()
    page.get_by_label("Medical record number").fill("B-42")
    page.get_by_label("Full name").fill(name)
    page.get_by_label("Birth date").fill("2018-04-02")
    page.get_by_label("Synthetic").check()
    page.get_by_label("What is asked").fill("Blasts?")
    page.get_by_role("button", name="Register and open the case").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def sign_report(page):
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="I agree").click()
    expect(page.get_by_role("heading", name="Signature")).to_be_visible()


def test_from_login_to_signature_and_audit(visit, clinician, auditor):
    page = visit(clinician)
    new_case(page)
    upload(page, "smear_field", ("holiday.png", b"not an image"), ("empty.png", b""))
    row = page.locator(".uploads > li")
    expect(row.filter(has_text="empty.png").get_by_text("The file is empty.")).to_be_visible()
    expect(row.filter(has_text="holiday.png").get_by_text("What to do:")).to_be_visible()
    assert StudyItem.objects.get().status == "rejected"
    page.reload()
    upload(page, "", ("letter.txt", "Müde seit drei Wochen.".encode()))
    expect(page.locator("#items").get_by_text("1 accepted")).to_be_visible()
    expect(page.get_by_role("button", name="Analyse")).to_have_count(0)

    case = Case.objects.get()
    findings = [finding("expression", "B-ALL", 0.99), finding("labs", "ALL", 0.9)]
    assess(case, findings)
    page.reload()
    expect(page.locator(".answer")).to_contain_text("B-ALL")
    page.get_by_role("button", name="Draft the report").click()
    sign_report(page)
    assert SignOff.objects.get().by == clinician

    page = visit(auditor)
    table = page.get_by_role("region", name="Table of events")
    for action in (Action.PATIENT_CREATE, Action.ITEM_REJECT, Action.CASE_READ, Action.REPORT_SIGN):
        expect(table.get_by_text(action.value, exact=True).first).to_be_visible()
    expect(page.get_by_text("The chain is whole")).to_be_visible()
    page.get_by_label("What").select_option("report.sign")
    page.get_by_role("button", name="Show").click()
    expect(table.get_by_role("row")).to_have_count(2)
    assert verify().ok


def shipped(*names):
    return all(any((root / name).is_dir() for root in settings.BUNDLE_ROOTS) for name in names)


@pytest.mark.skipif(not shipped("labs", "fusion"), reason="the bundles labs and fusion are not there")
def test_a_real_analysis_by_the_shipped_models(visit, clinician):
    sync_bundles()
    page = visit(clinician)
    new_case(page)
    head = "age,MCV_fL,MCHC_g_L,Platelets_G_L,WBC_G_L,ANC_G_L,Monocytes_G_L,PT_percent,Fibrinogen_g_L,LDH_UI_L"
    upload(page, "labs", ("labs.csv", f"{head}\n54,98,335,32,18.4,1.2,2.8,72,3.4,640\n".encode()))
    page.get_by_role("button", name="Analyse").click()
    expect(page.locator("#answer")).to_be_visible(timeout=120_000)
    expect(page.locator("#present")).to_contain_text("Laboratory values")
    page.get_by_role("button", name="Draft the report").click()
    sign_report(page)


def test_the_status_moves_without_a_reload_and_stops_when_the_run_ends(visit, clinician, site):
    run = AnalysisFactory(
        case=CaseFactory(patient__site=site), status=AnalysisStatus.QUEUED, finished_at=None, stage=""
    )
    page = visit(clinician)
    page.goto(reverse("portal:case", args=[run.case_id]))
    page.evaluate("window.untouched = true")
    expect(page.get_by_text("Next in line.")).to_be_visible()
    rows = type(run).objects.filter(pk=run.pk)
    rows.update(status="running", stage="labs: reading", done=1, total=4, lease_until="2100-01-01T00:00Z")
    expect(page.locator("#live")).to_contain_text("Laboratory values: reading")
    rows.update(stage="labs: explaining", done=3)
    expect(page.get_by_text("(3 of 4)")).to_be_visible()
    expect(page.locator("#announce")).to_have_text("Laboratory values: explaining")
    rows.update(
        status="failed",
        failure_code="time_limit",
        failure_message="It took too long.",
        finished_at=run.requested_at,
        lease_until=None,
    )
    expect(page.get_by_text("It took too long.")).to_be_visible()
    assert page.evaluate("window.untouched")
    polls = []
    page.on("request", lambda asked: polls.append(asked.url))
    page.wait_for_timeout(2500)
    assert polls == []
    assert AuditEvent.objects.filter(action=Action.CASE_READ).count() == 2


def test_the_worklist_shows_a_new_case_by_itself(visit, clinician, site):
    page = visit(clinician)
    expect(page.get_by_text("Nothing to do.")).to_be_visible()
    CaseFactory(patient__site=site, patient__name="Just Arrived")
    expect(page.get_by_role("link", name="Just Arrived", exact=True)).to_be_visible()


def test_pictures_come_from_the_audited_view(visit, clinician, site):
    case = full_case(site).analysis.case
    page = visit(clinician)
    page.goto(reverse("portal:case_images", args=[case.pk]))
    pictures = page.locator(".gallery img")
    expect(pictures).to_have_count(2)
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") == 64
    with page.expect_response("**/artefacts/*/") as overlay:
        page.goto(reverse("portal:viewer", args=[case.items.get(kind="smear_field").pk, 0]))
    assert overlay.value.ok
    assert AuditEvent.objects.filter(action=Action.ARTEFACT_READ).count() == 1


def test_login_and_menu_by_keyboard_alone(visit, clinician):
    page = visit()
    page.goto("/login/")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(clinician.username)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Worklist")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.locator("summary").filter(has_text=clinician.display_name).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out")).not_to_be_visible()


def test_the_pages_work_without_scripts(visit, clinician):
    page = visit(clinician, java_script_enabled=False)
    new_case(page)
    upload(page, "history", ("letter.txt", b"Tired."), scripts=False)
    expect(page.locator("#items").get_by_text("1 accepted")).to_be_visible()


@pytest.fixture
def every_page(site, clinician):
    """Name → (role, address), with something on each."""
    said = full_case(site)
    report = draft_report(assessment=said, by=clinician)
    urgent = fused_case(site, [finding("expression", "T-ALL", 0.99), finding("labs", "APL", 0.99)])
    refusal = {"code": "truncated", "place": f"{'long' * 30}.png", "problem": "It ends early.", "remedy": "Again."}
    ItemFactory(
        case=urgent.analysis.case, status="rejected", rejection=refusal, filename=f"{'long' * 30}.png", content=b"x"
    )
    return {
        "login": (None, "/login/"),
        "worklist": ("clinician", reverse("portal:worklist")),
        "new_case": ("clinician", reverse("portal:new_case") + "?q=a"),
        "case": ("clinician", reverse("portal:case", args=[said.analysis.case_id])),
        "urgent": ("clinician", reverse("portal:case", args=[urgent.analysis.case_id])),
        "report": ("clinician", reverse("portal:report", args=[report.pk])),
        "models": ("clinician", reverse("portal:models")),
        "audit": ("auditor", reverse("portal:audit")),
    }


CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("option, .visually-hidden, :disabled")) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName} ${element.className} ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
}"""
FIELDS = "input:not([type=hidden]), select, textarea, button, a, meter, progress, img"
UNNAMED = """fields => [...document.querySelectorAll(fields)].filter(one => one.checkVisibility()
  && !one.labels?.length && !one.textContent.trim() && !one.ariaLabel && one.alt === undefined)
  .map(one => one.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_in_light_and_dark_and_small(visit, request, every_page, tmp_path, scheme):
    pages = {None: visit(color_scheme=scheme)}
    for name, (role, address) in every_page.items():
        if role not in pages:
            request.getfixturevalue(role)
            pages[role] = visit(request.getfixturevalue(role), color_scheme=scheme)
        page = pages[role]
        page.goto(address)
        expect(page.locator("h1")).to_have_count(1)
        expect(page.get_by_text("Decision support. A clinician reviews and signs.").last).to_be_visible()
        assert page.evaluate(CONTRAST) == [], name
        assert page.evaluate(UNNAMED, FIELDS) == [], name
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids)), name
        page.set_viewport_size(SMALL)
        assert page.evaluate("document.documentElement.scrollWidth") <= SMALL["width"], name
        page.set_viewport_size({"width": 1280, "height": 900})
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", dark)[:3])) < 150) == (scheme == "dark")


def test_a_report_prints_on_white_without_forms(visit, clinician, every_page, tmp_path):
    page = visit(clinician, color_scheme="dark")
    page.goto(every_page["report"][1])
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.get_by_role("button", name="I agree")).not_to_be_visible()
    expect(page.get_by_text("Limits and intended use")).to_be_visible()
    assert page.evaluate(CONTRAST) == []


def test_a_missing_page_is_a_page(browser, live_server, clinician, client):
    client.force_login(clinician)
    context = browser.new_context(base_url=live_server.url)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    assert page.goto("/cases/00000000-0000-0000-0000-000000000000/").status == 404
    expect(page.get_by_role("heading", name="Nothing here for you")).to_be_visible()
    assert page.goto("/audit/").status == 403
    expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
    context.close()
