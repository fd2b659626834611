"""The development mailbox: there in development, nowhere else."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.clients import PageClient
from tests.factories import Person
from tests.integration.pages.desk import mails_to

MAILBOX = ["/dev/mail", "/dev/mail.json", "/dev/mail/5b1b36ea-6e4a-4a6f-8a7b-1d2f3c4e5f60"]


def test_an_empty_mailbox_says_so(client: PageClient) -> None:
    assert "No mail yet" in client.get("/dev/mail").text
    assert client.get("/dev/mail.json").json == []


def test_every_mail_is_listed_and_opens(app: Flask, client: PageClient, alice: Person) -> None:
    client.submit("/auth/forgot-password", email=alice.email)
    mail = mails_to(app, alice.email)[0]
    assert mail.subject in client.get("/dev/mail").text
    page = client.get(f"/dev/mail/{mail.id}").text
    assert f'src="/dev/mail/{mail.id}/html"' in page
    assert re.search(r'<a class="breakable" href="http://localhost/auth/reset-password\?token=', page)


def test_the_page_may_frame_the_mail_and_nothing_else(app: Flask, client: PageClient, alice: Person) -> None:
    client.submit("/auth/forgot-password", email=alice.email)
    assert "frame-src 'self'" in client.get("/dev/mail").headers["Content-Security-Policy"]
    assert "frame-src" not in client.get("/").headers["Content-Security-Policy"]
    plain = FlaskClient(
        app, app.response_class, use_cookies=True
    )  # a mail is no page of ours: not looked over
    mail = plain.get(f"/dev/mail/{mails_to(app, alice.email)[0].id}/html")
    policy = mail.headers["Content-Security-Policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert mail.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]


def test_programs_read_it_as_a_list_newest_first(client: PageClient, alice: Person) -> None:
    client.submit("/auth/forgot-password", email=alice.email)
    (mail,) = client.get("/dev/mail.json").json
    assert list(mail) == ["id", "to", "subject", "text", "html", "created_at"]
    assert mail["to"] == alice.email
    assert mail["created_at"].endswith("Z")
    assert "<html" in mail["html"]


def test_a_mail_that_is_not_there_is_not_found(client: PageClient) -> None:
    assert client.get(MAILBOX[2]).status_code == 404
    assert client.get(f"{MAILBOX[2]}/html").status_code == 404


@pytest.mark.parametrize("environment", ["production", "staging"])
@pytest.mark.parametrize("path", MAILBOX)
def test_elsewhere_there_is_no_mailbox(
    app: Flask, client: PageClient, monkeypatch: pytest.MonkeyPatch, environment: str, path: str
) -> None:
    monkeypatch.setitem(app.config, "ENVIRONMENT", environment)
    assert client.get(path).status_code == 404
