"""A sign-in that was under way with a password, or at an address, is refused once these are no longer the account's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from models import User
from services import password_service, session_service, user_service
from services.base_service import unit_of_work
from services.schemas.user import UserUpdateIn
from tests.clients import Api
from tests.factories import Person, make_person
from tests.integration.api.test_second_factor import challenge, enrolled, verify
from tests.integration.pages.desk import NEW_PASSWORD, make_link
from tests.integration.security.not_me import MALLORY, one
from tests.state import wait_for_a_lock


def log_in(app: Flask, person: Person, password: str) -> Any:
    return Api(app).post("/auth/login", {"email": person.email, "password": password})


@contextmanager
def while_signing_in(app: Flask, person: Person, answers: list[int]) -> Iterator[User]:
    """Change the account within, after somebody's old password was found right and before he is signed in."""

    def sign_in() -> None:
        answers.append(log_in(app, person, person.password).status_code)

    signing_in = threading.Thread(target=sign_in)
    with app.app_context(), unit_of_work():
        user = user_service.load(person.id)
        signing_in.start()
        wait_for_a_lock()
        yield user
    signing_in.join(timeout=20)


def set_password(user: User) -> None:
    """As a change and a reset do."""
    user.password_hash = password_service.hash_password(NEW_PASSWORD)
    session_service.end_all(user.id)


def test_the_old_password_opens_no_session_while_it_is_changed(real_app: Flask) -> None:
    alice, answers = make_person(real_app, "Alice"), list[int]()
    with while_signing_in(real_app, alice, answers) as user:
        set_password(user)
    assert answers == [401]
    assert one(real_app, "SELECT count(*) FROM sessions") == 0


def test_the_password_alone_opens_no_session_while_a_second_step_is_added(real_app: Flask) -> None:
    alice, answers = make_person(real_app, "Alice"), list[int]()
    with while_signing_in(real_app, alice, answers) as user:
        user.has_second_factor = True
        session_service.end_all(user.id)
    assert answers == [401]


def test_a_hash_made_anew_does_not_bring_the_old_password_back(
    real_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, answers = make_person(real_app, "Alice"), list[int]()
    monkeypatch.setattr(password_service, "needs_rehash", lambda _: True)
    with while_signing_in(real_app, alice, answers) as user:
        set_password(user)
    assert answers == [401]
    assert log_in(real_app, alice, NEW_PASSWORD).status_code == 200
    assert log_in(real_app, alice, alice.password).status_code == 401


def test_of_two_sign_ins_that_make_the_hash_anew_both_get_in(
    real_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, answers = make_person(real_app, "Alice"), list[int]()
    monkeypatch.setattr(password_service, "needs_rehash", lambda _: True)
    with while_signing_in(real_app, alice, answers) as user:
        user.password_hash = password_service.hash_password(alice.password)
    assert answers == [200]


def test_no_link_goes_to_an_address_that_was_just_taken_off(real_app: Flask) -> None:
    alice, ada = make_person(real_app, "Alice"), make_person(real_app, "Ada", role="admin")
    with real_app.app_context(), unit_of_work():
        user_service.load(alice.id).email = MALLORY
    thief, answers = Person(alice.id, MALLORY, alice.name, alice.password), list[int]()
    assert log_in(real_app, thief, thief.password).status_code == 200
    with while_signing_in(real_app, thief, answers):
        by = session_service.start_browser(user_service.load(ada.id))[1]
        user_service.update(alice.id, UserUpdateIn(email=alice.email), by=by)
    assert answers == [401]
    assert one(real_app, "SELECT count(*) FROM one_time_tokens WHERE email = :email", email=MALLORY) == 0


@pytest.mark.parametrize("way", ["reset", "change"])
@pytest.mark.usefixtures("early_in_a_step")
def test_a_sign_in_half_done_with_the_old_password_does_not_finish(
    app: Flask, api: Api, alice: Person, way: str
) -> None:
    _, codes = enrolled(api, alice)
    waiting = challenge(api, alice)
    if way == "reset":
        body = {"token": make_link(app, alice, "reset"), "password": NEW_PASSWORD}
        assert api.post("/auth/password/reset", body).status_code == 200
    else:
        body = {"current_password": alice.password, "new_password": NEW_PASSWORD}
        assert api.as_(alice).post("/users/me/password", body).status_code == 200
    assert verify(api, waiting, recovery_code=codes[0]).status_code == 401
