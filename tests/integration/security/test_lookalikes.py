"""Addresses that look alike are two, spellings of one are one, at every door (security cases A1, A3, A5; ADR 017)."""

from typing import Any

import pytest
from flask import Flask

from tests.clients import Api, PageClient
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.desk import mails_to, subjects
from tests.state import state, unchanged

MIKE = "mike@example.com"
#: What some programs take for an i and a k in another case.
DOTTED, KELVIN = "m\u0130ke@example.com", "mi\u212ae@example.com"
#: Read by mail programs as another address, or as two (RFC 2047); or look like another and are not.
TRICKS = [
    "=?utf-8?q?victim=40example.org=2C?=@example.com",
    "=?UTF-8?B?dmljdGlt?=@example.com",
    "a=?utf-8?q?x?=b@example.com",
    '"victim@example.org,"@example.com',
    "mike(comment)@example.com",
    "Mike <mike@example.com>",
    KELVIN,
    "mi\u3164ke@example.com",
    "mike\ufe0f@example.com",
    "mi\u2800ke@example.com",
    "a\u037eb@example.com",
    "\u3000mike@example.com",
]


@pytest.fixture
def mike(app: Flask) -> Person:
    return make_person(app, "Mike Mulligan", email=MIKE)


def stored(app: Flask) -> list[str]:
    return [row[0] for row in state(app)["users"]]


def new(email: str) -> dict[str, Any]:
    return {"email": email, "name": "Mike", "password": PASSWORD}


def test_a_dotted_capital_i_is_another_address(app: Flask, api: Api, mike: Person) -> None:
    assert api.post("/auth/register", new(DOTTED)).status_code == 202
    assert sorted(stored(app)) == sorted([MIKE, DOTTED])
    assert subjects(app, MIKE) == []
    assert subjects(app, DOTTED) == ["Confirm your address"]


def test_nobody_signs_in_by_a_lookalike(api: Api, mike: Person) -> None:
    assert api.post("/auth/login", {"email": DOTTED, "password": mike.password}).status_code == 401
    assert api.post("/auth/login", {"email": KELVIN, "password": mike.password}).status_code == 422
    assert (
        api.post("/auth/login", {"email": "MIKE@EXAMPLE.COM", "password": mike.password}).status_code == 200
    )


def test_spellings_of_an_address_bring_no_more_reset_mails(app: Flask, api: Api, mike: Person) -> None:
    spellings = [MIKE, "MIKE@example.com", " mike@EXAMPLE.com", "mIkE@example.com\t", DOTTED, KELVIN]
    for number in range(18):
        api.post("/auth/password/forgot", {"email": spellings[number % len(spellings)]})
    assert len(mails_to(app, MIKE)) == 5
    assert {row[2] for row in state(app)["outbox"]} == {MIKE}


def test_spellings_of_an_address_bring_no_more_guesses(api: Api, mike: Person) -> None:
    domains = ("example.com", "EXAMPLE.com", "\uff45xample.com")
    tries = [
        api.post(
            "/auth/login", {"email": f"{local}@{domains[number % 3]}", "password": "wrong horse battery"}
        )
        for number, local in enumerate(["mike", "MIKE", "Mike", "mIKE", "miKE"] * 3)
    ]
    assert [answer.status_code for answer in tries] == [401] * 10 + [429] * 5


def test_two_capital_letters_beyond_ascii_are_two_addresses(app: Flask, api: Api) -> None:
    make_person(app, "J\u00f6rg", email="j\u00f6rg@example.com")
    api.post("/auth/register", new("J\u00d6RG@example.com"))
    assert sorted(stored(app)) == ["j\u00d6rg@example.com", "j\u00f6rg@example.com"]


def test_both_ways_to_write_an_accent_are_one_address(app: Flask, api: Api) -> None:
    make_person(app, "Eve", email="\u00e9ve@example.com")
    api.post("/auth/register", new("e\u0301ve@example.com"))
    assert stored(app) == ["\u00e9ve@example.com"]


def test_a_sharp_s_in_a_domain_stays_one(app: Flask, api: Api) -> None:
    for domain in ("fa\u00df.de", "xn--fa-hia.de", "FA\u00df.DE", "fass.de"):
        api.post("/auth/register", new(f"a@{domain}"))
    assert sorted(stored(app)) == ["a@fass.de", "a@fa\u00df.de"]


@pytest.mark.parametrize("email", TRICKS)
def test_an_address_that_is_read_as_another_is_refused(
    app: Flask, api: Api, client: PageClient, ada: Person, email: str
) -> None:
    admin, change = api.as_(ada), {"email": email, "current_password": ada.password}
    with unchanged(app):
        answers = [
            api.post("/auth/register", new(email)),
            client.post("/auth/register", json=new(email), headers={"X-CSRFToken": client.token()}),
            api.post("/auth/password/forgot", {"email": email}),
            api.post("/auth/verify-email/request", {"email": email}),
            admin.post("/users", {"email": email, "name": "Mike", "role": "member"}),
            admin.patch(f"/users/{ada.id}", {"email": email}),
            admin.post("/users/me/email", change),
        ]
        page = client.submit("/auth/register", **new(email))
    assert {answer.status_code for answer in answers} == {422}
    assert {answer.json["error"]["details"]["field"] for answer in answers} == {"email"}
    assert page.status_code == 422
    assert "name@example.com" in page.text


@pytest.mark.parametrize("spelling", ["MIKE@example.com", "mike@EXAMPLE.COM", MIKE])
def test_a_search_finds_a_whole_address_in_any_spelling(
    app: Flask, api: Api, ada: Person, spelling: str
) -> None:
    make_person(app, "Mike", email=MIKE)
    found = api.as_(ada).get("/users", query_string={"q": spelling}).json["data"]
    assert [user["email"] for user in found] == [MIKE]


def test_a_search_finds_an_international_domain_by_either_spelling(app: Flask, api: Api, ada: Person) -> None:
    make_person(app, "J\u00f6rg", email="joerg@b\u00fccher.example")
    for spelling in ("joerg@xn--bcher-kva.example", "joerg@B\u00dcCHER.example", "b\u00fccher"):
        found = api.as_(ada).get("/users", query_string={"q": spelling}).json["data"]
        assert [user["email"] for user in found] == ["joerg@b\u00fccher.example"], spelling


def test_a_search_has_the_databases_small_letters_on_both_sides(app: Flask, api: Api, ada: Person) -> None:
    make_person(app, "\u0130pek 100%_/", email="ipek@example.com")
    for sought in ("\u0130pek", "100%_/"):
        found = api.as_(ada).get("/users", query_string={"q": sought}).json["data"]
        assert [user["email"] for user in found] == ["ipek@example.com"], sought
    assert api.as_(ada).get("/users", query_string={"q": "1%0"}).json["data"] == []


def test_a_lookalike_domain_is_shown_in_ascii_to_administrators(
    app: Flask, client: PageClient, ada: Person
) -> None:
    twin = make_person(app, "Mike", email="mike@ex\u0430mple.com")
    client.sign_in(ada)
    assert "xn--exmple-4nf.com" in client.get(f"/admin/users/{twin.id}").text
