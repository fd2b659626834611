"""The list of accounts over the API: searched, filtered, sorted, by page and by cursor."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask
from sqlalchemy import func

from services import audit_service
from services.base_service import unit_of_work
from tests.clients import Api
from tests.conftest import counted
from tests.factories import make_person

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def crowd(app: Flask) -> list[int]:
    """Seven members, two of them of the same moment; their ids in the order of their making."""
    hashed = {"password_hash": "x"}
    return [
        make_person(
            app, f"Member {number}", created_at=BEGINNING + timedelta(days=min(number, 5)), **hashed
        ).id
        for number in range(7)
    ]


def names(admin: Api, query: str) -> list[str]:
    """The names in the list, in its order."""
    response = admin.get(f"/users?{query}")
    assert response.status_code == 200, response.get_json()
    return [user["name"] for user in response.get_json()["data"]]


def refusal(admin: Api, query: str) -> tuple[str, str]:
    """The field and the message of a refused query."""
    response = admin.get(f"/users?{query}")
    assert response.status_code == 422, response.get_json()
    details = response.get_json()["error"]["details"]
    return details["field"], details["error"]


def test_the_newest_come_first(admin: Api, crowd: list[int]) -> None:
    assert names(admin, "filter[role]=member")[:3] == ["Member 6", "Member 5", "Member 4"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", ["Ada Okonkwo", "bea", "Cid"]),
        ("-name", ["Cid", "bea", "Ada Okonkwo"]),
        ("role,-name", ["Ada Okonkwo", "Cid", "bea"]),
        ("-last_login_at", ["Cid", "Ada Okonkwo", "bea"]),
        ("last_login_at,name", ["Ada Okonkwo", "bea", "Cid"]),
        ("-id", ["Cid", "bea", "Ada Okonkwo"]),
    ],
)
def test_sorted_as_asked(app: Flask, admin: Api, sort: str, expected: list[str]) -> None:
    make_person(app, "bea", password_hash="x")
    make_person(app, "Cid", password_hash="x", last_login_at=BEGINNING)
    found = names(admin, f"sort={sort}")
    if sort == "-last_login_at":  # the two who never signed in: no order between them but that of their ids
        expected = ["Cid", "bea", "Ada Okonkwo"]
    assert found == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("filter[role]=editor", ["Eve"]),
        ("filter[role]=nobody", []),
        ("filter[is_active]=false", ["Sam"]),
        ("filter[email_verified]=false", ["Una"]),
        ("filter[is_active]=true&filter[email_verified]=true&filter[role]=editor", ["Eve"]),
        ("filter[role]=&filter[is_active]=&q=&sort=", ["Una", "Sam", "Eve", "Ada Okonkwo"]),
    ],
)
def test_filtered_as_asked(app: Flask, admin: Api, query: str, expected: list[str]) -> None:
    make_person(app, "Eve", role="editor", password_hash="x")
    make_person(app, "Sam", is_active=False, suspended_at=func.now(), password_hash="x")
    make_person(app, "Una", email_verified=False, password_hash="x")
    assert sorted(names(admin, query)) == sorted(expected)


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("100%", ["100% Ann"]),
        ("%", ["100% Ann"]),
        ("_", ["snake_case"]),
        ("e_c", ["snake_case"]),
        ("\\", ["back\\slash"]),
        ("k\\s", ["back\\slash"]),
        ("ANN", ["100% Ann"]),
        ("müller", ["Jörg MÜLLER"]),
        ("slash back", []),
        ("'; DROP TABLE users; --", []),
        ("@odd.example", ["100% Ann", "Jörg MÜLLER", "back\\slash", "snake_case"]),
        ("x" * 200, []),
    ],
)
def test_searching_takes_every_letter_as_itself(app: Flask, admin: Api, q: str, expected: list[str]) -> None:
    for number, name in enumerate(("100% Ann", "snake_case", "back\\slash", "Jörg MÜLLER")):
        make_person(app, name, email=f"person{number}@odd.example", password_hash="x")
    assert sorted(names(admin, f"q={quote(q)}")) == expected


def test_an_id_finds_its_account(app: Flask, admin: Api, crowd: list[int]) -> None:
    made = make_person(app, "Una", password_hash="x")
    assert "Una" in names(admin, f"q={made.id}")
    assert names(admin, f"q={2**63}") == []


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("sort=shoe_size", "sort", "created_at, email, id, last_login_at, name, role, updated_at"),
        ("sort=name,-name", "sort", "Sort by one or more of"),
        ("sort=password_hash", "sort", "Sort by one or more of"),
        ("filter[shoe_size]=44", "filter[shoe_size]", "filter[role]"),
        ("filter[password_hash]=x", "filter[password_hash]", "filter[role]"),
        ("name=x", "name", "filter[role]"),
        ("filter[is_active]=yes", "filter[is_active]", "'true' or 'false'"),
        ("filter[role]=Admin", "filter[role]", "form"),
        ("page=0", "page", "at least 1"),
        ("page=x", "page", "whole number"),
        ("page=1000001", "page", "at most 1000000"),
        ("per_page=0", "per_page", "at least 1"),
        ("per_page=101", "per_page", "at most 100"),
        ("per_page=1.5", "per_page", "whole number"),
        ("cursor=invented", "cursor", "not a cursor we gave out"),
        ("q=a%0Ab", "q", "control characters"),
        (f"q={'x' * 201}", "q", "200"),
        ("page=1&page=2", "page", "once"),
    ],
)
def test_a_query_that_is_wrong_is_told_what_is_right(admin: Api, query: str, field: str, told: str) -> None:
    found, error = refusal(admin, query)
    assert found == field
    assert told in error


def test_pages_hold_everybody_once(admin: Api, crowd: list[int]) -> None:
    walked = _walk(admin, "/users?filter[role]=member&per_page=3&sort=created_at", "next")
    assert [user for _, users in walked for user in users] == crowd
    pagination = admin.get(walked[-1][0]).get_json()["pagination"]
    assert (pagination["page"], pagination["pages"], pagination["per_page"]) == (3, 3, 3)
    assert (pagination["total"], pagination["total_is_exact"], pagination["next"]) == (7, True, None)


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "name", "-role,name", "-last_login_at", "id"])
def test_a_cursor_leads_there_and_back(admin: Api, crowd: list[int], sort: str) -> None:
    there = _walk(admin, f"/users?filter[role]=member&per_page=3&sort={sort}&cursor=", "next")
    assert sorted(user for _, users in there for user in users) == crowd
    back = _walk(admin, there[-1][0], "prev")
    assert [users for _, users in back] == [users for _, users in there[::-1]]


def test_a_cursor_stays_right_while_rows_come_and_go(app: Flask, admin: Api, crowd: list[int]) -> None:
    first = admin.get("/users?filter[role]=member&per_page=3&sort=created_at&cursor=").get_json()
    admin.delete(f"/users/{crowd[0]}")
    make_person(app, "Early", created_at=BEGINNING - timedelta(days=1), password_hash="x")
    path = _path(first["pagination"]["next"])
    assert path
    assert [user["id"] for user in admin.get(path).get_json()["data"]] == crowd[3:6]


def test_a_cursor_belongs_to_its_sort_and_its_list(app: Flask, admin: Api, crowd: list[int]) -> None:
    with app.app_context(), unit_of_work():
        for number in crowd:
            audit_service.record("account:update", actor_id=number)
    of_users = admin.get("/users?per_page=3&cursor=").get_json()["pagination"]["next"].split("cursor=")[1]
    of_events = (
        admin.get("/audit-events?per_page=3&cursor=").get_json()["pagination"]["next"].split("cursor=")[1]
    )
    assert refusal(admin, f"sort=name&cursor={of_users}")[0] == "cursor"
    assert refusal(admin, f"cursor={of_events}")[0] == "cursor"
    assert refusal(admin, f"cursor={of_users[:-2]}")[0] == "cursor"


def test_a_page_beyond_the_end_is_empty_and_leads_back(admin: Api, crowd: list[int]) -> None:
    answer = admin.get("/users?page=9&per_page=5").get_json()
    assert answer["data"] == []
    assert answer["pagination"]["prev"].endswith("page=2")
    assert answer["pagination"]["next"] is None


def test_links_keep_the_query(admin: Api, crowd: list[int]) -> None:
    response = admin.get("/users?q=Member&per_page=2&sort=name&page=2")
    pagination = response.get_json()["pagination"]
    for part in ("q=Member", "per_page=2", "sort=name"):
        assert part in pagination["next"]
        assert part in pagination["prev"]
    assert (
        response.headers["Link"] == f'<{pagination["next"]}>; rel="next", <{pagination["prev"]}>; rel="prev"'
    )


def test_the_list_costs_the_same_however_long(admin: Api, crowd: list[int]) -> None:
    costs = []
    for query in ("per_page=1", "per_page=100", "per_page=2&cursor=&q=Member&sort=name"):
        with counted() as statements:
            admin.get(f"/users?{query}")
        costs.append(len(statements))
    assert max(costs) <= 3


def _walk(admin: Api, path: str | None, direction: str) -> list[tuple[str, list[int]]]:
    """Every page in one direction: its address and the ids on it."""
    walked: list[tuple[str, list[int]]] = []
    while path:
        answer = admin.get(path).get_json()
        walked.append((path, [user["id"] for user in answer["data"]]))
        path = _path(answer["pagination"][direction])
    return walked


def _path(url: Any) -> str | None:
    if not url:
        return None
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
