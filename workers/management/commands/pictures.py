"""The screenshots that the documentation shows, made from the synthetic cases of a running demo."""

import argparse
import io
import shutil
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 375, "height": 760}
SIGNED, URGENT = "SYN-0001", "SYN-0002"
QUALITY = 82  # of WebP: text stays sharp, a page is some tens of kilobytes


class Command(BaseCommand):
    help = "Make the screenshots of the documentation from the demo of `make run`, whose first case is signed for it."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="the running server")
        parser.add_argument("--out", type=Path, default=settings.BASE_DIR / "docs" / "pictures")

    def handle(self, *, url: str, out: Path, **said: Any) -> None:
        try:
            from playwright.sync_api import sync_playwright  # noqa: PLC0415 (a development dependency)
        except ImportError as error:
            raise CommandError("Playwright is not installed: it comes with the development dependencies.") from error
        executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
        if executable is None:
            raise CommandError(f"No browser: none of {', '.join(BROWSERS)} is on the path.")
        out.mkdir(parents=True, exist_ok=True)
        password = (settings.HOME / "demo_password").read_text()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=["--headless", "--no-sandbox"])
            for name, picture in Walk(browser, url, password).pictures():
                path = out / f"{name}.webp"
                Image.open(io.BytesIO(picture)).convert("RGB").save(path, "WEBP", quality=QUALITY, method=6)
                self.stdout.write(f"{path} {path.stat().st_size // 1000} kB")
            browser.close()


def _all_there(answer: Any) -> None:
    """A page without its style or its pictures is none to be shown."""
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise CommandError(f"{answer.url} answered {answer.status}.")


class Walk:
    """Through the portal as the demo's clinician, and as its administrator."""

    def __init__(self, browser: Any, url: str, password: str) -> None:
        self.browser, self.url, self.password = browser, url, password

    def pictures(self) -> Any:
        """(name, PNG) of each page."""
        page = self._signed_in("demo")
        for name, show in self._clinician().items():
            show(page)
            yield name, self._shot(page)
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        self._case(page, URGENT)
        yield "phone", self._shot(page)
        page = self._signed_in("demo-admin")
        page.goto("/audit/")
        yield "audit", self._shot(page)

    def _clinician(self) -> dict[str, Callable[[Any], None]]:
        return {
            "worklist": lambda page: page.goto("/worklist/"),
            "case": lambda page: self._case(page, URGENT),
            "evidence": lambda page: self._at(page, "[aria-labelledby=evidence]"),
            "images": self._images,
            "viewer": self._viewer,
            "expression": lambda page: self._tab(page, SIGNED, "Expression"),
            "labs": lambda page: self._tab(page, URGENT, "Labs"),
            "report": self._report,
        }

    def _signed_in(self, user: str) -> Any:
        context = self.browser.new_context(base_url=self.url, viewport=DESK, reduced_motion="reduce")
        page = context.new_page()
        page.on("response", _all_there)
        page.goto("/login/")
        page.get_by_label("Username").fill(user)
        page.get_by_label("Password").fill(self.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/login/" not in url)
        return page

    def _case(self, page: Any, mrn: str) -> None:
        page.goto(f"/worklist/?view=all&q={mrn}")
        if not page.locator("[data-case]").count():
            raise CommandError(f"The demo's case {mrn} is not there: run `manage.py demo` first.")
        page.locator("[data-case]").first.click()
        page.wait_for_load_state()

    def _tab(self, page: Any, mrn: str, name: str) -> None:
        self._case(page, mrn)
        page.get_by_role("navigation", name="This case").get_by_role("link", name=name).click()
        page.wait_for_load_state()

    def _images(self, page: Any) -> None:
        self._tab(page, SIGNED, "Images")
        self._at(page, "[aria-labelledby=gallery]")

    def _viewer(self, page: Any) -> None:
        self._tab(page, SIGNED, "Images")
        page.locator("[aria-labelledby=cells] .tile").first.click()
        page.wait_for_load_state()
        self._at(page, ".viewer")

    def _report(self, page: Any) -> None:
        self._case(page, SIGNED)
        if page.get_by_role("button", name="Draft the report").count():
            page.get_by_role("button", name="Draft the report").click()
            page.locator("input[type=password]").fill(self.password)
            page.get_by_role("button", name="I agree").click()
            page.wait_for_load_state()
        else:
            page.locator("a[href^='/reports/']").first.click()
        page.goto(page.url.partition("#")[0])

    @staticmethod
    def _at(page: Any, selector: str) -> None:
        page.locator(selector).first.evaluate("one => scrollTo(0, one.getBoundingClientRect().top + scrollY - 16)")

    @staticmethod
    def _shot(page: Any) -> bytes:
        page.wait_for_load_state("networkidle")
        page.wait_for_function("[...document.images].every(one => one.loading === 'lazy' || one.complete)")
        picture: bytes = page.screenshot()
        return picture
