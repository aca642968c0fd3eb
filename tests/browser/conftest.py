"""A real browser on a real server, watched on every page: no console error, no blocked request, no foreign one."""

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.factories import PASSWORD

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's loop runs in this thread; our queries are not in it
    expect.set_options(timeout=20_000)  # what comes by itself is polled for, and two cores may be busy
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield opened
        opened.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def _console(said):
    return f"{said.text} ({said.location.get('url', '')})"


@pytest.fixture
def visit(browser, live_server):
    """``visit(user=None, **context)`` is a new page, signed in as ``user``; what it should not do fails the test."""
    contexts, faults = [], []

    def watch(page):
        page.on("console", lambda said: said.type in ("error", "warning") and faults.append(_console(said)))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(live_server.url) or faults.append(asked.url))

    def open_page(user=None, **said):
        context = browser.new_context(
            **{"base_url": live_server.url, "viewport": {"width": 1280, "height": 900}, **said}
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        if user:
            page.goto("/login/")
            page.get_by_label("Username").fill(user.username)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(lambda url: "/login/" not in url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
