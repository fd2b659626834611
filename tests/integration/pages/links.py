"""What the tests of mailed links share: the pages that take one, and how one is used."""

import threading
from collections.abc import Callable, Sequence

from flask import Flask

from tests.clients import PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import NEW_PASSWORD

NEW_ADDRESS = "alice.new@example.com"
#: Page → how its token is made for somebody, and what its button sends beside the token.
PAGES: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "/auth/verify-email": ("verification", (), {"name": "Alice Lindqvist", "password": NEW_PASSWORD}),
    "/auth/reset-password": ("reset", (), {"password": NEW_PASSWORD}),
    "/auth/confirm-email": ("email_change", (NEW_ADDRESS,), {}),
    "/auth/invitation": ("invitation", (), {"password": NEW_PASSWORD}),
    "/auth/not-me": ("not_me", (NEW_ADDRESS,), {}),
}
#: These are for somebody who is signed in to the account.
SIGNED_IN = frozenset({"/auth/confirm-email"})
Make = Callable[[str, Person], str]


def use(client: PageClient, page: str, token: str) -> int:
    """Send the page's form with this token."""
    csrf = client.token("/auth/login")
    return client.post(page, data={"csrf_token": csrf, "token": token, **PAGES[page][2]}).status_code


def at_once(app: Flask, page: str, *bodies: dict[str, str], people: Sequence[Person] = ()) -> list[int]:
    """Two browsers send at the same moment, the same or each its own; the sorted statuses.

    `people` are signed in in them, one in both or each in one.
    """
    ready, told = threading.Barrier(2), []
    clients = [browser(app), browser(app)]
    for client, person in zip(clients, [*people, *people], strict=False):
        assert client.sign_in(person).status_code == 303

    def send(client: PageClient, body: dict[str, str]) -> None:
        ready.wait(timeout=10)
        told.append(client.post(page, json=body).status_code)

    pairs = zip(clients, [*bodies, *bodies], strict=False)
    threads = [threading.Thread(target=send, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return sorted(told)
