"""What the tests of "this was not me" share: the links in mails, the button, and somebody who got in."""

import re
from typing import Any

from flask import Flask
from sqlalchemy import text

from models import db
from services import security_service
from services.base_service import unit_of_work
from services.user_service import load, tell_address_changed
from tests.clients import Answer, PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import mails_to

PAGE = "/auth/not-me"
LINK = re.compile(rf"http://localhost[:0-9]*{PAGE}\?token=([A-Za-z0-9_-]+)")
MALLORY = "mallory@example.org"


def token_in(app: Flask, address: str, subject: str) -> str:
    """The token of the link in the newest mail of this subject that went there."""
    mails = [mail for mail in mails_to(app, address) if mail.subject == subject]
    found = LINK.search(max(mails, key=lambda mail: mail.created_at).text)
    assert found, subject
    return found[1]


def tokens_to(app: Flask, address: str) -> set[str]:
    """The tokens of all such links that went there."""
    return {found[1] for mail in mails_to(app, address) for found in LINK.finditer(mail.text)}


def told(app: Flask, person: Person, kind: str = "password_changed") -> str:
    """The token of a security mail that somebody gets now."""
    with app.app_context(), unit_of_work():
        user = load(person.id)
        address = user.email
    before = tokens_to(app, address)
    with app.app_context(), unit_of_work():
        security_service.tell(load(person.id), kind)
    (token,) = tokens_to(app, address) - before
    return token


def press(app: Flask, token: str, client: PageClient | None = None) -> Answer:
    """Open the link and press its button; the answer of the page after it."""
    client = client or browser(app)
    client.get(PAGE, query_string={"token": token})
    answer = client.submit(PAGE, token=token)
    assert (answer.status_code, answer.location) == (303, f"{PAGE}/done"), answer.get_data(as_text=True)
    return client.get(answer.location)


def move(app: Flask, person: Person, address: str) -> None:
    """Another address for an account, as once the link mailed there was followed; both are told."""
    with app.app_context(), unit_of_work():
        user = load(person.id)
        former, user.email = user.email, address
        tell_address_changed(user, former)


def email_of(app: Flask, person: Person) -> str:
    """The account's address."""
    return str(one(app, "SELECT email FROM users WHERE id = :id", id=person.id))


def one(app: Flask, statement: str, **values: Any) -> Any:
    """What a statement gives first."""
    with app.app_context():
        return db.session.execute(text(statement), values).scalar()
