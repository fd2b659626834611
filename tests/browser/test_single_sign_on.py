"""Signing in with an issuer in Chromium, with and without JavaScript."""

import pytest
from playwright.sync_api import Page, expect

from services import issuer_service
from tests.browser.conftest import Site
from tests.issuer import CLIENT_ID, CLIENT_SECRET, running


def test_there_and_back(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as (issuer, _):
        settings = {
            "OIDC_ISSUER": issuer.url,
            "OIDC_NAME": "Auth0",
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
        }
        for name, value in settings.items():
            monkeypatch.setitem(site.app.config, name, value)
        monkeypatch.setitem(site.app.extensions, "issuer", None)
        issuer_service.init_app(site.app)
        page.goto("/auth/login?next=/account/connected")
        page.get_by_role("link", name="Continue with Auth0").click()
        expect(page.get_by_role("heading", name="Connected accounts", exact=True)).to_be_visible()
        expect(page.get_by_role("main").get_by_text("alice@example.com").first).to_be_visible()
        page.get_by_role("button", name="Connect Auth0").click()
        expect(page.get_by_text("It is connected.")).to_be_visible()
