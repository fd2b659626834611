"""The audit log on its page: filtered, walked through, taken away as CSV."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from models import AuditEvent, User, db
from services import audit_service
from services.base_service import unit_of_work
from tests.clients import Api, PageClient
from tests.conftest import counted
from tests.factories import Person


@pytest.fixture
def history(app: Flask, alice: Person, bob: Person) -> None:
    """Five events of known days: Alice's failed and good sign-in, Bob's role, and two of Alice about Bob."""
    happened = [
        ("account:login:failure", None, alice.id, datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("account:login:success", alice.id, alice.id, datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)),
        ("account:role:change", None, bob.id, datetime(2026, 3, 2, tzinfo=UTC)),
        ("account:update", alice.id, bob.id, datetime(2026, 3, 3, tzinfo=UTC)),
        ("account:suspend", alice.id, bob.id, datetime(2026, 3, 4, tzinfo=UTC)),
    ]
    with app.app_context(), unit_of_work():
        for action, actor_id, target_id, created_at in happened:
            db.session.add(
                AuditEvent(
                    action=action, actor_id=actor_id, target_id=target_id, created_at=created_at, details={}
                )
            )


def actions(client: PageClient, query: str = "") -> list[str]:
    """The codes in the list, in its order."""
    response = client.get(f"/admin/audit{query}")
    assert response.status_code == 200
    return re.findall(r'<code class="faint">([^<]+)</code>', response.text)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "",
            [
                "account:suspend",
                "account:update",
                "account:role:change",
                "account:login:success",
                "account:login:failure",
            ],
        ),
        ("?action=account:login", ["account:login:success", "account:login:failure"]),
        ("?action=account:login:failure", ["account:login:failure"]),
        ("?action=account:log", []),
        ("?actor={alice}", ["account:suspend", "account:update", "account:login:success"]),
        ("?target={bob}", ["account:suspend", "account:update", "account:role:change"]),
        ("?actor={alice}&target={bob}&from=2026-03-04", ["account:suspend"]),
        ("?from=2026-03-02&to=2026-03-03", ["account:update", "account:role:change"]),
        ("?to=2026-03-01", ["account:login:success", "account:login:failure"]),
        ("?to=2026-03-01T12:00:00Z", ["account:login:failure"]),
        (
            "?from=&to=&actor=&target=&action=",
            [
                "account:suspend",
                "account:update",
                "account:role:change",
                "account:login:success",
                "account:login:failure",
            ],
        ),
    ],
)
def test_filters_show_what_fits(
    desk: PageClient, alice: Person, bob: Person, query: str, expected: list[str]
) -> None:
    assert actions(desk, query.format(alice=alice.id, bob=bob.id)) == expected


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?actor=x", "Who (id): Must be a whole number"),
        ("?actor=0", "Who (id): Must be at least 1"),
        ("?target=9223372036854775808", "To whom (id): Must be at most"),
        ("?target=99999999999999999999999999", "To whom (id):"),
        ("?from=yesterday", "From: Use a date such as"),
        ("?from=2026-02-30", "From: There is no such date"),
        ("?to=2026-02-30", "To: There is no such date"),
        ("?to=9999-12-31", "To: There is no such date"),
        ("?to=tomorrow", "To: Use a date such as"),
        ("?action=Robert');--", "Event: Has the wrong form"),
    ],
)
def test_a_filter_that_is_wrong_is_told_and_left_out(desk: PageClient, query: str, told: str) -> None:
    response = desk.get(f"/admin/audit{query}")
    assert response.status_code == 200
    assert told in response.text.replace("&#39;", "'")
    assert len(actions(desk, query)) == 5


@pytest.mark.usefixtures("history")
def test_a_place_that_is_wrong_leads_to_the_beginning(api: Api, ada: Person, desk: PageClient) -> None:
    of_users = (
        api.as_(ada).get("/users?per_page=1&cursor=").get_json()["pagination"]["next"].split("cursor=")[1]
    )
    for query in ("?cursor=invented", f"?cursor={of_users}", "?page=7", "?sort=shoe_size", "?cursor=%C3%A4"):
        assert len(actions(desk, query)) == 5, query


def test_a_long_log_is_walked_there_and_back(app: Flask, desk: PageClient, bob: Person) -> None:
    with app.app_context(), unit_of_work():
        for number in range(120):
            audit_service.record("account:update", actor_id=None, target_id=bob.id, number=number)
    seen: list[str] = []
    path, page, pages = f"/admin/audit?target={bob.id}", "", 0
    while path:
        page = desk.get(path).text
        seen += re.findall(r"number: (\d+)", page)
        older = re.search(r'href="([^"]+)" rel="next"', page)
        path, pages = (older[1].replace("&amp;", "&") if older else ""), pages + 1
    assert seen == [str(number) for number in range(119, -1, -1)]
    assert pages == 3
    newer = re.search(r'href="([^"]+)" rel="prev"', page)
    assert newer
    assert f"target={bob.id}" in newer[1]
    back = desk.get(newer[1].replace("&amp;", "&")).text
    assert re.findall(r"number: (\d+)", back) == [str(number) for number in range(69, 19, -1)]


@pytest.mark.usefixtures("history")
def test_the_log_costs_the_same_however_long(desk: PageClient) -> None:
    with counted() as statements:
        desk.get("/admin/audit")
    assert len(statements) <= 3


def test_people_who_are_gone_keep_their_numbers(app: Flask, desk: PageClient, bob: Person) -> None:
    with app.app_context(), unit_of_work():
        audit_service.record("account:update", actor_id=bob.id, target_id=bob.id, before={"name": "<i>x</i>"})
        db.session.delete(db.session.get_one(User, bob.id))
    page = desk.get("/admin/audit").text
    assert f"User {bob.id}" in page
    assert "&lt;i&gt;x&lt;/i&gt;" in page


def test_an_action_of_former_times_is_shown_by_its_code(app: Flask, desk: PageClient) -> None:
    with app.app_context(), unit_of_work():
        db.session.execute(text("INSERT INTO audit_events (action) VALUES ('shop:sold')"))
    assert actions(desk) == ["shop:sold"]


@pytest.mark.usefixtures("history")
def test_the_csv_holds_the_filter_that_is_seen(desk: PageClient, bob: Person) -> None:
    page = desk.get(f"/admin/audit?target={bob.id}&to=2026-03-03").text
    href = re.search(r'href="(/admin/audit\.csv[^"]*)"', page)
    assert href
    response = desk.get(href[1].replace("&amp;", "&"))
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r"attachment; filename=audit-log-\d{4}-\d\d-\d\d\.csv", response.headers["Content-Disposition"]
    )
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["action"] for row in rows] == ["account:update", "account:role:change"]
    assert rows[0]["created_at"] == "2026-03-03T00:00:00Z"


def test_the_csv_is_defused_and_its_details_are_json(app: Flask, desk: PageClient) -> None:
    with app.app_context(), unit_of_work():
        event = AuditEvent(
            action="account:update",
            user_agent="=cmd|' /C calc'!A0",
            ip="@x",
            details={"after": {"name": "Zoë"}},
        )
        event.created_at = datetime.now(UTC) + timedelta(days=1)
        db.session.add(event)
    row = next(csv.DictReader(io.StringIO(desk.get("/admin/audit.csv").text)))
    assert row["user_agent"] == "'=cmd|' /C calc'!A0"
    assert row["ip"] == "'@x"
    assert json.loads(row["details"]) == {"after": {"name": "Zoë"}}


def test_the_csv_of_a_filter_that_is_wrong_is_the_page_that_says_so(desk: PageClient) -> None:
    response = desk.get("/admin/audit.csv?actor=x")
    assert (response.status_code, response.location) == (303, "/admin/audit?actor=x")


def test_an_empty_filter_says_so(desk: PageClient) -> None:
    assert "Nothing found" in desk.get("/admin/audit?actor=12345678").text
