"""Who administers over the API."""

import pytest

from tests.clients import Api
from tests.factories import Person


@pytest.fixture
def admin(api: Api, ada: Person) -> Api:
    """Ada's program."""
    return api.as_(ada)
