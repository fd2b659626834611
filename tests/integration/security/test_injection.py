"""What attackers write into fields, addresses and headers is text, or refused (A62, A103 to A106)."""

import time
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import event

from models import db
from tests.clients import Api, PageClient
from tests.factories import Person

SQL = [
    "'",
    "''",
    "' OR '1'='1",
    "' OR 1=1 --",
    "'; DROP TABLE users; --",
    "1; SELECT pg_sleep(5)",
    "' UNION SELECT password_hash FROM users --",
    "\\'; --",
    "$$; SELECT 1; $$",
    "%27%20OR%201=1",
    "name); DELETE FROM users; --",
    "-created_at, (SELECT 1)",
    "CASE WHEN (1=1) THEN name ELSE email END",
    "E'\\x27'",
    "\uff07 OR 1=1",
]
SCRIPTS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</title><svg/onload=alert(1)>",
    "{{7*7}}${7*7}#{7*7}",
    "{0.__class__}",
    "javascript:alert(1)",
    "<!--<script>",
    "]]><script>",
    "&lt;script&gt;",
]


@pytest.fixture
def complaints(app: Flask) -> Iterator[list[str]]:
    """What the database would not understand: each a place where text had become part of a statement."""
    found: list[str] = []

    def note(context: object) -> None:
        found.append(str(getattr(context, "original_exception", context)))

    with app.app_context():
        engine = db.engines["reading"].engine
    event.listen(engine, "handle_error", note)
    yield found
    event.remove(engine, "handle_error", note)


@pytest.mark.parametrize("attack", SQL)
def test_sql_is_text_wherever_it_stands(
    client: PageClient, api: Api, ada: Person, complaints: list[str], attack: str
) -> None:
    mine = api.as_(ada)
    began = time.process_time()
    answers = [mine.get("/users", query_string={name: attack}) for name in ("q", "sort", "cursor", "page")]
    answers += [mine.get("/users", query_string={"filter[role]": attack, "filter[status]": attack})]
    answers += [mine.get("/audit-events", query_string={"filter[action]": attack, "filter[from]": attack})]
    answers += [
        mine.get(f"/users/{attack}"),
        mine.get(f"/roles/{attack}"),
        mine.get(f"/users/me/sessions/{attack}"),
    ]
    answers += [api.post("/auth/login", {"email": attack, "password": attack})]
    answers += [api.post("/auth/login", {"email": f"a{attack}@example.com", "password": attack})]
    answers += [mine.patch("/users/me", {"name": attack})]
    answers += [mine.post("/roles", {"name": attack, "description": attack, "permissions": [attack]})]
    odd = attack.encode("ascii", "replace").decode()
    answers += [api.get("/users/me", headers={"Authorization": f"Bearer {odd}"})]
    answers += [mine.get("/users", headers={"If-None-Match": odd, "X-Request-ID": odd, "User-Agent": odd})]
    answers += [mine.post("/auth/logout", headers={"Idempotency-Key": odd})]
    client.set_cookie("session", odd)
    client.set_cookie("device", odd)
    answers += [
        client.get("/dashboard"),
        client.get("/admin/users", query_string={"q": attack, "sort": attack}),
    ]
    assert complaints == []
    assert {answer.status_code for answer in answers if answer.status_code >= 500} == set()
    assert time.process_time() - began < 5


def test_a_complaint_of_the_database_would_be_noticed(app: Flask, complaints: list[str]) -> None:
    with app.app_context(), pytest.raises(Exception, match="SyntaxError"):
        db.session.execute(db.text("SELECT ' FROM"))
    assert len(complaints) == 1


@pytest.mark.parametrize("attack", SCRIPTS)
def test_markup_is_text_on_every_page_that_shows_it(
    client: PageClient, api: Api, ada: Person, bob: Person, attack: str
) -> None:
    """Names, device names, reasons and what was searched for, in elements and in attributes."""
    assert api.as_(bob).patch("/users/me", {"name": attack}).status_code == 200
    body = {"email": bob.email, "password": bob.password, "device_name": attack}
    assert api.post("/auth/login", body, headers={"User-Agent": attack}).status_code == 200
    assert api.as_(ada).post(f"/users/{bob.id}/suspend", {"reason": attack}).status_code == 200
    client.sign_in(ada)
    for path in (
        "/admin/users",
        f"/admin/users/{bob.id}",
        f"/admin/users/{bob.id}/suspend",
        f"/admin/users/{bob.id}/delete",
        "/admin/audit",
        "/dashboard",
    ):
        page = client.get(path, query_string={"q": attack}).get_data(as_text=True)
        for piece in (
            "<script>alert",
            "<img src=x",
            "<svg/onload",
            "<!--<script",
            "]]><script",
            ">49<",
            "<class",
        ):
            assert piece not in page, path
    shown = client.get(f"/admin/users/{bob.id}").get_data(as_text=True)
    assert (
        attack.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&#34;")
        .replace("'", "&#39;")
        in shown
    )


def test_a_long_search_is_answered_or_refused_at_once(api: Api, ada: Person) -> None:
    mine = api.as_(ada)
    for text in ("a" * 10_000, "%" * 10_000, "(" * 10_000, "a b " * 2_500, "x" * 100, "_" * 100, "\\" * 100):
        began = time.process_time()
        assert mine.get("/users", query_string={"q": text}).status_code in {200, 400, 422}
        assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "fields",
    [
        {f"f{number}": "x" for number in range(10_000)},
        {"email": "x" * 70_000},
        {"email": ["a@example.com"] * 1_000},
    ],
    ids=["ten thousand fields", "a long field", "one field a thousand times"],
)
def test_too_much_in_a_form_is_refused_early(client: PageClient, fields: dict[str, str]) -> None:
    token = client.token()
    began = time.process_time()
    answer = client.post("/auth/login", data={"csrf_token": token, **fields})
    assert answer.status_code in {413, 422}
    assert time.process_time() - began < 0.5


def test_a_thousand_parts_are_too_many(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="f{number}"\r\n\r\ny\r\n' for number in range(1_000)
    )
    answer = client.post(
        "/account/picture", data=f"{parts}--x--\r\n", content_type="multipart/form-data; boundary=x"
    )
    assert answer.status_code == 413
