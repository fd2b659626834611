"""What waited for an account while its sessions were ended is refused: nothing of it outlives the owner's reset."""

import threading
from collections.abc import Callable

import pytest
from flask import Flask

from services import auth_service, link_service, registration_service
from services.base_service import unit_of_work
from services.schemas.auth import ResetPasswordIn, VerifyByLinkIn
from services.user_service import load
from tests.clients import Api
from tests.factories import make_person
from tests.integration.pages.desk import NEW_PASSWORD
from tests.integration.security.not_me import one
from tests.state import wait_for_a_lock

pytestmark = pytest.mark.real_database

KEY = ("/users/me/api-keys", {"name": "Left behind", "scopes": []}, "api_keys")
DOORS = {
    "API key": KEY,
    "authenticator app": ("/users/me/totp", None, "totp_credentials"),
    "passkey": ("/users/me/passkeys/options", None, "challenges"),
    "copy": ("/users/me/export", None, "data_exports"),
}


def answer_meanwhile(app: Flask, user_id: int, caller: Api, door: str, end: Callable[[], object]) -> int:
    """What the door answers to a call that came before `end`, and waits for the account until `end` is done."""
    path, body, _ = DOORS[door]
    answers: list[int] = []
    call = threading.Thread(target=lambda: answers.append(caller.post(path, body).status_code))
    with app.app_context(), unit_of_work():
        load(user_id)
        call.start()
        wait_for_a_lock()
        end()
    call.join(timeout=20)
    return answers[0]


@pytest.mark.parametrize("door", DOORS)
def test_what_waited_for_a_reset_is_refused(app: Flask, door: str) -> None:
    alice = make_person(app, "Alice")
    caller = Api(app).as_(alice)

    def reset() -> None:
        token = link_service.make_reset(load(alice.id))
        auth_service.reset_password(ResetPasswordIn(token=token, password=NEW_PASSWORD))

    assert answer_meanwhile(app, alice.id, caller, door, reset) == 401
    assert one(app, f"SELECT count(*) FROM {DOORS[door][2]}") == 0


def test_what_waited_for_the_first_proof_is_refused(app: Flask) -> None:
    mallory = make_person(app, "Mallory", email_verified=False)
    caller = Api(app).as_(mallory)

    def prove() -> None:
        token, _ = link_service.make_verification(load(mallory.id))
        data = VerifyByLinkIn(token=token, password=NEW_PASSWORD)
        registration_service.verify_email(data, by=None)

    assert answer_meanwhile(app, mallory.id, caller, "API key", prove) == 401
    assert one(app, "SELECT count(*) FROM api_keys") == 0
