"""Where one comes to after signing in: to the page one wanted, if it is one of ours."""

import pytest

from blueprints.http.redirects import own_path
from tests.clients import PageClient
from tests.factories import Person

FORBIDDEN_TARGETS = [
    "//e",
    "///e",
    "\\\\e",
    "/\\e",
    "/%09/e",
    "/%5ce",
    "/%5Ce",
    "/%2fe",
    "https:e",
    "http:///e",
    "javascript:1",
    "data:text/html,x",
    "//u@e",
    "https://host.e",
    "https://localhost",
    "http://localhost/dashboard",
    "/..//e",
    "/./e",
    "/../e",
    "/account/..//e",
    "/account//e",
    "/\r\nSet-Cookie: a=b",
    "/account%0d%0aX: y",
    "/\t/e",
    "\t//e",
    " /dashboard",
    "/dashboard ",
    "/;@e",
    "/@e",
    "/:e",
    "／／e",
    "/\x00",
    "dashboard",
    "?a=b",
    "#a",
    "/account#//e",
    "/" + "a" * 3_000,
]


def test_a_page_that_needs_a_sign_in_is_come_back_to(client: PageClient, alice: Person) -> None:
    asked = client.get("/account/history?sort=id")
    assert (asked.status_code, asked.location) == (303, "/auth/login?next=/account/history?sort%3Did")
    page = client.get(asked.location)
    assert 'name="next" value="/account/history?sort=id"' in page.text
    answer = client.submit(
        "/auth/login",
        asked.location,
        email=alice.email,
        password=alice.password,
        next="/account/history?sort=id",
    )
    assert answer.location == "/account/history?sort=id"


@pytest.mark.parametrize("target", FORBIDDEN_TARGETS)
def test_next_leads_nowhere_else(client: PageClient, alice: Person, target: str) -> None:
    assert own_path(target) == ""
    answer = client.submit("/auth/login", email=alice.email, password=alice.password, next=target)
    assert (answer.status_code, answer.location) == (303, "/dashboard")


@pytest.mark.parametrize("target", ["//e", "https://host.e", "/\\e", "javascript:1"])
def test_next_in_the_address_is_judged_alike(client: PageClient, alice: Person, target: str) -> None:
    page = client.get("/auth/login", query_string={"next": target})
    assert 'name="next"' not in page.text
    answer = client.post(
        "/auth/login",
        query_string={"next": target},
        data={"csrf_token": client.token(), "email": alice.email, "password": alice.password},
    )
    assert answer.location == "/dashboard"


@pytest.mark.parametrize(
    "target", ["/", "/dashboard", "/account/devices", "/admin/users?q=a%20b&page=2", "/a-b/c_d/"]
)
def test_next_leads_to_our_pages(target: str) -> None:
    assert own_path(target) == target


def test_a_long_target_is_judged_quickly() -> None:
    for text in ("/" + "a" * 1_900 + "!", "/a" * 900 + "!", "/a?" + "=" * 1_900 + "\\"):
        assert own_path(text) == ""
