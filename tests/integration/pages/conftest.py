"""Links as they are mailed."""

import pytest
from flask import Flask

from services.base_service import unit_of_work
from services.user_service import load
from tests.clients import PageClient
from tests.factories import Person
from tests.integration.pages.desk import make_link
from tests.integration.pages.links import PAGES, SIGNED_IN, Make


@pytest.fixture
def make(app: Flask, client: PageClient) -> Make:
    """A token for a page and a person, who waits for confirmation or is signed in where the page wants that."""

    def make(page: str, person: Person) -> str:
        kind, rest, _ = PAGES[page]
        with app.app_context(), unit_of_work():
            load(person.id).email_verified = page != "/auth/verify-email"
        if page in SIGNED_IN and client.get("/dashboard").status_code != 200:
            client.sign_in(person)
        return make_link(app, person, kind, *rest)

    return make
