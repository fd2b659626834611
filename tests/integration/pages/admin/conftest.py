"""Browsers that are signed in already: the administration is what these tests are about, not the door to it."""

from collections.abc import Callable

import pytest
from flask import Flask

from models import User, db
from services.base_service import unit_of_work
from services.session_service import start_browser
from tests.clients import PageClient
from tests.factories import Person

Browser = Callable[[Person], PageClient]


@pytest.fixture
def browser(app: Flask) -> Browser:
    """A browser in which this person is signed in."""

    def signed_in(person: Person) -> PageClient:
        with app.app_context(), unit_of_work():
            token, _ = start_browser(db.session.get_one(User, person.id))
        client = app.test_client()
        with client.session_transaction() as session:
            session["_user_id"] = token
        assert isinstance(client, PageClient)
        return client

    return signed_in


@pytest.fixture
def desk(browser: Browser, ada: Person) -> PageClient:
    """Ada's browser."""
    return browser(ada)
