"""The way to the issuer and back: state, nonce and PKCE, and who may set out or return (security case A85)."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.clients import PageClient, browser
from tests.integration.oidc.desk import come_back, sign_in, way_out
from tests.integration.pages.desk import is_signed_in
from tests.issuer import FakeIssuer
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("early_in_a_step")


def test_the_way_out_asks_for_a_code_with_state_nonce_and_pkce(
    issuer: FakeIssuer, client: PageClient
) -> None:
    asked = parse_qs(urlsplit(way_out(client)).query)
    assert asked["redirect_uri"] == ["http://localhost/auth/oidc/callback"]
    assert asked["scope"] == ["openid profile email"]
    assert asked["max_age"] == ["86400"]
    assert all(len(asked[name][0]) == 43 for name in ("state", "nonce", "code_challenge"))
    assert len({asked[name][0] for name in ("state", "nonce", "code_challenge")}) == 3
    assert parse_qs(urlsplit(way_out(client)).query)["state"] != asked["state"]


def test_one_comes_to_the_page_one_wanted(issuer: FakeIssuer, client: PageClient) -> None:
    answer = sign_in(client, issuer, "/auth/oidc/start?next=/account/profile")
    assert answer.headers["Location"] == "/account/profile"


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1"]
)
def test_a_page_of_somebody_else_is_no_page_to_come_to(
    issuer: FakeIssuer, client: PageClient, target: str
) -> None:
    answer = client.get("/auth/oidc/start", query_string={"next": target})
    back = come_back(client, issuer.authorize(answer.headers["Location"]))
    assert back.headers["Location"] == "/dashboard"


@pytest.mark.parametrize("times", [1, 3])
def test_state_is_good_once_and_in_its_own_browser(
    issuer: FakeIssuer, app: Flask, client: PageClient, times: int
) -> None:
    back = issuer.authorize(way_out(client))
    stranger = browser(app)
    for _ in range(times):
        assert come_back(stranger, back).status_code == 400
    assert not is_signed_in(stranger)
    assert come_back(client, back).status_code == 303
    assert come_back(client, back).status_code == 400


def test_a_copied_cookie_brings_no_used_state_back(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    back = issuer.authorize(way_out(client))
    cookie = client.get_cookie("session")
    assert cookie is not None
    copy = browser(app)
    copy.set_cookie("session", cookie.value)
    assert come_back(client, back).status_code == 303
    assert come_back(copy, back).status_code == 400
    assert not is_signed_in(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"state": None},
        {"state": ""},
        {"state": "x"},
        {"state": "é"},
        {"state": "x" * 3000},
        {"code": None},
        {"code": ""},
    ],
)
def test_a_return_without_what_belongs_to_it_is_refused(
    issuer: FakeIssuer, client: PageClient, change: dict[str, str | None]
) -> None:
    back = issuer.authorize(way_out(client))
    assert come_back(client, back, **change).status_code == 400
    assert not is_signed_in(client)


def test_a_parameter_that_is_there_twice_is_refused(issuer: FakeIssuer, client: PageClient) -> None:
    back = issuer.authorize(way_out(client))
    query = urlsplit(back).query
    assert client.get(f"/auth/oidc/callback?{query}&code=another").status_code == 400
    assert not is_signed_in(client)


def test_a_code_of_somebody_else_is_refused(issuer: FakeIssuer, app: Flask, client: PageClient) -> None:
    """Code injection: PKCE binds the code to the browser that asked for it."""
    stolen = parse_qs(urlsplit(issuer.authorize(way_out(browser(app)))).query)["code"][0]
    own = issuer.authorize(way_out(client))
    assert come_back(client, own, code=stolen).status_code == 400
    assert not is_signed_in(client)


def test_the_way_back_is_open_for_ten_minutes(issuer: FakeIssuer, client: PageClient) -> None:
    back = issuer.authorize(way_out(client))
    with time_machine.travel(now() + timedelta(minutes=10, seconds=1)):
        assert come_back(client, back).status_code == 400


def test_several_tabs_may_be_on_their_way(issuer: FakeIssuer, client: PageClient) -> None:
    first, second = issuer.authorize(way_out(client)), issuer.authorize(way_out(client))
    assert come_back(client, first).status_code == 303
    del second


@pytest.mark.parametrize("error", ["access_denied", "login_required", "nonsense", "<script>"])
def test_whoever_says_no_at_the_issuer_is_back_at_the_sign_in(
    issuer: FakeIssuer, client: PageClient, error: str
) -> None:
    back = issuer.authorize(way_out(client))
    answer = come_back(client, back, code=None, error=error, error_description="<script>alert(1)</script>")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/auth/login"
    page = client.get("/auth/login").get_data(as_text=True)
    assert "You were not signed in." in page
    assert "<script>alert" not in page


def test_an_error_without_our_state_tells_nothing(issuer: FakeIssuer, client: PageClient) -> None:
    del issuer
    assert client.get("/auth/oidc/callback?error=access_denied&state=x").status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "image"},
        {"Sec-Purpose": "prefetch"},
        {"Referer": "https://evil.example/page"},
        {"Referer": "http://localhost.evil.example/"},
    ],
)
def test_nobody_is_sent_to_the_issuer_by_another_site_or_a_picture(
    issuer: FakeIssuer, app: Flask, client: PageClient, headers: dict[str, str]
) -> None:
    with unchanged(app):
        answer = client.get("/auth/oidc/start?next=/account/profile", headers=headers)
    assert answer.status_code == 200
    assert 'href="/auth/oidc/start?next=/account/profile"' in answer.get_data(as_text=True)
    assert issuer.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "none"},
        {"Referer": "http://localhost/auth/login"},
    ],
)
def test_a_person_on_our_own_page_goes_at_once(
    issuer: FakeIssuer, client: PageClient, headers: dict[str, str]
) -> None:
    assert way_out(client, headers=headers).startswith(issuer.url)


def test_a_post_needs_the_form_token(issuer: FakeIssuer, client: PageClient) -> None:
    assert client.post("/auth/oidc/start").status_code == 403
    answer = client.submit("/auth/oidc/start", "/auth/login")
    assert answer.headers["Location"].startswith(issuer.url)


@pytest.mark.parametrize("path", ["/auth/oidc/start", "/auth/oidc/callback?state=x"])
def test_head_does_nothing(issuer: FakeIssuer, app: Flask, client: PageClient, path: str) -> None:
    with unchanged(app):
        assert client.head(path).status_code in {200, 405}
    assert issuer.requests == []


def test_head_of_a_good_return_does_not_use_it_up(issuer: FakeIssuer, client: PageClient) -> None:
    back = issuer.authorize(way_out(client))
    parts = urlsplit(back)
    assert client.head(f"{parts.path}?{parts.query}").status_code == 405
    assert come_back(client, back).status_code == 303


def test_too_many_ways_out_from_one_address_are_slowed_down(issuer: FakeIssuer, client: PageClient) -> None:
    del issuer
    answers = [client.get("/auth/oidc/start").status_code for _ in range(31)]
    assert answers == [303] * 30 + [429]
