"""Cheap requests that would fill tables and mailboxes: what one account can leave behind has an end."""

import pytest
from flask import Flask

from services import known_device_service
from tests.clients import PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import is_signed_in
from tests.integration.security.not_me import one

AGAIN = 13


def test_signing_in_again_and_again_without_a_cookie_floods_no_mailbox(app: Flask, alice: Person) -> None:
    for _ in range(AGAIN):
        assert is_signed_in(signed_in_anew(app, alice))
    mails = one(app, "SELECT count(*) FROM outbox WHERE kind = 'new_device'")
    assert mails == 10
    recorded = one(app, "SELECT count(*) FROM audit_events WHERE action = 'account:device:new'")
    assert recorded == AGAIN - 1


def test_an_account_knows_so_many_devices_and_forgets_the_one_used_least_lately(
    app: Flask, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_device_service, "MOST", 3)
    signed_in_anew(app, bob)
    first = one(app, "SELECT id FROM known_devices")
    for _ in range(5):
        signed_in_anew(app, alice)
    assert one(app, "SELECT count(*) FROM known_devices WHERE user_id = :id", id=alice.id) == 3
    assert one(app, "SELECT min(id) FROM known_devices WHERE user_id = :id", id=alice.id) == first + 3
    assert one(app, "SELECT count(*) FROM known_devices WHERE user_id = :id", id=bob.id) == 1


def signed_in_anew(app: Flask, person: Person) -> PageClient:
    """A browser that nobody has seen before."""
    client = browser(app)
    client.sign_in(person)
    return client
