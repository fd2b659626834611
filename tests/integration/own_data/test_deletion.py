"""Leaving: asked for, undone, and done by the worker when its time has come."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, text

from models import AuditEvent, User, db
from models.base import now
from services import deletion_service, mail_service, user_service
from services.base_service import unit_of_work
from tests.clients import Api, PageClient, browser
from tests.conftest import counted
from tests.factories import Person, make_person
from tests.integration.pages.desk import is_signed_in, link_to, mails_to, subjects, token_of
from tests.state import unchanged

GRACE = timedelta(days=14)


def ask(api: Api, person: Person) -> Api:
    """The person's program, after it has asked for the account's deletion."""
    caller = api.as_(person)
    assert caller.delete("/users/me").status_code == 202
    return caller


def erase(app: Flask, *, after: timedelta = GRACE + timedelta(seconds=5)) -> int:
    with time_machine.travel(now() + after), app.app_context():
        return deletion_service.erase_due()


def is_there(app: Flask, person: Person) -> bool:
    with app.app_context():
        return bool(db.session.scalar(select(func.count()).where(User.id == person.id)))


def actions(app: Flask, person: Person) -> list[str]:
    with app.app_context():
        return list(
            db.session.scalars(
                select(AuditEvent.action).where(AuditEvent.target_id == person.id).order_by(AuditEvent.id)
            )
        )


def test_deletion_is_promised_for_the_end_of_the_grace(api: Api, alice: Person) -> None:
    answer = api.as_(alice).delete("/users/me")
    assert answer.status_code == 202
    promised = answer.json["data"]["deletes_at"]
    assert promised.startswith(f"{now() + GRACE:%Y-%m-%d}")
    assert promised.endswith("Z")
    assert "account:delete_request" in actions(api.app, alice)
    assert subjects(api.app, alice.email) == ["Your account will be deleted"]


def test_asked_twice_it_stays_the_same_moment_and_one_mail(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    first = caller.delete("/users/me").json["data"]
    assert caller.delete("/users/me").json["data"] == first
    assert len(mails_to(api.app, alice.email)) == 1


def test_other_sessions_and_keys_end_and_this_one_stays(api: Api, alice: Person) -> None:
    caller, other = api.as_(alice), api.as_(alice)
    key = caller.post("/users/me/api-keys", {"name": "Backup", "scopes": []}).json["data"]["key"]
    caller.delete("/users/me")
    assert other.get("/users/me").status_code == 401
    assert Api(api.app, key).get("/users/me").status_code == 401
    assert caller.get("/users/me").status_code == 200


def test_stale_session_has_to_confirm_first(api: Api, alice: Person) -> None:
    login: Any = api.post("/auth/login", {"email": alice.email, "password": alice.password})
    caller = Api(api.app, login.json["data"]["access_token"])
    with unchanged(api.app), time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        answer = caller.delete("/users/me")
    assert answer.status_code == 403
    assert answer.json["error"]["code"] == "REAUTHENTICATION_REQUIRED"


def test_api_key_deletes_nobody(api: Api, alice: Person) -> None:
    key = api.as_(alice).post("/users/me/api-keys", {"name": "x", "scopes": []}).json["data"]["key"]
    with unchanged(api.app):
        assert Api(api.app, key).delete("/users/me").status_code == 403


def test_last_admin_stays(api: Api, ada: Person) -> None:
    caller = api.as_(ada)
    with unchanged(api.app):
        answer = caller.delete("/users/me")
    assert answer.status_code == 409
    assert answer.json["error"]["code"] == "LAST_ADMIN"


def test_admin_about_to_go_does_not_count_as_staying(api: Api, ada: Person) -> None:
    other = make_person(api.app, "Other Admin", role="admin")
    ask(api, other)
    assert api.as_(ada).delete("/users/me").json["error"]["code"] == "LAST_ADMIN"
    assert api.as_(ada).patch(f"/users/{ada.id}", {"role": "member"}).status_code == 409


def test_signed_in_one_can_undo_it(api: Api, alice: Person) -> None:
    caller = ask(api, alice)
    assert caller.post("/users/me/restore").status_code == 200
    assert erase(api.app) == 0
    assert is_there(api.app, alice)
    assert "account:delete_undo" in actions(api.app, alice)
    assert subjects(api.app, alice.email) == ["Your account stays", "Your account will be deleted"]


def test_nothing_to_undo_is_a_conflict(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    with unchanged(api.app):
        assert caller.post("/users/me/restore").status_code == 409


def test_signing_in_shows_it_and_keeps_the_account(app: Flask, api: Api, alice: Person) -> None:
    ask(api, alice)
    client = browser(app)
    client.sign_in(alice)
    page = client.get("/dashboard").get_data(as_text=True)
    assert "Your account is going to be deleted" in page
    assert "Keep my account" in page
    client.post("/account/keep", data={"csrf_token": client.token("/account/delete")})
    page = client.get("/account/profile").get_data(as_text=True)
    assert "Your account stays. Nothing was deleted." in page
    assert "going to be deleted" not in page


def test_mailed_link_only_shows_and_its_button_keeps_the_account(app: Flask, api: Api, alice: Person) -> None:
    ask(api, alice)
    stranger = browser(app)
    link = link_to(app, alice.email, "/account/restore")
    with unchanged(app):
        page = stranger.get(link, follow_redirects=True).get_data(as_text=True)
    assert f'The account of <strong class="breakable">{alice.email}' in page
    answer = stranger.submit("/account/restore", token=token_of(link))
    assert answer.status_code == 303
    assert not is_signed_in(stranger)
    assert erase(app) == 0
    again = stranger.get(link)
    assert again.status_code == 410
    assert "Sign in" in again.get_data(as_text=True)


def test_link_dies_with_an_undoing(app: Flask, api: Api, alice: Person) -> None:
    caller = ask(api, alice)
    link = link_to(app, alice.email, "/account/restore")
    caller.post("/users/me/restore")
    assert browser(app).get(link).status_code == 410


def test_before_its_time_nothing_goes(api: Api, alice: Person) -> None:
    ask(api, alice)
    assert erase(api.app, after=GRACE - timedelta(seconds=5)) == 0
    assert is_there(api.app, alice)


def test_after_the_grace_everything_of_the_person_goes(
    app: Flask, api: Api, alice: Person, bob: Person
) -> None:
    caller = ask(api, alice)
    caller.post("/users/me/export")
    api.post("/auth/password/forgot", {"email": alice.email})
    assert erase(app) == 1
    assert not is_there(app, alice)
    assert is_there(app, bob)
    assert caller.get("/users/me").status_code == 401
    assert subjects(app, alice.email) == ["Your account was deleted"]
    assert actions(app, alice)[-1] == "account:delete"
    with app.app_context():
        for table in ("sessions", "one_time_tokens", "data_exports", "api_keys"):
            held = db.session.scalar(text(f"SELECT count(*) FROM {table} WHERE user_id = {alice.id}"))
            assert held == 0, table
    assert erase(app) == 0


def test_the_mails_of_a_person_are_found_without_reading_the_outbox(
    app: Flask, api: Api, alice: Person
) -> None:
    ask(api, alice)
    with counted() as statements:
        erase(app)
    (deleting,) = (statement for statement in statements if statement.startswith("DELETE FROM outbox"))
    with app.app_context():
        db.session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = db.session.connection().exec_driver_sql(f"EXPLAIN {deleting}", {"to_address_1": alice.email})
        assert "ix_outbox_to_address" in "".join(plan.scalars())


def test_the_address_is_free_again(app: Flask, api: Api, alice: Person) -> None:
    ask(api, alice)
    erase(app)
    make_person(app, "Alice Again", email=alice.email)


def test_one_that_fails_does_not_keep_the_others(
    app: Flask, api: Api, alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(api, alice)
    ask(api, bob)
    real = user_service.delete

    def fail_for_alice(user_id: int, **rest: Any) -> None:
        real(user_id, **rest)
        if user_id == alice.id:
            raise RuntimeError("half-way")

    monkeypatch.setattr(user_service, "delete", fail_for_alice)
    assert erase(app) == 1
    assert (is_there(app, alice), is_there(app, bob)) == (True, False)
    monkeypatch.undo()
    assert erase(app) == 1
    assert not is_there(app, alice)
    assert subjects(app, alice.email) == ["Your account was deleted"]


@pytest.mark.real_database
def test_killed_half_way_the_next_run_finishes(
    app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(api, alice)

    class Killed(BaseException):
        """The process ends here."""

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(mail_service, "send", die)
    with pytest.raises(Killed):
        erase(app)
    assert is_there(app, alice)
    monkeypatch.undo()
    assert erase(app) == 1
    assert not is_there(app, alice)
    assert subjects(app, alice.email) == ["Your account was deleted"]


@pytest.mark.real_database
def test_whoever_is_just_undoing_it_is_left_alone(app: Flask, api: Api, alice: Person) -> None:
    ask(api, alice)
    with app.app_context():
        other = db.engine.connect()
        try:
            other.execute(text(f"SELECT 1 FROM users WHERE id = {alice.id} FOR UPDATE"))
            assert erase(app) == 0
        finally:
            other.rollback()
            other.close()
    assert is_there(app, alice)


def test_last_admin_by_the_time_is_not_deleted(app: Flask, api: Api, ada: Person) -> None:
    other = make_person(app, "Other Admin", role="admin")
    ask(api, other)
    with app.app_context(), unit_of_work():
        db.session.execute(text(f"UPDATE users SET role = 'member' WHERE id = {ada.id}"))
    assert erase(app) == 0
    assert is_there(app, other)


def test_page_asks_for_the_password(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    page = client.get("/account/delete").get_data(as_text=True)
    assert "In 14 days goes" in page
    with unchanged(app, but=("audit_events",)):
        answer = client.submit("/account/delete", current_password="not my password")
    assert answer.status_code == 403
    assert "The current password is wrong." in answer.get_data(as_text=True)
    with unchanged(app, but=("audit_events",)):
        assert client.submit("/account/delete").status_code == 403
    assert "account:delete_refused" in actions(app, alice)
    assert client.submit("/account/delete", current_password=alice.password).status_code == 303
    assert "Your account is going" in client.get("/account/delete").get_data(as_text=True)


def test_account_without_a_password_shows_who_it_is_instead(
    app: Flask, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    with app.app_context(), unit_of_work():
        db.session.execute(text(f"UPDATE users SET password_hash = NULL WHERE id = {alice.id}"))
    assert 'name="current_password"' not in client.get("/account/delete").get_data(as_text=True)
    with time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        answer = client.get("/account/delete")
        assert answer.location == "/auth/reauthenticate?next=/account/delete"
    assert client.submit("/account/delete").status_code == 303


def test_grace_is_a_setting(app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "ACCOUNT_DELETION_DAYS", 3)
    promised = api.as_(alice).delete("/users/me").json["data"]["deletes_at"]
    assert promised.startswith(f"{now() + timedelta(days=3):%Y-%m-%d}")
