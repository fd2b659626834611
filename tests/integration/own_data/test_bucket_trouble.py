"""A bucket that hangs, drips, redirects or is somebody else: 503 in time, nothing changed, and the site goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import update

from models import User, db
from models.base import now
from services import deletion_service, export_service, media_service
from services.base_service import unit_of_work
from services.errors import Unavailable
from services.media_stores import calls
from services.media_stores.bucket import Bucket
from tests.clients import Api
from tests.factories import Person, make_person
from tests.integration.own_data.peers import Behaviour, Peer, answers, drips, peer, says_nothing, sends
from tests.integration.own_data.pictures import name_of, picture, put, work_off
from tests.state import unchanged

BUCKET = "portico-pictures"
NAME = "0" * 32
FILE = f"{NAME}-64.webp"
HTML = b"<!doctype html><html><body>Sign in to the guest network</body></html>"
XML = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><p>Welcome</p></body></html>'
ELSEWHERE = (
    b"<?xml version='1.0'?><Error><Code>TemporaryRedirect</Code><Endpoint>127.0.0.1:9</Endpoint></Error>"
)
SLOW: dict[str, Behaviour] = {
    "says nothing": says_nothing,
    "drips its headers": drips(b"HTTP/1.1 200 OK\r\nX-Slow: "),
    "drips its body": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
}
LIES: dict[str, Behaviour] = {
    "307": answers("307 Temporary Redirect", "Location: http://127.0.0.1:9/elsewhere"),
    "307 without a place": answers("307 Temporary Redirect"),
    "307 of S3": answers(
        "307 Temporary Redirect",
        "Location: http://127.0.0.1:9/",
        "Content-Type: application/xml",
        body=ELSEWHERE,
    ),
    "301 to another region": answers("301 Moved Permanently", "x-amz-bucket-region: eu-west-9", body=b""),
    "302": answers("302 Found", "Location: http://127.0.0.1:9/login", body=HTML),
    "HTML": answers("200 OK", "Content-Type: text/html", body=HTML),
    "HTML with a sum": answers("200 OK", 'ETag: "5d41402abc4b2a76b9719d911017c592"', body=HTML),
    "XHTML": answers("200 OK", "Content-Type: application/xhtml+xml", body=XHTML),
    "nothing": answers("200 OK"),
    "403 of S3": answers("403 Forbidden", "Content-Type: application/xml", body=XML),
    "403 of a proxy": answers("403 Forbidden", "Content-Type: text/html", body=HTML),
    "404 of a proxy": answers("404 Not Found", "Content-Type: text/html", body=HTML),
    "407": answers("407 Proxy Authentication Required", body=HTML),
    "500": answers("500 Internal Server Error", body=HTML),
    "a picture, always the same": answers("200 OK", body=picture("WEBP", (9, 9))),
    "half a file": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nRIFF"),
    "no HTTP": sends(b"\x16\x03\x01\x02\x00\x01"),
    "nothing at all": sends(b""),
    "too much": answers("200 OK", body=b"x" * 3_000_000),
}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of a second instead of five."""
    monkeypatch.setattr(calls, "SECONDS", 1.0)
    monkeypatch.setattr(calls, "PAUSE_SECONDS", 0.2)


@pytest.fixture
def kept_by(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[Behaviour], Any]:
    """Have a server of this behaviour be the bucket, for a block."""

    @contextmanager
    def keeping(behave: Behaviour) -> Iterator[Peer]:
        with peer(behave) as made, monkeypatch.context() as changed:
            changed.setitem(app.extensions, "media_store", Bucket(BUCKET, "eu-central-1", made.url))
            yield made

    return keeping


@pytest.fixture
def pictured(app: Flask, alice: Person) -> Person:
    """Alice, who has a picture."""
    with app.app_context(), unit_of_work():
        db.session.execute(update(User).where(User.id == alice.id).values(picture=NAME))
    return alice


def show(app: Flask, file: str = FILE) -> Any:
    return app.test_client().get(f"/media/{file}")


@pytest.mark.parametrize("name", LIES)
def test_lie_is_no_picture_that_was_kept(
    app: Flask, api: Api, alice: Person, kept_by: Any, quick: None, name: str
) -> None:
    caller = api.as_(alice)
    with kept_by(LIES[name]), unchanged(app):
        answer = put(caller, picture())
    assert answer.status_code == 503
    assert answer.json["error"]["code"] == "UNAVAILABLE"
    assert answer.headers["Retry-After"]
    assert name_of(app, alice) is None


@pytest.mark.parametrize("name", LIES)
def test_lie_is_neither_shown_nor_taken_for_a_removal_or_a_list(
    app: Flask, pictured: Person, kept_by: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(calls, "PAUSE_SECONDS", 0.0)  # or only the first would ask
    with kept_by(LIES[name]) as server, app.app_context():
        with pytest.raises(Unavailable):
            media_service.remove(NAME)
        with pytest.raises(Unavailable):
            media_service.names_older_than(timedelta(hours=1))
        assert server.connections > 1
        answer = show(app)
    if name == "a picture, always the same":
        return
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert b"guest network" not in answer.data


@pytest.mark.parametrize("name", SLOW)
def test_slow_bucket_is_given_up_in_time(
    app: Flask, pictured: Person, kept_by: Any, quick: None, name: str
) -> None:
    with kept_by(SLOW[name]) as server:
        began = time.monotonic()
        assert show(app).status_code == 503
        assert time.monotonic() - began < 5
        until(lambda: server.open_connections() == 0)  # nobody reads on


@pytest.mark.parametrize("name", SLOW)
def test_nothing_is_kept_by_a_slow_bucket(
    app: Flask, api: Api, alice: Person, kept_by: Any, quick: None, name: str
) -> None:
    caller = api.as_(alice)
    with kept_by(SLOW[name]), unchanged(app):
        assert put(caller, picture()).status_code == 503


def test_few_wait_for_a_bucket_that_hangs(app: Flask, kept_by: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SECONDS", 3.0)
    monkeypatch.setattr(calls, "TURN_SECONDS", 0.1)
    took: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        with app.app_context(), pytest.raises(Unavailable):
            media_service.read(FILE)
        took.append(time.monotonic() - began)

    with kept_by(says_nothing) as server:
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert server.connections == calls.AT_ONCE
    assert len(took) == 20
    assert sorted(took)[20 - calls.AT_ONCE - 1] < 2


def test_nobody_waits_once_somebody_waited_in_vain(
    app: Flask, kept_by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "TURN_SECONDS", 1.0)

    def ask() -> float:
        began = time.monotonic()
        with app.app_context(), pytest.raises(Unavailable):
            media_service.read(FILE)
        return time.monotonic() - began

    with kept_by(says_nothing) as server:
        threads = [threading.Thread(target=ask) for _ in range(calls.AT_ONCE)]
        for thread in threads:
            thread.start()
        until(lambda: server.connections == calls.AT_ONCE)
        assert ask() >= 1.0
        assert ask() < 0.5
        for thread in threads:
            thread.join(30)


def test_nobody_asks_right_after_a_failure(app: Flask, kept_by: Any, quick: None) -> None:
    with kept_by(says_nothing) as server, app.app_context():
        for _ in range(5):
            with pytest.raises(Unavailable):
                media_service.read(FILE)
        assert server.connections == 1
        time.sleep(calls.PAUSE_SECONDS)
        with pytest.raises(Unavailable):
            media_service.read(FILE)
        assert server.connections == 2


def test_bucket_that_comes_back_is_used_again(app: Flask, kept_by: Any, quick: None) -> None:
    made = picture("WEBP", (9, 9))
    with kept_by(says_nothing) as server, app.app_context():
        with pytest.raises(Unavailable):
            media_service.read(FILE)
        server.behave = answers("200 OK", body=made)
        time.sleep(calls.PAUSE_SECONDS)
        for _ in range(3):
            assert media_service.read(FILE) == made


@pytest.mark.real_database
def test_no_connection_is_held_while_a_bucket_hangs(
    app: Flask, kept_by: Any, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_person(app, "Alice", picture=NAME)
    seen: list[int] = []

    def look(file: str) -> bytes:
        seen.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]  # a QueuePool
        raise Unavailable

    monkeypatch.setattr(media_service, "read", look)
    assert show(app).status_code == 503
    assert seen == [0]


def test_account_is_deleted_while_its_bucket_hangs(
    app: Flask, api: Api, pictured: Person, kept_by: Any, quick: None
) -> None:
    caller = api.as_(pictured)
    with kept_by(says_nothing) as server:
        caller.delete("/users/me")
        with time_machine.travel(now() + timedelta(days=15)), app.app_context():
            assert deletion_service.erase_due() == 1
        assert server.connections == 0
        assert work_off(app) == 0
        assert server.connections == 1


def test_copy_of_the_data_waits_for_the_bucket(
    app: Flask, api: Api, pictured: Person, kept_by: Any, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = api.as_(pictured)
    caller.post("/users/me/export")
    with kept_by(says_nothing), app.app_context():
        for minutes in range(0, 20, 2):
            with time_machine.travel(now() + timedelta(minutes=minutes)):
                assert export_service.make_due() == 0
    made = picture("WEBP", (9, 9))
    with kept_by(answers("200 OK", body=made)), app.app_context():
        with time_machine.travel(now() + timedelta(minutes=30)):
            assert export_service.make_due() == 1
        assert caller.get("/users/me/export").json["data"]["status"] == "ready"


def test_copy_of_the_data_goes_without_a_lost_picture(
    app: Flask, api: Api, pictured: Person, folder: Any
) -> None:
    caller = api.as_(pictured)
    caller.post("/users/me/export")
    with app.app_context():
        assert export_service.make_due() == 1
    assert caller.get("/users/me/export/file").json["account"]["picture"] is None


def until(is_so: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)
