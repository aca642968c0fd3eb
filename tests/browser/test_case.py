"""A case in a real browser: files of any kind dropped together, hundreds at once, resumed and cancelled; the viewer."""

import io
import json
import re
from collections import Counter

import pytest
from django.urls import reverse
from PIL import Image
from playwright.sync_api import expect

from clinic.cases.models import StudyItem
from clinic.review.models import CellReview
from clinic.uploads.models import Upload
from tests.drawn_smears import usual
from tests.factories import ArtefactFactory, CaseFactory
from tests.portal_cases import assess, finding, full_case, image_said, png

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LABS = b"age,WBC_G_L,MCV_fL,Platelets_G_L,LDH_UI_L\n54,18.4,98,32,640\n"
TEAR = """() => {
  const [real, torn] = [window.fetch, [0]];
  window.fetch = (where, said) => {
    if (said?.method !== "PATCH" || torn[0] === 2) return real(where, said);
    window.torn = ++torn[0];
    return Promise.reject(new TypeError("the line was torn"));
  };
}"""
DROP = """([selector, files]) => {
  const data = new DataTransfer();
  for (const [name, text] of files) data.items.add(new File([text], name));
  document.querySelector(selector).dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
}"""


def files(*said):
    return [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in said]


@pytest.fixture
def case(site):
    return CaseFactory(patient__site=site)


@pytest.fixture
def page(visit, clinician, case):
    opened = visit(clinician)
    opened.goto(reverse("portal:case", args=[case.pk]))
    return opened


def test_files_of_any_kind_dropped_together_are_told_apart(page, case):
    page.evaluate(
        DROP,
        ["#upload", [["a.bin", LABS.decode()], ["b.bin", "Tired for three weeks.\nNo fever.\n"], ["c.bin", "1;2\n"]]],
    )
    expect(page.locator(".upload-summary")).to_have_text("3 files: 2 accepted, 1 refused.", timeout=60_000)
    refused = page.locator(".uploads > li.refused")
    expect(refused).to_contain_text("Neither genes nor laboratory values were found")
    assert sorted(case.items.values_list("kind", flat=True)) == ["history", "labs"]
    refused.get_by_label("What c.bin is").select_option("history")
    refused.get_by_role("button", name="Try again").click()
    expect(page.locator(".upload-summary")).to_have_text("3 files: 3 accepted.", timeout=30_000)
    expect(page.locator("#items")).to_contain_text("3 accepted")


def heap():
    """Two hundred files as a folder holds them: fields, panels, letters, and ten that are nothing we read."""
    fields = [(f"{n}.png", png_of(usual(background=(225, 222, 236 - n)))) for n in range(40)]
    panels = [(f"{n}.dat", LABS.replace(b"\n54,", f"\n{18 + n / 2},".encode())) for n in range(75)]
    letters = [(f"{n}", f"Letter number {n}: tired for three weeks, no fever.".encode()) for n in range(75)]
    neither = [(f"{n}.bin", f"1;{n}\n".encode()) for n in range(10)]
    return [*fields, *panels, *letters, *neither]


def png_of(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def test_two_hundred_at_once_each_with_progress_and_its_verdict(page, case):
    sent = heap()
    summary = page.locator(".upload-summary")
    page.locator("input.drop").set_input_files(files(*sent))
    expect(summary).to_contain_text("under way")
    expect(page.locator(".uploads > li")).to_have_count(200)
    expect(page.locator(".uploads progress:visible").first).to_be_visible()
    expect(summary).to_have_text("200 files: 190 accepted, 10 refused.", timeout=150_000)
    assert page.locator(".uploads > li .upload-remedy:visible").count() == 10
    kinds = Counter(case.items.filter(status="valid").values_list("kind", flat=True))
    assert kinds == {"smear_field": 40, "labs": 75, "history": 75}
    refused = page.locator(".uploads > li.refused").first
    refused.get_by_label(re.compile("^What .* is$")).select_option("history")
    refused.get_by_role("button", name="Try again").click()
    expect(summary).to_have_text("200 files: 191 accepted, 9 refused.", timeout=30_000)
    page.locator("input.drop").set_input_files(files(("again.png", sent[7][1]), ("and again", sent[150][1])))
    expect(summary).to_have_text("202 files: 191 accepted, 2 already here, 9 refused.", timeout=30_000)
    assert case.items.count() == 191


def test_the_rest_of_two_hundred_is_cancelled_by_one_button(page, case):
    letters = [(f"{n}.txt", f"Letter number {n} of two hundred.".encode()) for n in range(200)]
    page.locator("input.drop").set_input_files(files(*letters))
    expect(page.locator(".uploads > li[data-state=accepted]").first).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Cancel the rest").click()
    expect(page.locator(".upload-summary")).not_to_contain_text("under way", timeout=30_000)
    counts = {state: page.locator(f".uploads > li[data-state={state}]").count() for state in ("accepted", "cancelled")}
    assert sum(counts.values()) == 200
    assert counts["cancelled"] > 100
    assert case.items.count() <= counts["accepted"] + 3  # what was on its way


def test_a_large_file_goes_on_after_the_line_was_torn(page, case, settings):
    settings.UPLOAD_CHUNK_BYTES = 1000
    page.reload()
    page.evaluate(TEAR)
    page.locator("input.drop").set_input_files(files(("long.txt", b"A letter with many words. " * 200)))
    expect(page.locator(".upload-summary")).to_have_text("1 file: 1 accepted.", timeout=60_000)
    assert page.evaluate("window.torn") == 2
    assert case.items.get().size == 5200
    assert Upload.objects.count() == 1


def test_cancel_stops_a_file_and_leaves_nothing(page, case, settings):
    settings.UPLOAD_CHUNK_BYTES = 1000
    page.reload()
    page.route("**/uploads/*/", lambda route: None if route.request.method == "PATCH" else route.continue_())
    page.locator("input.drop").set_input_files(files(("long.txt", b"A letter with many words. " * 200)))
    expect(page.locator(".uploads .upload-state")).to_have_text("Being sent")
    page.locator(".uploads .upload-cancel").click()
    expect(page.locator(".upload-summary")).to_have_text("1 file: 1 cancelled.")
    assert Upload.objects.get().status == "cancelled"
    assert not StudyItem.objects.exists()


@pytest.fixture
def image(site):
    """A case with an image, its overlay and two cells. Returns (item, finding)."""
    case = full_case(site).analysis.case
    item = case.items.get(kind="smear_field")
    item.summary = {"width": 64, "height": 64, "frames": 1}
    item.save()
    cells = [
        {"id": f"{item.pk}/0:{k}", "field": f"{item.pk}/0", "box": box, "label": "Lymphocyte", "share": 0.8}
        | {"blast": 0.1, "in_scope": 0.9}
        for k, box in enumerate(([4.0, 4.0, 20.0, 20.0], [30.0, 30.0, 50.0, 50.0]), start=1)
    ]
    white = {"cells": cells, "bundle_sha256": "0" * 64, "cut_off": 0, "differential": {"Lymphocyte": 2}}
    explanation = {"images": [image_said(item, "Pre-B")], "white_cells": white | {"blast_share": {"counted": 0}}}
    run = assess(case, [finding("smear_field", "Pre-B", explanation=explanation)]).analysis
    from clinic.cases import files as store

    picture = store.store_bytes(png(90))
    ArtefactFactory(finding=run.findings.get(), kind="grad_cam", name=f"{item.pk}/0", sha256=picture)
    return item, run.findings.get()


def test_the_viewer_by_keyboard_and_a_cell_named_anew(visit, clinician, image):
    item, said = image
    page = visit(clinician)
    page.goto(reverse("portal:viewer", args=[item.pk, 0]))
    stage = page.locator(".stage")
    expect(page.locator(".viewer-tools")).to_be_visible()
    before = stage.get_attribute("viewBox")
    page.locator(".viewer").focus()
    page.keyboard.press("+")
    narrower = stage.get_attribute("viewBox")
    assert float(narrower.split()[2]) < float(before.split()[2])
    page.keyboard.press("ArrowRight")
    assert float(stage.get_attribute("viewBox").split()[0]) > float(narrower.split()[0])
    page.keyboard.press("0")
    assert stage.get_attribute("viewBox") == before
    page.keyboard.press("o")
    assert page.locator(".overlay").evaluate("one => getComputedStyle(one).opacity") == "0"
    page.keyboard.press("]")
    assert "brightness(1.1)" in page.locator(".pictures").evaluate("one => getComputedStyle(one).filter")
    page.keyboard.press("b")
    expect(page.locator(".boxes")).to_have_class("boxes off")
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="Cell 1: Lymphocyte")).to_be_visible()
    page.get_by_label("Name it anew").select_option("")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("heading", name="Cell 1: not named")).to_be_visible()
    assert CellReview.objects.get().finding == said
    page.goto(reverse("portal:case_images", args=[item.case_id]))
    expect(page.get_by_text("1 cell named anew by people.")).to_be_visible()


SIZE = "() => document.documentElement.scrollWidth"
SMALL = {"width": 375, "height": 800}


def test_every_tab_fits_a_small_screen_and_has_one_title(visit, clinician, image):
    item, _ = image
    page = visit(clinician)
    names = ("case", "case_images", "case_expression", "case_labs", "case_history", "case_audit")
    addresses = [reverse(f"portal:{name}", args=[item.case_id]) for name in names]
    for address in [*addresses, reverse("portal:viewer", args=[item.pk, 0])]:
        page.goto(address)
        expect(page.locator("h1")).to_have_count(1)
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids)), json.dumps([one for one in ids if ids.count(one) > 1])
        page.set_viewport_size(SMALL)
        assert page.evaluate(SIZE) <= SMALL["width"], address
        page.set_viewport_size({"width": 1280, "height": 900})
