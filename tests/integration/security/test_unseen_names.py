"""What nobody can see is no name, at any door (security case A5)."""

from typing import Any

import pytest
from flask import Flask

from tests.clients import Api, PageClient
from tests.factories import PASSWORD, Person
from tests.integration.commands.conftest import Run
from tests.integration.commands.conftest import run as run  # noqa: PLC0414 - a fixture
from tests.state import unchanged

UNSEEN = ["\u200b", "\u3164", "\u2800\u00ad", "\U000e0041", "\u0301"]


@pytest.mark.parametrize("name", UNSEEN, ids=ascii)
def test_a_name_that_shows_nothing_is_refused(
    app: Flask, api: Api, client: PageClient, run: Run, ada: Person, name: str
) -> None:
    admin = api.as_(ada)
    person: dict[str, Any] = {"email": "new@example.com", "name": name}
    with unchanged(app):
        answers = {
            "name": [
                api.post("/auth/register", {**person, "password": PASSWORD}),
                admin.post("/users", {**person, "role": "member"}),
                admin.patch("/users/me", {"name": name}),
                admin.patch(f"/users/{ada.id}", {"name": name}),
                admin.post("/users/me/api-keys", {"name": name, "scopes": []}),
            ],
            "description": [admin.post("/roles", {"name": "clerk", "description": name, "permissions": []})],
            "device_name": [
                api.post("/auth/login", {"email": ada.email, "password": ada.password, "device_name": name})
            ],
            "reason": [admin.post(f"/users/{ada.id}/suspend", {"reason": name})],
        }
        page = client.submit("/auth/register", **person, password=PASSWORD)
        typed = run("users", "create", person["email"], "--name", name)
    for field, refusals in answers.items():
        for answer in refusals:
            assert answer.status_code == 422
            assert [fault["field"] for fault in answer.json["error"]["details"]["errors"]] == [field]
    assert page.status_code == 422
    assert "can be seen" in page.text
    assert typed.exit_code != 0
    assert "can be seen" in typed.stderr


@pytest.mark.parametrize(
    "name", ["\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u2764\ufe0f", "1\ufe0f\u20e3"], ids=ascii
)
def test_joiners_and_selectors_stay_where_they_belong(api: Api, alice: Person, name: str) -> None:
    assert api.as_(alice).patch("/users/me", {"name": name}).json["data"]["name"] == name
