"""Registering and what an address is (security cases A1 to A13, A27, A66 to A71)."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, text

from models import OneTimeToken, OutboxMail, User, db
from models.base import now
from services import outbox_service
from tests.clients import Api
from tests.factories import Person, make_person

GOOD = {"email": "new@example.com", "name": "New Person", "password": "lantern orchid gravel nine"}


def mails(app: Flask) -> list[Any]:
    with app.app_context():
        return outbox_service.mailbox()


def users(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(User)) or 0


def token_in(mail: Any) -> str:
    return str(mail.text.split("token=")[1].split()[0])


def body_of(answer: Any) -> Any:
    body = answer.get_json()
    body["timestamp"] = "-"
    return body


def test_registering_a_known_address_looks_like_registering_a_new_one(api: Api, alice: Person) -> None:
    new = api.post("/auth/register", GOOD)
    known = api.post("/auth/register", {**GOOD, "email": alice.email})
    assert new.status_code == known.status_code == 202
    assert body_of(new) == body_of(known)
    assert users(api.app) == 2
    assert {mail.to: mail.subject for mail in mails(api.app)} == {
        "new@example.com": "Confirm your address",
        alice.email: "You already have an account",
    }


def test_the_case_of_an_address_makes_no_other_account(api: Api) -> None:
    make_person(api.app, "Alice", email="alice@example.com")
    api.post("/auth/register", {**GOOD, "email": "Alice@Example.COM"})
    assert users(api.app) == 1


def test_a_reset_goes_to_the_spelling_that_is_stored(api: Api) -> None:
    make_person(api.app, "Alice", email="alice@example.com")
    api.post("/auth/password/forgot", {"email": "ALICE@EXAMPLE.com"})
    assert [mail.to for mail in mails(api.app)] == ["alice@example.com"]


def test_both_spellings_of_an_international_domain_are_one_address(api: Api) -> None:
    make_person(api.app, "Jörg", email="joerg@bücher.example")
    api.post("/auth/register", {**GOOD, "email": "joerg@xn--bcher-kva.example"})
    assert users(api.app) == 1


def test_a_lookalike_domain_is_another_address(api: Api) -> None:
    make_person(api.app, "Alice", email="alice@example.com")
    api.post("/auth/register", {**GOOD, "email": "alice@ex\u0430mple.com"})
    assert users(api.app) == 2


@pytest.mark.parametrize(
    "email", [["a@example.com", "b@example.com"], {"a": 1}, "a@example.com,b@example.com", 7, None]
)
def test_a_reset_for_something_else_than_one_address_is_refused(api: Api, email: object) -> None:
    answer = api.post("/auth/password/forgot", {"email": email})
    assert answer.status_code == 422
    assert mails(api.app) == []


@pytest.mark.parametrize(
    "odd", ["\r\nBcc: a@example.com", "\n", "\x00", "\u2028", "\u202e", "\x1b[0m", "\x7f"]
)
def test_control_characters_in_a_name_are_refused(api: Api, odd: str) -> None:
    answer = api.post("/auth/register", {**GOOD, "name": f"New{odd}Person"})
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == "name"
    assert users(api.app) == 0


@pytest.mark.parametrize(
    "email", ["a@" + "x" * 10_000, "a@" + "x." * 3000 + "com", "a" * 300 + "@example.com"]
)
def test_an_endless_address_is_refused_quickly(api: Api, email: str) -> None:
    began = time.process_time()
    assert api.post("/auth/register", {**GOOD, "email": email}).status_code == 422
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize(
    "email", ["plain", "a@b", "@example.com", "a@", "a b@example.com", "a@exa mple.com", ""]
)
def test_what_is_no_address_is_refused(api: Api, email: str) -> None:
    answer = api.post("/auth/register", {**GOOD, "email": email})
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == "email"


@pytest.mark.parametrize(
    "field",
    [
        "role",
        "is_active",
        "email_verified",
        "id",
        "password_hash",
        "created_at",
        "updated_at",
        "suspended_at",
    ],
)
def test_a_field_that_is_not_ours_to_set_is_refused_by_name(api: Api, alice: Person, field: str) -> None:
    for answer in (
        api.post("/auth/register", {**GOOD, field: "admin"}),
        api.as_(alice).patch("/users/me", {"name": "Alice", field: "admin"}),
    ):
        assert answer.status_code == 422
        assert {fault["field"] for fault in answer.json["error"]["details"]["errors"]} == {field}
    assert users(api.app) == 1


@pytest.mark.real_database
def test_twenty_registrations_at_once_make_one_account_and_ten_mails(app: Flask) -> None:
    answers: list[Any] = []
    app.config["SQLALCHEMY_POOL_TIMEOUT"] = 30

    def register() -> None:
        answers.append(Api(app).post("/auth/register", GOOD))

    threads = [threading.Thread(target=register) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {202}
    assert users(app) == 1
    assert len(mails(app)) == 10


def test_a_second_registration_changes_nothing_before_it_is_confirmed(api: Api) -> None:
    api.post("/auth/register", GOOD)
    api.post("/auth/register", {**GOOD, "name": "Somebody Else", "password": "another lantern in rain"})
    with api.app.app_context():
        assert db.session.scalars(select(User.name)).all() == ["New Person"]
    assert len(mails(api.app)) == 2


def test_the_registration_that_is_confirmed_counts_and_no_other(api: Api) -> None:
    api.post("/auth/register", GOOD)
    first = token_in(mails(api.app)[0])
    with time_machine.travel(now() + timedelta(seconds=61)):
        api.post("/auth/register", {**GOOD, "name": "Rightful Owner", "password": "another lantern in rain"})
        token = token_in(next(mail for mail in mails(api.app) if "Rightful" in mail.text))
        assert api.post("/auth/verify-email", {"token": token}).status_code == 200
        assert api.post("/auth/verify-email", {"token": first}).status_code == 410
        old = api.post("/auth/login", {"email": GOOD["email"], "password": GOOD["password"]})
        new = api.post("/auth/login", {"email": GOOD["email"], "password": "another lantern in rain"})
    assert (old.status_code, new.status_code) == (401, 200)


def test_the_typed_code_confirms_the_address(api: Api) -> None:
    api.post("/auth/register", GOOD)
    with api.app.app_context():
        text_of = mails(api.app)[0].text
    code = next(word for word in text_of.split() if word.isdigit() and len(word) == 6)
    assert (
        api.post(
            "/auth/verify-email", {"email": "NEW@example.com", "code": f"{code[:3]} {code[3:]}"}
        ).status_code
        == 200
    )
    assert api.post("/auth/verify-email", {"email": GOOD["email"], "code": code}).status_code == 410


def test_five_wrong_codes_make_the_right_one_worthless(api: Api) -> None:
    api.post("/auth/register", GOOD)
    code = next(word for word in mails(api.app)[0].text.split() if word.isdigit() and len(word) == 6)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for _ in range(5):
        assert api.post("/auth/verify-email", {"email": GOOD["email"], "code": wrong}).status_code == 410
    assert api.post("/auth/verify-email", {"email": GOOD["email"], "code": code}).status_code == 410


def test_a_typed_code_ends_after_ten_minutes(api: Api) -> None:
    api.post("/auth/register", GOOD)
    code = next(word for word in mails(api.app)[0].text.split() if word.isdigit() and len(word) == 6)
    with time_machine.travel(now() + timedelta(minutes=10, seconds=1)):
        assert api.post("/auth/verify-email", {"email": GOOD["email"], "code": code}).status_code == 410


def test_a_reset_ends_every_session_and_signs_nobody_in(api: Api, alice: Person) -> None:
    session = api.as_(alice)
    api.post("/auth/password/forgot", {"email": alice.email})
    token = token_in(mails(api.app)[0])
    answer = api.post("/auth/password/reset", {"token": token, "password": "another lantern in rain"})
    assert answer.status_code == 200
    assert answer.json["data"] is None
    assert session.get("/users/me").status_code == 401
    assert api.post("/auth/login", {"email": alice.email, "password": alice.password}).status_code == 401
    again = api.post("/auth/password/reset", {"token": token, "password": "yet another lantern now"})
    assert again.status_code == 410
    assert again.json["error"]["code"] == "LINK_EXPIRED"


def test_a_newer_reset_link_replaces_the_older(api: Api, alice: Person) -> None:
    api.post("/auth/password/forgot", {"email": alice.email})
    first = token_in(mails(api.app)[0])
    api.post("/auth/password/forgot", {"email": alice.email})
    assert (
        api.post("/auth/password/reset", {"token": first, "password": "another lantern in rain"}).status_code
        == 410
    )


def test_a_reset_link_ends_after_thirty_minutes(api: Api, alice: Person) -> None:
    api.post("/auth/password/forgot", {"email": alice.email})
    token = token_in(mails(api.app)[0])
    with time_machine.travel(now() + timedelta(minutes=30, seconds=1)):
        answer = api.post("/auth/password/reset", {"token": token, "password": "another lantern in rain"})
    assert answer.status_code == 410


def test_a_reset_link_dies_with_a_change_of_password_and_a_suspension(
    api: Api, ada: Person, alice: Person
) -> None:
    changes: tuple[Callable[[], Any], ...] = (
        lambda: api.as_(alice).post(
            "/users/me/password",
            {"current_password": alice.password, "new_password": "another lantern in rain"},
        ),
        lambda: api.as_(ada).post(f"/users/{alice.id}/suspend", {"reason": "Looking into it"}),
    )
    for change in changes:
        api.post("/auth/password/forgot", {"email": alice.email})
        token = token_in(next(mail for mail in mails(api.app) if "reset-password?token=" in mail.text))
        assert change().status_code == 200
        answer = api.post("/auth/password/reset", {"token": token, "password": "yet another lantern now"})
        assert answer.status_code == 410


def test_a_weak_password_does_not_use_the_link_up(api: Api, alice: Person) -> None:
    api.post("/auth/password/forgot", {"email": alice.email})
    token = token_in(mails(api.app)[0])
    assert api.post("/auth/password/reset", {"token": token, "password": "short"}).status_code == 422
    good = api.post("/auth/password/reset", {"token": token, "password": "another lantern in rain"})
    assert good.status_code == 200


@pytest.mark.real_database
def test_of_two_who_use_a_link_at_once_one_wins(app: Flask) -> None:
    api, alice = Api(app), make_person(app, "Alice")
    api.post("/auth/password/forgot", {"email": alice.email})
    token = token_in(mails(app)[0])
    codes: list[int] = []

    def reset(password: str) -> None:
        codes.append(
            Api(app).post("/auth/password/reset", {"token": token, "password": password}).status_code
        )

    threads = [
        threading.Thread(target=reset, args=(f"{word} lantern in the rain",)) for word in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 410]


def test_a_reset_asked_for_unknown_suspended_or_invited_people_sends_nothing(api: Api) -> None:
    suspended = make_person(api.app, "Sus Pended", is_active=False, suspended_at=now())
    answers = [
        body_of(api.post("/auth/password/forgot", {"email": email}))
        for email in ("nobody@example.com", suspended.email)
    ]
    assert answers[0] == answers[1]
    assert mails(api.app) == []


def test_at_most_five_reset_mails_a_day_go_to_an_address_and_then_one_an_hour(
    api: Api, alice: Person
) -> None:
    """Not none: whoever asks for them in a stranger's name does not use up the stranger's way back."""
    moment = now()
    for minutes, mailed in ((0, 5), (59, 5), (61, 6), (119, 6), (122, 7)):
        with time_machine.travel(moment + timedelta(minutes=minutes), tick=False):
            codes = {api.post("/auth/password/forgot", {"email": alice.email}).status_code for _ in range(8)}
        assert codes == {202}
        assert len(mails(api.app)) == mailed


def test_the_database_holds_no_usable_link(api: Api, alice: Person) -> None:
    api.post("/auth/register", GOOD)
    api.post("/auth/password/forgot", {"email": alice.email})
    tokens = [token_in(mail) for mail in mails(api.app)]
    with api.app.app_context():
        stored = ""
        for table in (OneTimeToken, OutboxMail):
            rows = db.session.execute(text(f"SELECT t::text FROM {table.__tablename__} t")).scalars()
            stored += " ".join(rows)
    assert tokens
    assert not [token for token in tokens if token in stored or token.encode().hex() in stored]


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "too_short"),
        ("password12345678", "known"),
        ("qwertyuiop12345", "known"),
        ("New Person 2026", "own_words"),
        ("new@example.com", "own_words"),
        ("portico portico", "own_words"),
        ("aaaaaaaaaaaaaaa", "too_regular"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(api: Api, password: str, why: str) -> None:
    answer = api.post("/auth/register", {**GOOD, "password": password})
    assert answer.status_code == 422
    assert answer.json["error"]["code"] == "WEAK_PASSWORD"
    assert answer.json["error"]["details"]["errors"][0]["code"] in {why, "known"}
    assert users(api.app) == 0


def test_an_address_changes_only_once_the_new_one_has_answered(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    asked = caller.post("/users/me/email", {"email": "fresh@example.com", "current_password": alice.password})
    assert asked.status_code == 202
    assert caller.get("/users/me").json["data"]["email"] == alice.email
    assert {mail.to for mail in mails(api.app)} == {alice.email, "fresh@example.com"}


def test_an_address_does_not_change_without_the_password(api: Api, alice: Person) -> None:
    answer = api.as_(alice).post(
        "/users/me/email", {"email": "fresh@example.com", "current_password": "wrong horse battery"}
    )
    assert answer.status_code == 403
    assert answer.json["error"]["code"] == "REAUTHENTICATION_REQUIRED"
    assert mails(api.app) == []


def test_asking_for_a_taken_address_tells_nothing(api: Api, alice: Person, bob: Person) -> None:
    caller = api.as_(alice)
    free = caller.post("/users/me/email", {"email": "free@example.com", "current_password": alice.password})
    taken = caller.post("/users/me/email", {"email": bob.email, "current_password": alice.password})
    assert body_of(free) == body_of(taken)
