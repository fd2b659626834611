"""What the database sees of registrations: numbers, its log, constraints, and two at once (ADR-015)."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, insert, select, text

from models import OneTimeToken, OutboxMail, User, db
from models.base import now
from services import link_service
from tests.clients import Api, PageClient
from tests.factories import Person, make_person
from tests.integration.pages.desk import link_to, token_of
from tests.integration.security.registering import ADDRESS, OWNERS, STRANGERS, Mails, opens, press, register


def numbers_taken(app: Flask, address: str) -> int:
    """How far the sequence of the accounts goes on when an address is registered."""
    last = text("SELECT last_value FROM users_id_seq")
    with app.app_context():
        before = db.session.scalar(last)
        Api(app).post("/auth/register", {**OWNERS, "email": address})
        after = db.session.scalar(last)
    return int(after or 0) - int(before or 0)


def test_a_taken_address_takes_a_number_as_a_free_one_does(app: Flask, alice: Person) -> None:
    waiting = make_person(app, "Wai Ting", email_verified=False)
    shut = make_person(app, "Sus Pended", is_active=False, suspended_at=now())
    invited = make_person(app, "In Vited", email_verified=False, password_hash=None)
    addresses = (ADDRESS, ADDRESS, alice.email, waiting.email, shut.email, invited.email)
    assert [numbers_taken(app, address) for address in addresses] == [1] * 6


@pytest.mark.real_database
def test_a_taken_address_is_no_error_of_the_database(app: Flask) -> None:
    alice, ada = make_person(app, "Alice"), make_person(app, "Ada", role="admin")
    failed: list[str] = []
    with app.app_context():
        event.listen(db.engine, "handle_error", lambda context: failed.append(str(context.statement)))
    Api(app).post("/auth/register", {**OWNERS, "email": alice.email.upper()})
    caller = Api(app).as_(ada)
    made = caller.post("/users", {"email": alice.email, "name": "Again"})
    moved = caller.patch(f"/users/{ada.id}", {"email": alice.email})
    assert (made.json["error"]["code"], moved.json["error"]["code"]) == ("EMAIL_TAKEN", "EMAIL_TAKEN")
    assert not failed


def test_pending_names_and_passwords_are_kept_for_confirmations_alone(app: Flask, alice: Person) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"purpose": "reset_password", "name": "X", "password_hash": "x"},
        {"purpose": "reset_password", "browser_hash": b"x"},
        {"purpose": "verify_email", "name": "X"},
        {"purpose": "verify_email", "password_hash": "x"},
        {"purpose": "verify_email", "name": "", "password_hash": "x"},
    )
    for columns in wrong:
        row = {"user_id": alice.id, "token_hash": b"x", "expires_at": now(), **columns}
        with app.app_context(), pytest.raises(Exception, match="ck_one_time_tokens_regist"):
            db.session.execute(insert(OneTimeToken).values(**row))


def test_a_link_is_dead_once_the_address_is_confirmed_otherwise(app: Flask, client: PageClient) -> None:
    mails = Mails(app)
    register(client, OWNERS)
    token, code = mails.next()
    with app.app_context():
        db.session.execute(text("UPDATE users SET email_verified = true"))
        db.session.commit()
    assert press(client, token).status_code == 410
    assert client.submit("/auth/verify-email", email=ADDRESS, code=code).status_code == 410


@pytest.mark.parametrize("proof", ["registration", "reset"])
def test_a_first_comer_makes_no_link_of_the_addresss_owner_worthless(
    app: Flask, client: PageClient, monkeypatch: pytest.MonkeyPatch, proof: str
) -> None:
    monkeypatch.setitem(app.config, "EMAIL_VERIFICATION", "optional")
    mallory = make_person(app, "Mallory First", email=ADDRESS, email_verified=False)
    register(client, OWNERS)
    token, _ = Mails(app).next()
    Api(app).post("/auth/password/forgot", {"email": ADDRESS})
    reset = token_of(link_to(app, ADDRESS, "/auth/reset-password"))
    caller = Api(app).as_(mallory)
    change = {"current_password": mallory.password, "new_password": STRANGERS["password"]}
    assert caller.post("/users/me/password", change).status_code == 200
    leaving = {"current_password": STRANGERS["password"]}
    assert caller.call("DELETE", "/users/me", json=leaving).status_code == 202
    assert caller.post("/users/me/restore").status_code == 200
    if proof == "registration":
        assert press(client, token).status_code == 303
    else:
        body = {"token": reset, "password": OWNERS["password"]}
        assert Api(app).post("/auth/password/reset", body).status_code == 200
    assert [opens(app, who["password"]) for who in (OWNERS, STRANGERS)] == [True, False]


@pytest.mark.real_database
def test_of_two_registrations_confirmed_at_once_one_counts(app: Flask) -> None:
    mails, tokens = Mails(app), []
    for who in (OWNERS, STRANGERS):
        Api(app).post("/auth/register", {**who, "email": ADDRESS})
        tokens.append(mails.next()[0])
    statuses = at_once(app, "/auth/verify-email", [{"token": token} for token in tokens])
    assert sorted(statuses) == [200, 410]
    winner = (OWNERS, STRANGERS)[statuses.index(200)]
    assert [opens(app, who["password"]) for who in (OWNERS, STRANGERS)] == [
        who is winner for who in (OWNERS, STRANGERS)
    ]


@pytest.mark.real_database
def test_two_who_register_an_address_at_once_make_one_account_and_get_a_mail_each(app: Flask) -> None:
    bodies = [{**who, "email": ADDRESS} for who in (OWNERS, STRANGERS)]
    assert at_once(app, "/auth/register", bodies) == [202, 202]
    with app.app_context():
        assert len(db.session.scalars(select(User.id)).all()) == 1
        assert len(db.session.scalars(select(OutboxMail.id)).all()) == 2
        names = set(db.session.scalars(select(OneTimeToken.name)))
    assert names == {"Mallory Stranger", "Xenia Owner"}


def at_once(app: Flask, path: str, bodies: list[dict[str, str]]) -> list[int]:
    ready, told = threading.Barrier(len(bodies)), [0] * len(bodies)

    def send(number: int) -> None:
        ready.wait(timeout=10)
        told[number] = Api(app).post(path, bodies[number]).status_code

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return told


def test_expired_registrations_are_purged(app: Flask, client: PageClient) -> None:
    register(client, OWNERS)
    with time_machine.travel(now() + timedelta(hours=24, seconds=1)), app.app_context():
        assert link_service.purge() == 1
