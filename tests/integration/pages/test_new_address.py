"""Another mail address: it counts once its link is used, for one of those who want it."""

import re

import pytest
from flask import Flask

from tests.clients import PageClient, browser
from tests.factories import Person, make_person
from tests.integration.pages.desk import link_to, make_link
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


@pytest.mark.real_database
def test_two_who_confirm_one_address_at_once(app: Flask) -> None:
    people = [make_person(app, name) for name in ("Alice Lindqvist", "Bob Castellanos")]
    bodies = [{"token": make_link(app, person, "email_change", NEW_ADDRESS)} for person in people]
    assert at_once(app, "/auth/confirm-email", *bodies) == [200, 409]
