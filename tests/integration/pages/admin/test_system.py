"""The state of the system on its page."""

import pytest
from flask import Flask

from tests.factories import Person, make_person
from tests.integration.pages.admin.conftest import Browser


@pytest.fixture
def person(app: Flask) -> Person:
    """An administrator in the database of the test."""
    return make_person(app, "Ada Okonkwo", role="admin")


@pytest.mark.real_database
def test_every_check_and_the_build_are_shown(app: Flask, browser: Browser, person: Person) -> None:
    page = browser(person).get("/admin/system")
    assert page.status_code == 200
    for words in ("Database", "Migrations", "Outbox", "Pool", "Disk", "PostgreSQL", "testing", "Python"):
        assert words in page.text
    assert app.config["VERSION"] in page.text
    assert page.text.count("Pass") >= 3
