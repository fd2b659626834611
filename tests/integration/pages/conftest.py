"""Links as they are mailed."""

import pytest
from flask import Flask

from tests.factories import Person
from tests.integration.pages.desk import make_link
from tests.integration.pages.links import PAGES, Make


@pytest.fixture
def make(app: Flask) -> Make:
    """A token for a page and a person."""

    def make(page: str, person: Person) -> str:
        kind, rest, _ = PAGES[page]
        return make_link(app, person, kind, *rest)

    return make
