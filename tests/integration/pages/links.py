"""What the tests of mailed links share: the pages that take one, and how one is used."""

import threading
from collections.abc import Callable

from flask import Flask

from tests.clients import PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import NEW_PASSWORD

NEW_ADDRESS = "alice.new@example.com"
#: Page → how its token is made for somebody, and what its button sends beside the token.
PAGES: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "/auth/verify-email": ("verification", (), {}),
    "/auth/reset-password": ("reset", (), {"password": NEW_PASSWORD}),
    "/auth/confirm-email": ("email_change", (NEW_ADDRESS,), {}),
    "/auth/invitation": ("invitation", (), {"password": NEW_PASSWORD}),
    "/auth/not-me": ("not_me", (NEW_ADDRESS,), {}),
}
Make = Callable[[str, Person], str]


def use(client: PageClient, page: str, token: str) -> int:
    """Send the page's form with this token."""
    csrf = client.token("/auth/login")
    return client.post(page, data={"csrf_token": csrf, "token": token, **PAGES[page][2]}).status_code


def at_once(app: Flask, page: str, *bodies: dict[str, str]) -> list[int]:
    """Two programs send at the same moment, the same or each its own; the sorted statuses."""
    ready, told = threading.Barrier(2), []

    def send(body: dict[str, str]) -> None:
        client = browser(app)
        ready.wait(timeout=10)
        told.append(client.post(page, json=body).status_code)

    threads = [threading.Thread(target=send, args=(body,)) for body in (bodies * 2)[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return sorted(told)
