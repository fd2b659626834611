"""A copy of one's own data: complete, without secrets, and for its owner alone."""

import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import text

from models import db
from models.base import now
from services import export_service, own_data
from services.base_service import unit_of_work
from tests.clients import Api, PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import link_to, mails_to, subjects, token_of
from tests.state import unchanged


def work(app: Flask) -> int:
    with app.app_context():
        return export_service.make_due()


def made(api: Api, person: Person) -> Api:
    """The person's program, after a copy was asked for and made."""
    caller = api.as_(person)
    assert caller.post("/users/me/export").status_code == 202
    assert work(api.app) == 1
    return caller


def test_copy_is_asked_for_made_told_and_fetched(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    assert caller.get("/users/me/export").status_code == 404
    asked = caller.post("/users/me/export")
    assert asked.status_code == 202
    assert asked.json["data"]["status"] == "pending"
    assert set(asked.json["data"]) == {"id", "status"}
    waiting = caller.get("/users/me/export").json["data"]
    assert waiting == {"status": "pending", "url": None, "expires_at": None}
    assert caller.get("/users/me/export/file").status_code == 404
    assert work(api.app) == 1
    ready = caller.get("/users/me/export").json["data"]
    assert ready["status"] == "ready"
    assert ready["url"] == "http://localhost/api/v1/users/me/export/file"
    assert ready["expires_at"].startswith(f"{now() + timedelta(days=7):%Y-%m-%d}")
    answer = caller.get("/users/me/export/file")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=export-")
    copy = answer.json
    assert copy["account"]["email"] == alice.email
    assert copy["sessions"][0]["device_name"] == "test"
    assert [event["action"] for event in copy["audit_events"]] == ["account:export"]
    assert subjects(api.app, alice.email) == ["Your data is ready"]


def test_copy_holds_no_secret(app: Flask, api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    key = caller.post("/users/me/api-keys", {"name": "Backup", "scopes": []}).json["data"]["key"]
    seed = caller.post("/users/me/totp").json["data"]["secret"]
    api.post("/auth/password/forgot", {"email": alice.email})
    mailed = token_of(link_to(app, alice.email, "/auth/reset-password"))
    caller.post("/users/me/export")
    work(app)
    copy = caller.get("/users/me/export/file").get_data(as_text=True)
    assert "api_keys" in json.loads(copy)
    for secret in (key, seed, mailed, alice.password, "argon2", "hash", "encrypted", str(caller.token)):
        assert secret not in copy


def test_copy_tells_nothing_of_others(app: Flask, api: Api, ada: Person, alice: Person) -> None:
    api.as_(ada).patch(f"/users/{alice.id}", {"name": "Alice Renamed"})
    api.as_(ada).post(f"/users/{alice.id}/suspend", {"reason": "Looking into it"})
    caller = made(api, ada)
    copy = caller.get("/users/me/export/file").get_data(as_text=True)
    assert alice.email not in copy
    assert "Alice Renamed" not in copy
    assert "account:suspend" in copy


def test_copy_of_the_other_tells_neither_who_nor_from_where(
    app: Flask, api: Api, ada: Person, alice: Person
) -> None:
    caller = api.as_(alice)
    api.as_(ada).patch(
        f"/users/{alice.id}", {"name": "Alice Renamed"}, headers={"User-Agent": "AdasBrowser/1"}
    )
    caller.post("/users/me/export")
    work(app)
    copy = caller.get("/users/me/export/file").get_data(as_text=True)
    assert "Alice Renamed" in copy
    for told in (ada.email, ada.name, "AdasBrowser"):
        assert told not in copy


def test_database_holds_no_readable_copy(app: Flask, api: Api, alice: Person) -> None:
    made(api, alice)
    with app.app_context():
        row = db.session.execute(text("SELECT content_encrypted FROM data_exports")).scalar_one()
    assert alice.email.encode() not in bytes(row)


def test_nobody_fetches_the_copy_of_another(api: Api, alice: Person, bob: Person) -> None:
    made(api, alice)
    assert api.as_(bob).get("/users/me/export/file").status_code == 404
    assert api.as_(bob).get("/users/me/export").status_code == 404
    assert api.get("/users/me/export/file").status_code == 401


def test_fetching_needs_a_fresh_sign_in(api: Api, alice: Person) -> None:
    login: Any = api.post("/auth/login", {"email": alice.email, "password": alice.password})
    caller = Api(api.app, login.json["data"]["access_token"])
    caller.post("/users/me/export")
    work(api.app)
    with time_machine.travel(now() + timedelta(minutes=9, seconds=30)):
        assert caller.get("/users/me/export/file").status_code == 200
    with time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        answer = caller.get("/users/me/export/file")
    assert answer.json["error"]["code"] in {"REAUTHENTICATION_REQUIRED", "TOKEN_EXPIRED"}


def test_api_key_neither_asks_nor_fetches(api: Api, alice: Person) -> None:
    key = api.as_(alice).post("/users/me/api-keys", {"name": "x", "scopes": []}).json["data"]["key"]
    made(api, alice)
    with unchanged(api.app):
        assert Api(api.app, key).post("/users/me/export").status_code == 403
        assert Api(api.app, key).get("/users/me/export/file").status_code == 403


def test_one_at_a_time(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    first = caller.post("/users/me/export").json["data"]
    assert caller.post("/users/me/export").json["data"] == first
    assert work(api.app) == 1
    assert len(mails_to(api.app, alice.email)) == 1


def test_three_a_day(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    for _ in range(3):
        assert caller.post("/users/me/export").status_code == 202
        work(api.app)
    refused = caller.post("/users/me/export")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert caller.get("/users/me/export").json["data"]["status"] == "ready"


@pytest.mark.real_database  # a read commits by itself there
@pytest.mark.parametrize("door", ["api", "page", "link"])
def test_each_download_is_recorded_in_the_owners_history(
    app: Flask, api: Api, client: PageClient, alice: Person, door: str
) -> None:
    caller = made(api, alice)
    if door == "api":
        assert caller.get("/users/me/export/file").status_code == 200
    elif door == "page":
        client.sign_in(alice)
        assert client.get("/account/export/file").status_code == 200
    else:
        token = token_of(link_to(app, alice.email, "/account/export/download"))
        answer = client.submit("/account/export/download", "/auth/login", token=token)
        assert answer.status_code == 200
    events = caller.get("/users/me/events").json["data"]
    assert (events[0]["action"], events[0]["by_you"]) == ("account:export:download", door != "link")


def test_mailed_link_hands_it_out_once(app: Flask, api: Api, alice: Person) -> None:
    made(api, alice)
    link = link_to(app, alice.email, "/account/export/download")
    stranger = browser(app)
    with unchanged(app):
        assert stranger.get(link, follow_redirects=True).status_code == 200
    token = token_of(link)
    answer = stranger.submit("/account/export/download", token=token)
    assert answer.status_code == 200
    assert answer.json["account"]["email"] == alice.email
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert stranger.get(link).status_code == 410
    csrf = stranger.token("/auth/login")
    again = stranger.post("/account/export/download", data={"csrf_token": csrf, "token": token})
    assert again.status_code == 410


def test_link_of_another_purpose_fetches_nothing(app: Flask, api: Api, alice: Person) -> None:
    made(api, alice)
    api.post("/auth/password/forgot", {"email": alice.email})
    token = token_of(link_to(app, alice.email, "/auth/reset-password"))
    assert browser(app).get(f"/account/export/download?token={token}").status_code == 410


def test_after_a_week_it_is_gone(app: Flask, api: Api, alice: Person) -> None:
    made(api, alice)
    link = link_to(app, alice.email, "/account/export/download")
    with time_machine.travel(now() + timedelta(days=7, seconds=5)):
        assert browser(app).get(link).status_code == 410
        assert api.as_(alice).get("/users/me/export/file").status_code == 404
        with app.app_context(), unit_of_work():
            assert export_service.purge() == 1


def test_one_that_fails_is_tried_again_and_then_given_up(
    app: Flask, api: Api, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.as_(alice).post("/users/me/export")
    real = own_data.copy_of

    def fail_for_alice(user: Any, **rest: Any) -> Any:
        if user.id == alice.id:
            raise RuntimeError("no")
        return real(user, **rest)

    monkeypatch.setattr(own_data, "copy_of", fail_for_alice)
    assert work(app) == 0
    assert work(app) == 0  # not again at once
    api.as_(bob).post("/users/me/export")
    for minutes in range(1, 15, 2):
        with time_machine.travel(now() + timedelta(minutes=minutes)):
            work(app)
    assert api.as_(alice).get("/users/me/export").json["data"]["status"] == "failed"
    assert api.as_(bob).get("/users/me/export").json["data"]["status"] == "ready"
    monkeypatch.undo()
    made(api, alice)


def test_who_leaves_may_still_take_a_copy(app: Flask, api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    caller.delete("/users/me")
    caller.post("/users/me/export")
    work(app)
    assert caller.get("/users/me/export/file").json["account"]["deletes_at"]


def test_page_asks_and_downloads(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    assert "No copy yet" in client.get("/account/export").get_data(as_text=True)
    client.submit("/account/export")
    page = client.get("/account/export").get_data(as_text=True)
    assert "Your copy is being made" in page
    assert work(app) == 1
    assert "Your copy is ready" in client.get("/account/export").get_data(as_text=True)
    assert client.get("/account/export/file").json["account"]["name"] == alice.name
    with time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        answer = client.get("/account/export/file")
        assert answer.location == "/auth/reauthenticate?next=/account/export/file"
