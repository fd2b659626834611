"""After the password, before the second step: nothing is open yet, whatever the door (A72, A73)."""

import pytest
from flask import Flask

from tests.clients import Api, PageClient
from tests.factories import Person, make_person
from tests.integration.api.test_access import call, routes
from tests.integration.api.test_second_factor import challenge, enrolled
from tests.integration.pages.test_csrf import pages
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("early_in_a_step")


@pytest.fixture
def boss(app: Flask, api: Api) -> Person:
    """An administrator with an app: whom half a sign-in would serve best."""
    person = make_person(app, "Boss Person", role="admin")
    enrolled(api, person)
    return person


def guarded(app: Flask, method: str) -> list[str]:
    """The pages whose rule asks for a sign-in."""
    found = []
    for path in pages(app, method):
        endpoint, _ = app.url_map.bind("localhost").match(path, method=method)
        access = getattr(app.view_functions[endpoint], "access", None)
        if access is not None and access.signed_in:
            found.append(path)
    return found


def test_every_page_leads_to_the_sign_in(app: Flask, client: PageClient, boss: Person) -> None:
    shut = guarded(app, "GET")
    assert len(shut) >= 30
    assert client.sign_in(boss).location == "/auth/second-factor"
    for path in shut:
        answer = client.get(path)
        assert answer.status_code == 303, path
        assert (answer.location or "").startswith("/auth/"), path


def test_no_page_acts(app: Flask, client: PageClient, boss: Person) -> None:
    client.sign_in(boss)
    token = client.token("/auth/second-factor")
    acting = guarded(app, "POST")
    assert len(acting) >= 20
    with unchanged(app):
        for path in acting:
            answer = client.post(path, data={"csrf_token": token})
            assert (answer.status_code, (answer.location or "")[:6]) == (303, "/auth/"), path
            told = client.post(path, json={})
            assert told.status_code == 401, path


def test_no_route_of_the_api_takes_the_challenge_or_the_cookie(
    app: Flask, client: PageClient, api: Api, boss: Person, bob: Person
) -> None:
    half = Api(app, challenge(api, boss))
    client.sign_in(boss)
    with unchanged(app):
        for route in routes(app):
            assert call(half, route, bob) == 401, route
            path = f"/api/v1{route.path(bob)}"
            assert client.open(path, method=route.method, json=route.body).status_code == 401, route


def test_a_challenge_is_bound_to_its_account(api: Api, boss: Person, alice: Person) -> None:
    _, codes = enrolled(api, alice)
    answer = api.post(
        "/auth/login/verify", {"challenge_token": challenge(api, boss), "recovery_code": codes[0]}
    )
    assert answer.status_code == 401


def test_a_later_step_needs_the_former(api: Api, client: PageClient) -> None:
    """No step can be called first (ASVS 2.3.1)."""
    assert api.post("/auth/login/verify", {"challenge_token": "x" * 43, "code": "123456"}).status_code == 401
    assert (
        api.post("/auth/password/reset", {"token": "x" * 43, "password": "copper violin nine"}).status_code
        == 410
    )
    assert api.post("/auth/verify-email", {"token": "x" * 43}).status_code == 410
    assert client.submit("/auth/second-factor", "/auth/login", code="123456").location == "/auth/login"
    assert client.get("/auth/oidc/callback?state=x&code=y").status_code == 400
