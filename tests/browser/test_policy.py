"""The pages' policy in a browser: what it shuts out, and that nothing of ours runs into it."""

import re

from playwright.sync_api import Browser, Error, Page, expect

from tests.browser.conftest import NewContext, Site

SINKS = {
    "HTML as text": "document.createElement('div').innerHTML = '<b>x</b>'",
    "HTML written": "document.write('<b>x</b>')",
    "a script's text": "document.createElement('script').text = '1'",
    "a script's address": "document.createElement('script').src = '/static/js/passkeys.js'",
    "a policy of its own": "trustedTypes.createPolicy('mine', { createHTML: (html) => html })",
}
#: Swagger UI may write HTML; nothing makes a script of it.
OF_THE_READER = {"HTML as text", "HTML written"}


def shut(page: Page) -> set[str]:
    """The sinks that the page's policy refuses."""
    refused = set()
    for name, script in SINKS.items():
        try:
            page.evaluate(f"() => {{ {script} }}")
        except Error as error:
            if not re.search("TrustedHTML|TrustedScript|createPolicy", error.message):
                raise
            refused.add(name)
    return refused


def test_no_text_becomes_a_script(chromium: Browser, site: Site) -> None:
    """In a profile of its own: what the browser complains about here is meant."""
    with chromium.new_context(base_url=site.url) as context:
        page = context.new_page()
        for path in ("/", "/auth/login", "/auth/register", "/nowhere", "/dev/mail"):
            page.goto(path)
            assert shut(page) == set(SINKS), path
        page.goto("/api/docs")
        expect(page.locator(".opblock").first).to_be_visible()
        assert shut(page) == set(SINKS) - OF_THE_READER


def test_the_reader_of_the_api_works_within_its_policy(new_context: NewContext) -> None:
    page = new_context().new_page()
    page.goto("/api/docs")
    operations = page.locator(".opblock")
    expect(operations.first).to_be_visible()
    for operation in operations.all()[:8]:
        operation.locator(".opblock-summary-control").click()
        expect(operation.locator(".opblock-body")).to_be_visible()
        operation.locator(".opblock-summary-control").click()
    page.get_by_role("button", name="Authorize").first.click()
    expect(page.get_by_role("heading", name="Available authorizations")).to_be_visible()
    page.get_by_role("button", name="Close").first.click()
    status = page.locator("#operations-System-read_status, [id*=read_status]").first
    status.locator(".opblock-summary-control").click()
    status.get_by_role("button", name="Try it out").click()
    status.get_by_role("button", name="Execute").click()
    expect(status.locator(".responses-table.live-responses-table .response-col_status").last).to_contain_text(
        "200"
    )
