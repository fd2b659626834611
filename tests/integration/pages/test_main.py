"""The home page and the dashboard."""

from flask import Flask

from tests.clients import PageClient
from tests.conftest import counted
from tests.factories import Person, make_person


def test_the_home_page_needs_no_database(client: PageClient) -> None:
    with counted() as statements:
        page = client.get("/")
    assert page.status_code == 200
    assert 'href="/auth/register"' in page.text
    assert not statements


def test_the_home_page_knows_who_is_signed_in(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    page = client.get("/").text
    assert "Open your dashboard" in page
    assert alice.name in page


def test_the_dashboard_asks_strangers_to_sign_in(client: PageClient) -> None:
    answer = client.get("/dashboard")
    assert (answer.status_code, answer.location) == (303, "/auth/login?next=/dashboard")


def test_the_dashboard_shows_what_is_yours_and_no_more(
    client: PageClient, alice: Person, bob: Person
) -> None:
    client.sign_in(alice)
    page = client.get("/dashboard").text
    assert alice.email in page
    assert "Signed in on this one only" in page
    assert "Accounts" not in page
    assert "Administration" not in page
    assert bob.email not in page


def test_the_page_after_a_sign_in_costs_three_statements(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    with counted() as statements:
        client.get("/dashboard")
    assert len(statements) == 3


def test_an_administrators_dashboard_costs_no_more(client: PageClient, ada: Person) -> None:
    client.sign_in(ada)
    with counted() as statements:
        client.get("/dashboard")
    assert len(statements) == 3


def test_an_administrator_sees_the_place_in_numbers(app: Flask, client: PageClient, ada: Person) -> None:
    for number in range(2):
        make_person(app, f"Waiting {number}", email_verified=False)
    client.sign_in(ada)
    client.post("/auth/forgot-password", json={"email": ada.email})
    numbers = [
        part.split("</a>")[0].rpartition(">")[2]
        for part in client.get("/dashboard").text.split('class="stat__value"')[1:]
    ]
    assert numbers == ["3", "2", "0", "1"]


def test_pages_are_kept_in_no_cache(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    for path in ("/", "/dashboard", "/account/profile", "/auth/login"):
        answer = client.get(path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Cookie" in answer.headers["Vary"]
