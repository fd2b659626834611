"""The list of accounts: searched, filtered, sorted, paged, taken away as CSV."""

import csv
import io
import re

import pytest
from flask import Flask
from sqlalchemy import func

from tests.clients import PageClient
from tests.conftest import counted
from tests.factories import make_person


def names(client: PageClient, query: str = "") -> list[str]:
    """The names in the list, in its order."""
    response = client.get(f"/admin/users{query}")
    assert response.status_code == 200
    return re.findall(r'<a class="person__name" href="/admin/users/\d+">([^<]*)</a>', response.text)


@pytest.fixture
def crowd(app: Flask) -> None:
    """Forty-five members."""
    for number in range(45):
        make_person(app, f"Member {number:02}", password_hash="x")


@pytest.fixture
def states(app: Flask) -> None:
    """One account of each state."""
    make_person(app, "Eve", role="editor", password_hash="x")
    make_person(app, "Sam", is_active=False, suspended_at=func.now(), password_hash="x")
    make_person(app, "Una", email_verified=False, password_hash="x")
    make_person(app, "Sue", is_active=False, suspended_at=func.now(), email_verified=False, password_hash="x")


@pytest.mark.usefixtures("crowd")
def test_a_page_holds_twenty_and_leads_on(desk: PageClient) -> None:
    assert len(names(desk)) == 20
    page = desk.get("/admin/users?page=2&q=Member&sort=name")
    assert "21–40 of 45 users" in page.text
    assert 'href="/admin/users?q=Member&amp;sort=name&amp;page=3"' in page.text
    assert 'href="/admin/users?q=Member&amp;sort=name&amp;page=1" rel="prev"' in page.text
    assert names(desk, "?page=3&q=Member&sort=name") == [f"Member {number}" for number in range(40, 45)]


@pytest.mark.usefixtures("crowd")
def test_the_list_costs_four_statements_however_long(desk: PageClient) -> None:
    for query in ("", "?q=Member&role=member&status=active&sort=-name&page=2"):
        with counted() as statements:
            desk.get(f"/admin/users{query}")
        assert len(statements) <= 4, statements


@pytest.mark.usefixtures("states")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?status=active", ["Ada Okonkwo", "Eve"]),
        ("?status=suspended", ["Sam", "Sue"]),
        ("?status=unverified", ["Una"]),
        ("?role=editor", ["Eve"]),
        ("?q=sa", ["Sam"]),
        ("?q=%25", []),
        ("?q=_", []),
        ("?q=%5C", []),
        ("?role=member&status=suspended&q=s", ["Sam", "Sue"]),
        ("?role=&status=&q=", ["Ada Okonkwo", "Eve", "Sam", "Sue", "Una"]),
    ],
)
def test_filters_show_who_fits(desk: PageClient, query: str, expected: list[str]) -> None:
    assert sorted(names(desk, query)) == expected


@pytest.mark.usefixtures("states")
def test_the_states_in_the_list_are_the_states_of_the_filter(desk: PageClient) -> None:
    for status in ("active", "suspended", "unverified"):
        page = desk.get(f"/admin/users?status={status}").text
        rows = page.split("<tbody")[1].split("</tbody>")[0]
        shown = set(re.findall(r"\b(Active|Suspended|Unverified)\b", rows))
        assert shown == {status.capitalize()}


@pytest.mark.usefixtures("states")
def test_sorting_turns_around(desk: PageClient) -> None:
    assert names(desk, "?sort=name") == ["Ada Okonkwo", "Eve", "Sam", "Sue", "Una"]
    assert names(desk, "?sort=-name") == ["Una", "Sue", "Sam", "Eve", "Ada Okonkwo"]
    page = desk.get("/admin/users?sort=name&status=suspended").text
    assert 'aria-sort="ascending"' in page
    assert 'href="/admin/users?sort=-name&amp;status=suspended"' in page


@pytest.mark.usefixtures("states")
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?role=king", "Role: Must be one of: admin, editor, member"),
        ("?role=Admin", "Role: Must be one of"),
        ("?status=dead", "Status: Must be one of: active, unverified, suspended"),
        (f"?q={'x' * 201}", "Search: Use at most 200 characters"),
        ("?q=%E2%80%AEx", "Search: Leave out line breaks and control characters"),
    ],
)
def test_a_filter_that_is_wrong_is_told_and_left_out(desk: PageClient, query: str, told: str) -> None:
    response = desk.get(f"/admin/users{query}")
    assert response.status_code == 200
    assert told in response.text
    assert "<title>Error: Users" in response.text
    assert len(names(desk, query)) == 5


@pytest.mark.usefixtures("states")
@pytest.mark.parametrize(
    "query",
    [
        "?page=0",
        "?page=-1",
        "?page=x",
        "?page=99",
        "?page=1000000",
        "?page=99999999999999999999",
        "?sort=shoe_size",
        "?sort=name,,",
        "?sort=-",
        "?cursor=invented",
        "?page=1&page=2",
        "?q=&q=x",
        "?filter[role]=king",
        "?per_page=100000",
        "?unknown=1",
        "?page=١",
    ],
)
def test_a_place_that_is_wrong_leads_to_one_that_is_there(desk: PageClient, query: str) -> None:
    assert len(names(desk, query)) == 5


@pytest.mark.usefixtures("crowd")
def test_beyond_the_end_is_the_last_page(desk: PageClient) -> None:
    assert names(desk, "?q=Member&sort=name&page=50") == [f"Member {number}" for number in range(40, 45)]


def test_a_query_that_nobody_can_read_is_a_page_of_its_own(desk: PageClient) -> None:
    for query in ("q=%00", "q=%FF", f"q={'x' * 5000}"):
        response = desk.get(f"/admin/users?{query}")
        assert (response.status_code, response.mimetype) == (400, "text/html")


def test_nobody_found_says_so_and_leads_back(desk: PageClient) -> None:
    page = desk.get("/admin/users?q=<script>alert(1)</script>").text
    assert "Nobody found" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page


def test_names_are_shown_as_they_are(app: Flask, desk: PageClient) -> None:
    made = make_person(app, '<b>Bobby</b> & "Tables" {{ 7*7 }}', password_hash="x")
    for path in ("/admin/users", f"/admin/users/{made.id}", f"/admin/users/{made.id}/delete"):
        page = desk.get(path).text
        assert "&lt;b&gt;Bobby&lt;/b&gt; &amp; &#34;Tables&#34; {{ 7*7 }}" in page
        assert "<b>Bobby" not in page
        assert "&amp;lt;" not in page  # the initials


# -------------------------------------------------------------------------------------------------------------- CSV


def rows(text: str) -> list[dict[str, str]]:
    """A CSV file as a spreadsheet reads it."""
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.usefixtures("states")
def test_the_csv_holds_the_filter_that_is_seen(desk: PageClient) -> None:
    page = desk.get("/admin/users?status=suspended&q=s&sort=name&page=1").text
    href = re.search(r'href="(/admin/users\.csv[^"]*)"', page)
    assert href
    response = desk.get(href[1].replace("&amp;", "&"))
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r"attachment; filename=users-\d{4}-\d\d-\d\d\.csv", response.headers["Content-Disposition"]
    )
    assert sorted(row["name"] for row in rows(response.text)) == ["Sam", "Sue"]
    assert {row["is_active"] for row in rows(response.text)} == {"false"}


def test_the_csv_holds_everybody_not_a_page(app: Flask, desk: PageClient) -> None:
    for number in range(150):
        make_person(app, f"Member {number}", password_hash="x")
    with counted() as statements:
        response = desk.get("/admin/users.csv")
    assert len(rows(response.text)) == 151
    assert len(statements) <= 3


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", '=HYPERLINK("http://x")', '",=1+1']
)
def test_formulas_are_defused(app: Flask, desk: PageClient, name: str) -> None:
    make_person(app, name, email="odd@example.com", password_hash="x")
    found = next(row for row in rows(desk.get("/admin/users.csv").text) if row["email"] == "odd@example.com")
    assert found["name"] == (name if name.startswith('"') else f"'{name}")


def test_the_csv_of_a_filter_that_is_wrong_is_the_page_that_says_so(desk: PageClient) -> None:
    response = desk.get("/admin/users.csv?role=king&q=x")
    assert (response.status_code, response.location) == (303, "/admin/users?q=x&role=king")


def test_a_lookalike_domain_is_told_by_its_other_spelling(app: Flask, desk: PageClient) -> None:
    """A3: `а` of the Cyrillic alphabet in the place of `a`."""
    twin = make_person(app, "Alice Twin", email="alice@ex\u0430mple.com")
    make_person(app, "Alice True", email="alice@example.com")
    for path in ("/admin/users", f"/admin/users/{twin.id}"):
        page = desk.get(path).text
        assert "(xn--exmple-4nf.com)" in page
    assert desk.get("/admin/users").text.count("(xn--") == 1
