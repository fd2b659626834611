"""What the tests of the pages share: the mails somebody got, tokens in pages, and what the database holds."""

import re
from collections.abc import Sequence

from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from models import db
from services import link_service, outbox_service
from services.base_service import unit_of_work
from services.schemas.outbox import MailboxMail
from services.user_service import load
from tests.clients import PageClient
from tests.factories import Person

NEW_PASSWORD = "copper violin seventeen"
EVERYTHING = ("users", "sessions", "refresh_tokens", "one_time_tokens", "outbox", "audit_events", "roles")


def mails_to(app: Flask, address: str) -> list[MailboxMail]:
    """The mails to an address, in any order."""
    with app.app_context():
        return [mail for mail in outbox_service.mailbox() if mail.to == address]


def subjects(app: Flask, address: str) -> list[str]:
    """Their subjects, sorted."""
    return sorted(mail.subject for mail in mails_to(app, address))


def link_to(app: Flask, address: str, page: str) -> str:
    """The newest link to `page` that was mailed there, as path and query."""
    found = [
        match[0].removeprefix("http://localhost")
        for mail in mails_to(app, address)
        for match in re.finditer(rf"http://localhost{page}\?token=[A-Za-z0-9_-]+", mail.text)
    ]
    assert len(found) == 1, f"{len(found)} links to {page} for {address}"
    return found[0]


def code_to(app: Flask, address: str) -> str:
    """The typed code in the one mail that has one."""
    codes = [
        match[0] for mail in mails_to(app, address) for match in re.finditer(r"\b\d{3} ?\d{3}\b", mail.text)
    ]
    assert codes
    return codes[0]


def token_of(link: str) -> str:
    """The token in a mailed link."""
    return link.partition("token=")[2]


def make_link(app: Flask, person: Person, kind: str, *rest: str) -> str:
    """A token as `link_service.make_<kind>` makes it, without its mail."""
    with app.app_context(), unit_of_work():
        made = getattr(link_service, f"make_{kind}")(load(person.id), *rest)
    return str(made[0] if isinstance(made, tuple) else made)


def setup_token(app: Flask) -> str:
    """The token of the link that makes the first administrator."""
    with app.app_context(), unit_of_work():
        return link_service.make_setup()


def fingerprint(app: Flask, tables: Sequence[str] = EVERYTHING) -> dict[str, str]:
    """A digest of every row of each table."""
    with app.app_context():
        return {
            table: str(
                db.session.scalar(
                    text(f"SELECT count(*) || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t")
                )
            )
            for table in tables
        }


def text_of(response: TestResponse) -> str:
    """The page without what differs each time: tokens of the form, request id, nonce, times."""
    page = response.get_data(as_text=True)
    page = re.sub(r'name="csrf_token" value="[^"]*"', "", page)
    page = re.sub(r"request <code>[^<]*</code>", "", page)
    page = re.sub(r'"(request_id|timestamp)": ?"[^"]*"', "", page)
    return re.sub(r'nonce="[^"]*"', "", page)


def is_signed_in(client: PageClient) -> bool:
    """Whether this browser may open its dashboard."""
    return client.get("/dashboard").status_code == 200
