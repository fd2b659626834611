"""The product in a real browser: a live server on a database of its own, and Chromium.

Chromium is taken from CHROMIUM, from /usr/bin, or from what `playwright install chromium` fetched.
"""

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, sync_playwright
from werkzeug.serving import make_server

from app import create_app
from localdb.testing import Databases
from tests.conftest import POOL, dispose
from tests.factories import Person, make_person

WIDE = {"width": 1280, "height": 800}
INSTALLED = Path("/usr/bin/chromium")

NewContext = Callable[..., BrowserContext]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a browser test."""
    here = Path(__file__).parent
    # Werkzeug's server leaves a static file open when the browser hangs up while it reads the rest of a request.
    hang_up = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
            item.add_marker(hang_up)


@dataclass(frozen=True)
class Site:
    """The product as it runs: its address, and the app to arrange things in."""

    url: str
    app: Flask

    def person(self, name: str, **columns: object) -> Person:
        """Somebody with an account."""
        return make_person(self.app, name, **columns)


@contextmanager
def serve(databases: Databases) -> Iterator[Site]:
    """A live server. Without limits: a minute of tests holds more sign-ins than a day of anybody's."""
    with (
        databases.fresh_database("browser") as database_url,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        url = f"http://localhost:{taken.getsockname()[1]}"  # by its name: passkeys want one
        app = create_app("testing", DATABASE_URL=database_url, BASE_URL=url, RATELIMIT_ENABLED=False, **POOL)
        server = make_server("127.0.0.1", 0, app, threaded=True, fd=taken.fileno())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(url, app)
        server.shutdown()
        thread.join(timeout=10)
        dispose(app)


@pytest.fixture(scope="session")
def site(test_databases: Databases) -> Iterator[Site]:
    """The server that the tests share, each with people of its own."""
    with serve(test_databases) as started:
        yield started


@pytest.fixture
def new_site(test_databases: Databases) -> Iterator[Site]:
    """A server that has nobody yet."""
    with serve(test_databases) as started:
        yield started


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright itself."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Chromium without a window."""
    path = os.environ.get("CHROMIUM") or (str(INSTALLED) if INSTALLED.exists() else None)
    try:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    except Error as error:
        pytest.skip(f"Chromium is not installed: {str(error).splitlines()[0]}")
    yield browser
    browser.close()


@pytest.fixture
def new_context(chromium: Browser, site: Site) -> Iterator[NewContext]:
    """Makes browser profiles; what any of their pages complains about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(**options: Any) -> BrowserContext:
        context = chromium.new_context(**{"base_url": site.url, "viewport": WIDE, **options})
        context.set_default_timeout(10_000)
        context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert not [text for text in complaints if not re.search(r"status of 4\d\d", text)]


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def page(request: pytest.FixtureRequest, new_context: NewContext) -> Page:
    """A page of a fresh profile: once with JavaScript, once without."""
    return new_context(java_script_enabled=request.param).new_page()
