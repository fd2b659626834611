"""Another mail address: it counts once its link is used, for one of those who want it."""

import re

import pytest
from flask import Flask

from tests.clients import PageClient, browser
from tests.factories import Person, make_person
from tests.integration.pages.desk import fingerprint, link_to, make_link
from tests.integration.pages.links import NEW_ADDRESS, Make, at_once


def test_a_new_address_counts_once_its_link_is_used(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.submit("/account/email", email=NEW_ADDRESS, current_password=alice.password)
    page = client.get(link_to(app, NEW_ADDRESS, "/auth/confirm-email"), follow_redirects=True)
    assert NEW_ADDRESS in page.text
    assert alice.email in client.get("/dashboard").text, "until then the former stays"
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    done = client.submit("/auth/confirm-email", token=token[1])
    assert (done.status_code, done.location) == (303, "/dashboard")
    assert NEW_ADDRESS in client.get("/dashboard").text
    visitor = browser(app)
    assert visitor.submit("/auth/login", email=alice.email, password=alice.password).status_code == 401
    assert visitor.submit("/auth/login", email=NEW_ADDRESS, password=alice.password).status_code == 303


def test_an_address_that_was_taken_meanwhile_is_told(
    app: Flask, client: PageClient, make: Make, alice: Person
) -> None:
    token = make("/auth/confirm-email", alice)
    make_person(app, "Quick Fox", email=NEW_ADDRESS)
    client.get("/auth/confirm-email", query_string={"token": token})
    refused = client.submit("/auth/confirm-email", token=token)
    assert refused.status_code == 409
    assert "Another account uses this e-mail address." in refused.text
    assert client.post("/auth/confirm-email", json={"token": token}).json["error"]["code"] == "EMAIL_TAKEN"


def test_the_link_leads_through_the_sign_in_and_back(app: Flask, client: PageClient, alice: Person) -> None:
    token = make_link(app, alice, "email_change", NEW_ADDRESS)
    opened = client.get("/auth/confirm-email", query_string={"token": token})
    assert opened.location == "/auth/confirm-email"
    led = client.get("/auth/confirm-email")
    assert led.location == "/auth/login?next=/auth/confirm-email"
    assert token not in led.location
    assert "Sign in to the account that asked for the new address." in client.get(led.location).text
    signed_in = client.submit(
        "/auth/login", email=alice.email, password=alice.password, next="/auth/confirm-email"
    )
    assert signed_in.location == "/auth/confirm-email"
    assert f'name="token" value="{token}"' in client.get("/auth/confirm-email").text
    assert client.submit("/auth/confirm-email", token=token).location == "/dashboard"


def test_the_form_of_a_session_that_is_over_keeps_the_link(
    app: Flask, client: PageClient, alice: Person
) -> None:
    token = make_link(app, alice, "email_change", NEW_ADDRESS)
    csrf = client.token("/auth/login")
    refused = client.post("/auth/confirm-email", data={"csrf_token": csrf, "token": token})
    assert refused.status_code == 401
    assert 'href="/auth/login?next=/auth/confirm-email"' in refused.text
    client.sign_in(alice)
    assert client.submit("/auth/confirm-email", "/account/email", token=token).location == "/dashboard"


def test_a_stranger_gets_no_address_by_having_its_owner_press(
    app: Flask, client: PageClient, alice: Person, charlie: Person
) -> None:
    """Charlie has their own account ask for Alice's next address, and hopes that she presses the link she gets."""
    token = make_link(app, charlie, "email_change", NEW_ADDRESS)
    client.sign_in(alice)
    before = fingerprint(app, ("users", "one_time_tokens"))
    csrf = client.token("/account/email")
    program = browser(app).post("/auth/confirm-email", json={"token": token})
    assert (program.status_code, program.json["error"]["code"]) == (401, "AUTHENTICATION_REQUIRED")
    client.get("/auth/confirm-email", query_string={"token": token})
    refused = client.get("/auth/confirm-email")
    assert refused.status_code == 403
    assert "This link is for another account" in refused.text
    pressed = client.post("/auth/confirm-email", data={"csrf_token": csrf, "token": token})
    assert pressed.status_code == 403
    assert client.post("/auth/confirm-email", json={"token": token}).json["error"]["code"] == "FORBIDDEN"
    assert fingerprint(app, ("users", "one_time_tokens")) == before


@pytest.mark.real_database
def test_two_who_confirm_one_address_at_once(app: Flask) -> None:
    people = [make_person(app, name) for name in ("Alice Lindqvist", "Bob Castellanos")]
    bodies = [{"token": make_link(app, person, "email_change", NEW_ADDRESS)} for person in people]
    assert at_once(app, "/auth/confirm-email", *bodies, people=people) == [200, 409]
