"""An issuer that the application trusts, and another that it does not know."""

from collections.abc import Iterator

import pytest
from flask import Flask

from services import issuer_service
from tests.clients import PageClient, browser
from tests.issuer import AUDIENCE, CLIENT_ID, CLIENT_SECRET, FakeIssuer, running


@pytest.fixture(scope="session")
def realms() -> Iterator[tuple[FakeIssuer, FakeIssuer]]:
    """One server for all tests of a process."""
    with running() as both:
        yield both


@pytest.fixture
def issuer(app: Flask, realms: tuple[FakeIssuer, FakeIssuer], monkeypatch: pytest.MonkeyPatch) -> FakeIssuer:
    """The configured one, as on its first day; the application has not asked it anything yet."""
    main, other = realms
    for realm in realms:
        vars(realm).update(vars(FakeIssuer(realm.url)))  # as on its first day
    del other
    settings = {
        "OIDC_ISSUER": main.url,
        "OIDC_NAME": "Auth0",
        "OIDC_AUDIENCE": AUDIENCE,
        "CLIENT_ID": CLIENT_ID,
        "CLIENT_SECRET": CLIENT_SECRET,
    }
    for name, value in settings.items():
        monkeypatch.setitem(app.config, name, value)
    monkeypatch.setitem(app.extensions, "issuer", None)
    issuer_service.init_app(app)
    return main


@pytest.fixture
def other(issuer: FakeIssuer, realms: tuple[FakeIssuer, FakeIssuer]) -> FakeIssuer:
    """An issuer on the same host that is not configured."""
    del issuer
    return realms[1]


@pytest.fixture
def client(app: Flask) -> PageClient:
    """A browser that nobody has signed in with."""
    return browser(app)
