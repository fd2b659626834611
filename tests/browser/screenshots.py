"""The pictures of the documentation, taken of a site that shows the demonstration:

./run demo && ./run
.venv/bin/python -m tests.browser.screenshots http://localhost:5000 EMAIL PASSWORD
"""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
PAGES = {"dashboard": "/dashboard", "users": "/admin/users", "api": "/api/docs"}


def sign_in(page: Page, site: str, email: str, password: str) -> None:
    """Through the form."""
    page.goto(f"{site}/auth/login")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{site}/dashboard")


def main(site: str, email: str, password: str) -> None:
    """Take each picture, 1280 by 800, in the light scheme."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        sign_in(page, site.rstrip("/"), email, password)
        for name, address in PAGES.items():
            page.goto(site.rstrip("/") + address)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=IMAGES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
