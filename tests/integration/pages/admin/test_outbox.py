"""The outbox on its page: looked at, and sent again."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import select

from models import AuditEvent, OutboxMail, db
from models.enums import MailStatus
from services.base_service import unit_of_work
from tests.clients import PageClient
from tests.conftest import counted
from tests.state import unchanged


def put(app: Flask, subject: str, status: MailStatus, *, age_minutes: int = 0, **columns: object) -> str:
    """A mail in the outbox; returns its id."""
    moment = datetime.now(UTC) - timedelta(minutes=age_minutes)
    mail_id = uuid4()
    if status == MailStatus.SENT:
        columns = {"sent_at": moment, **columns}
    with app.app_context(), unit_of_work():
        db.session.add(
            OutboxMail(
                id=mail_id,
                kind="verify_email",
                to_address="bob@example.com",
                subject=subject,
                payload_encrypted=b"x",
                message_id=f"<{mail_id}@x>",
                status=status,
                created_at=moment,
                **columns,
            )
        )
    return str(mail_id)


def subjects(client: PageClient, query: str = "") -> list[str]:
    """The subjects in the list, in its order."""
    response = client.get(f"/admin/outbox{query}")
    assert response.status_code == 200
    return re.findall(r'<span class="person__name">([^<]+)</span>', response.text.split("<main")[1])


@pytest.fixture
def three(app: Flask) -> str:
    """One mail of each state; the id of the one that was given up."""
    put(app, "Waiting", MailStatus.QUEUED, age_minutes=1)
    put(app, "Sent", MailStatus.SENT, age_minutes=2)
    return put(app, "Lost", MailStatus.FAILED, age_minutes=3, last_error="550 <b>no</b>", attempts=48)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["Waiting", "Sent", "Lost"]),
        ("?status=queued", ["Waiting"]),
        ("?status=sent", ["Sent"]),
        ("?status=failed", ["Lost"]),
        ("?status=", ["Waiting", "Sent", "Lost"]),
        ("?cursor=invented", ["Waiting", "Sent", "Lost"]),
        ("?page=4&sort=to_address", ["Waiting", "Sent", "Lost"]),
    ],
)
@pytest.mark.usefixtures("three")
def test_mails_are_listed_by_state(desk: PageClient, query: str, expected: list[str]) -> None:
    assert subjects(desk, query) == expected


@pytest.mark.usefixtures("three")
def test_a_state_that_is_not_there_is_told_and_left_out(desk: PageClient) -> None:
    page = desk.get("/admin/outbox?status=eaten").text
    assert "State: Must be one of: queued, sent, failed" in page
    assert len(subjects(desk, "?status=eaten")) == 3


@pytest.mark.usefixtures("three")
def test_what_the_server_said_is_shown_as_text(desk: PageClient) -> None:
    page = desk.get("/admin/outbox").text
    assert "550 &lt;b&gt;no&lt;/b&gt;" in page
    assert "1 mail was given up" in page


@pytest.mark.usefixtures("three")
def test_the_outbox_costs_four_statements(desk: PageClient) -> None:
    with counted() as statements:
        desk.get("/admin/outbox")
    assert len(statements) <= 4


def test_many_mails_are_walked_through(app: Flask, desk: PageClient) -> None:
    for number in range(60):
        put(app, f"Mail {number}", MailStatus.QUEUED, age_minutes=number)
    page = desk.get("/admin/outbox?status=queued").text
    older = re.search(r'href="/admin/outbox(\?[^"]+)" rel="next"', page)
    assert older
    assert subjects(desk, older[1].replace("&amp;", "&")) == [f"Mail {number}" for number in range(50, 60)]


def test_a_lost_mail_is_sent_again(app: Flask, desk: PageClient, three: str) -> None:
    response = desk.submit(f"/admin/outbox/{three}/resend", "/admin/outbox")
    assert response.status_code == 303
    assert "The mail is queued again." in desk.get(response.location).text
    with app.app_context():
        mail = db.session.get_one(OutboxMail, three)
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "mail:resend")).one()
    assert (mail.status, mail.attempts, mail.last_error) == ("queued", 0, None)
    assert event.details["mail_id"] == three


def test_a_mail_that_waits_is_not_queued_twice(app: Flask, desk: PageClient, three: str) -> None:
    desk.submit(f"/admin/outbox/{three}/resend", "/admin/outbox?status=failed")
    token = desk.token("/account/password")
    with unchanged(app):
        again = desk.post(f"/admin/outbox/{three}/resend", data={"csrf_token": token})
        none = desk.post(f"/admin/outbox/{uuid4()}/resend", data={"csrf_token": token})
    assert "still waits to be sent" in desk.get(again.location).text
    assert none.status_code == 404


def test_an_empty_outbox_says_so(desk: PageClient) -> None:
    assert "No mail yet" in desk.get("/admin/outbox").text
