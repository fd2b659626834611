"""API keys on their page."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.clients import Api
from tests.factories import Person


@pytest.fixture
def browser(app: Flask, ada: Person) -> Any:
    """Ada's browser."""
    client: Any = app.test_client()
    client.sign_in(ada)
    return client


def test_a_key_is_shown_once_and_works(app: Flask, browser: Any) -> None:
    page = browser.submit(
        "/account/api-keys", name="Nightly backup", scopes=["users:read", "audit:read"], expires_in_days="30"
    ).get_data(as_text=True)
    key = page.split('<code class="secret">')[1].split("<")[0]
    assert Api(app, key).get("/users").status_code == 200
    assert Api(app, key).get("/roles").status_code == 403
    again = browser.get("/account/api-keys").get_data(as_text=True)
    assert "Nightly backup" in again
    assert key not in again


def test_a_key_without_a_name_is_refused_and_the_choice_is_kept(browser: Any) -> None:
    answer = browser.submit("/account/api-keys", scopes=["users:read"], expires_in_days="365")
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert "Error: " in page
    assert 'value="users:read" aria-describedby="scopes-1-hint" checked' in page
    assert '<option value="365" selected>' in page


def test_a_scope_beyond_ones_own_is_refused(app: Flask, alice: Person) -> None:
    client: Any = app.test_client()
    client.sign_in(alice)
    answer = client.submit("/account/api-keys", name="Greedy", scopes="users:write", expires_in_days="30")
    assert answer.status_code == 422


def test_a_revoked_key_is_gone(browser: Any) -> None:
    page = browser.submit("/account/api-keys", name="Old", expires_in_days="never").get_data(as_text=True)
    action = page.split("/account/api-keys/")[1].split('"')[0]
    done = browser.post(
        f"/account/api-keys/{action}", data={"csrf_token": browser.token("/account/api-keys")}
    )
    assert done.status_code == 303
    assert "No keys yet" in browser.get("/account/api-keys").get_data(as_text=True)


def test_the_page_asks_for_a_fresh_sign_in(browser: Any) -> None:
    with time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        answer = browser.get("/account/api-keys")
        assert answer.status_code == 303
        assert answer.headers["Location"] == "/auth/reauthenticate?next=/account/api-keys"
