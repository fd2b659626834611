"""What nobody may read: secrets in logs and events, and in answers why something failed (A51, A109 to A111)."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from blueprints.http import logs
from models import db
from services import worker
from tests.clients import Api, PageClient
from tests.factories import Person
from tests.integration.api.test_access import routes
from tests.integration.api.test_second_factor import challenge, code_of, enrolled, verify
from tests.integration.pages.desk import NEW_PASSWORD, link_to, token_of
from tests.integration.pages.test_csrf import pages

pytestmark = pytest.mark.usefixtures("early_in_a_step")

CANARY = "canary-9f4e7a-canary"


@pytest.fixture
def log(app: Flask) -> Iterator[io.StringIO]:
    """Every line of the process, down to the chattiest level."""
    root = logging.getLogger()
    (handler,) = (one for one in root.handlers if isinstance(one, logs.StreamLines))
    kept, level, handler.stream = handler.stream, root.level, io.StringIO()
    root.setLevel(logging.DEBUG)
    yield handler.stream
    root.setLevel(level)
    handler.stream = kept


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def events_of(app: Flask) -> str:
    with app.app_context():
        return " ".join(db.session.scalars(text("SELECT e::text FROM audit_events e")))


@pytest.mark.real_database
def test_no_secret_is_in_a_log_line_or_an_event(
    app: Flask, client: PageClient, api: Api, alice: Person, log: io.StringIO
) -> None:
    secrets = {"password": alice.password, "new password": NEW_PASSWORD, "canary": CANARY}
    client.sign_in(alice)
    cookie = client.get_cookie("session")
    assert cookie is not None
    secrets["cookie"] = cookie.value
    seed, codes = enrolled(api, alice)
    secrets |= {"seed": seed, "recovery code": codes[0]}
    secrets["challenge"] = challenge(api, alice)
    pair = verify(api, secrets["challenge"], code=code_of(seed)).json["data"]
    secrets |= {"access": pair["access_token"], "refresh": pair["refresh_token"]}
    verify(api, challenge(api, alice), recovery_code=codes[0])
    mine = Api(app, pair["access_token"])
    secrets["key"] = mine.post("/users/me/api-keys", {"name": "x", "scopes": []}).json["data"]["key"]
    Api(app, secrets["key"]).get("/users/me")
    api.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})
    api.post("/auth/password/forgot", {"email": alice.email})
    secrets["link"] = token_of(link_to(app, alice.email, "/auth/reset-password"))
    client.get(f"/auth/reset-password?token={secrets['link']}")
    client.post("/auth/reset-password", json={"token": secrets["link"], "password": NEW_PASSWORD})
    for wrong in (CANARY, [CANARY], {CANARY: CANARY}):
        api.post("/auth/login", {"email": alice.email, "password": wrong})
        api.post("/auth/login/verify", {"challenge_token": wrong, "code": CANARY})
    api.get(f"/users/me?access_token={CANARY}", headers={"Authorization": f"Bearer {CANARY}"})
    api.call("POST", "/auth/login", data=CANARY, headers={"Content-Type": "application/json"})
    client.get(f"/auth/login?token={CANARY}&next=/{CANARY}", headers={"Cookie": f"session={CANARY}"})
    with app.app_context():
        worker.purge()
    assert any(line["event"] == "request" for line in lines(log))
    written, recorded = log.getvalue(), events_of(app)
    assert {name for name, secret in secrets.items() if secret in written} == set()
    assert {name for name, secret in secrets.items() if secret in recorded} == set()


@pytest.mark.parametrize(
    "odd",
    [
        "\r\nforged: line",
        "\x1b[31mred\x1b[0m",
        '","level":"critical","x":"',
        "\u2028",
        "{}\n{}",
        "%0d%0aforged",
        "\ufeff",
    ],
)
def test_every_event_is_one_line_whatever_it_says(
    app: Flask, client: PageClient, api: Api, alice: Person, log: io.StringIO, odd: str
) -> None:
    agent = odd.encode("utf-8").decode("latin-1").replace("\r", " ").replace("\n", " ")
    client.get("/nope/" + odd, headers={"User-Agent": agent})
    api.post("/auth/login", {"email": alice.email, "password": odd})
    api.post("/auth/login", {"email": f"{odd}@example.com", "password": "x"})
    client.submit("/auth/login", email=odd, password=odd)
    found = lines(log)
    assert len(found) == len([line for line in found if line["event"]])
    assert not [line for line in found if line["level"] == "critical"]
    assert not [char for char in log.getvalue() if ord(char) < 32 and char != "\n"]
    assert "\u2028" not in log.getvalue()
    assert "\x1b" not in events_of(app)


class Broken(Exception):
    """With everything in its words that an attacker would like to read."""


SECRET_WORDS = f"psycopg2.errors at /srv/portico/services/x.py SELECT * FROM users WHERE {CANARY}"


@pytest.mark.real_database
def test_a_fault_of_ours_tells_its_number_and_nothing_else(
    app: Flask, client: PageClient, api: Api, ada: Person, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every view in turn breaks; the answer is a 500 with the id that the log has (A111, ASVS 16.5.1)."""
    client.sign_in(ada)
    mine = api.as_(ada)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise Broken(SECRET_WORDS)

    seen: dict[str, tuple[int, str]] = {}
    with monkeypatch.context() as broken:
        broken.setattr(type(app), "dispatch_request", fail)
        for path in sorted({*pages(app, "GET"), "/health/database"}):
            answer = client.get(path)
            seen[path] = answer.status_code, answer.get_data(as_text=True)
        for route in routes(app):
            answer = mine.call(route.method, route.path(ada), json=route.body)
            seen[f"{route.method} {route.pattern}"] = answer.status_code, answer.get_data(as_text=True)
            assert answer.json["error"]["code"] == "INTERNAL_ERROR"
            assert answer.json["error"]["request_id"] == answer.headers["X-Request-ID"]
    assert len(seen) > 60
    assert {path for path, (status, _) in seen.items() if status != 500} == set()
    told = "\n".join(body for _, body in seen.values())
    for word in (CANARY, "Broken", "psycopg2", "SELECT", "Traceback", "services/", ".py"):
        assert word not in told, word
    logged = [line for line in lines(log) if line["event"] == "unhandled_exception"]
    assert len(logged) == len(seen)
    assert all(line["request_id"] for line in logged)
