"""Authenticator apps and recovery codes over the API (security cases A69, A72 to A79)."""

import threading
from datetime import timedelta
from typing import Any

import pyotp
import pytest
import time_machine
from flask import Flask

from models.base import now
from services import outbox_service
from services.permissions import PERMISSIONS, SYSTEM_READ
from tests.clients import Api
from tests.factories import Person, make_person, make_role

pytestmark = pytest.mark.usefixtures("early_in_a_step")


def code_of(secret: str, *, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(now() + timedelta(seconds=30 * steps))


def enrolled(api: Api, person: Person) -> tuple[str, list[str]]:
    """A seed and recovery codes of somebody who has set his app up a step ago."""
    caller = api.as_(person)
    secret = caller.post("/users/me/totp").json["data"]["secret"]
    answer = caller.post("/users/me/totp/confirm", {"code": code_of(secret, steps=-1)})
    return secret, answer.json["data"]["recovery_codes"]


def challenge(api: Api, person: Person) -> str:
    answer = api.post("/auth/login", {"email": person.email, "password": person.password})
    assert answer.json["data"]["status"] == "second_factor_required"
    return str(answer.json["data"]["challenge_token"])


def verify(api: Api, token: str, **step: Any) -> Any:
    return api.post("/auth/login/verify", {"challenge_token": token, **step})


def test_an_enrolment_counts_only_once_it_is_confirmed(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    made = caller.post("/users/me/totp")
    assert made.status_code == 201
    assert made.json["data"]["otpauth_uri"].startswith("otpauth://totp/Portico:")
    assert made.json["data"]["qr_svg"].startswith("<svg")
    login = api.post("/auth/login", {"email": alice.email, "password": alice.password})
    assert login.json["data"]["status"] == "signed_in"


def test_a_wrong_first_code_confirms_nothing(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    secret = caller.post("/users/me/totp").json["data"]["secret"]
    wrong = f"{(int(code_of(secret)) + 1) % 10**6:06}"
    answer = caller.post("/users/me/totp/confirm", {"code": wrong})
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == "code"


def test_another_enrolment_replaces_the_abandoned_one(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    first = caller.post("/users/me/totp").json["data"]["secret"]
    second = caller.post("/users/me/totp").json["data"]["secret"]
    assert caller.post("/users/me/totp/confirm", {"code": code_of(first)}).status_code == 422
    assert caller.post("/users/me/totp/confirm", {"code": code_of(second)}).status_code == 200


def test_confirming_gives_ten_codes_ends_other_sessions_and_tells_the_owner(api: Api, alice: Person) -> None:
    other = api.as_(alice)
    _, codes = enrolled(api, alice)
    assert len(set(codes)) == 10
    assert other.get("/users/me").status_code == 401
    with api.app.app_context():
        assert "A second step was added" in [mail.subject for mail in outbox_service.mailbox()]


def test_signing_in_takes_two_steps(api: Api, alice: Person) -> None:
    secret, _ = enrolled(api, alice)
    token = challenge(api, alice)
    assert Api(api.app, token).get("/users/me").status_code == 401
    answer = verify(api, token, code=code_of(secret))
    assert answer.status_code == 200
    assert answer.json["data"]["status"] == "signed_in"
    assert Api(api.app, answer.json["data"]["access_token"]).get("/users/me").status_code == 200


def test_a_challenge_is_good_once_and_for_five_minutes(api: Api, alice: Person) -> None:
    secret, codes = enrolled(api, alice)
    token = challenge(api, alice)
    assert verify(api, token, code=code_of(secret)).status_code == 200
    assert verify(api, token, recovery_code=codes[0]).status_code == 401
    late = challenge(api, alice)
    with time_machine.travel(now() + timedelta(minutes=5, seconds=1)):
        assert verify(api, late, recovery_code=codes[0]).status_code == 401


def test_no_code_counts_twice_nor_one_before_it(api: Api, alice: Person) -> None:
    secret, _ = enrolled(api, alice)
    code, before = code_of(secret), code_of(secret, steps=-1)
    assert verify(api, challenge(api, alice), code=code).status_code == 200
    assert verify(api, challenge(api, alice), code=code).status_code == 401
    assert verify(api, challenge(api, alice), code=before).status_code == 401


@pytest.mark.parametrize("steps", [-2, 1, 2])
def test_a_code_of_another_time_is_refused(api: Api, alice: Person, steps: int) -> None:
    secret, _ = enrolled(api, alice)
    with time_machine.travel(now() + timedelta(minutes=5), tick=False):
        answer = verify(api, challenge(api, alice), code=code_of(secret, steps=steps))
    assert answer.status_code == 401
    assert answer.json["error"]["code"] == "INVALID_CREDENTIALS"


@pytest.mark.parametrize("code", ["12345", "1234567", "١٢٣٤٥٦", 123456, None, ["123456"], ""])
def test_what_is_no_code_is_refused_by_name(api: Api, alice: Person, code: object) -> None:
    enrolled(api, alice)
    answer = verify(api, challenge(api, alice), code=code)
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == "code"


def test_the_sixth_wrong_code_has_to_wait_whatever_the_door(api: Api, alice: Person) -> None:
    secret, codes = enrolled(api, alice)
    wrong = f"{(int(code_of(secret)) + 1) % 10**6:06}"
    tried = [verify(api, challenge(api, alice), code=wrong).status_code for _ in range(4)]
    tried.append(verify(api, challenge(api, alice), code=wrong).status_code)
    answer = verify(api, challenge(api, alice), recovery_code=codes[0])
    assert set(tried) <= {401, 429}
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_a_recovery_code_works_once_and_its_use_is_mailed(api: Api, alice: Person) -> None:
    _, codes = enrolled(api, alice)
    assert verify(api, challenge(api, alice), recovery_code=codes[0].upper()).status_code == 200
    assert verify(api, challenge(api, alice), recovery_code=codes[0]).status_code == 401
    with api.app.app_context():
        assert "A recovery code was used" in [mail.subject for mail in outbox_service.mailbox()]


def test_a_recovery_code_of_somebody_else_is_refused(api: Api, alice: Person, bob: Person) -> None:
    enrolled(api, alice)
    _, codes = enrolled(api, bob)
    assert verify(api, challenge(api, alice), recovery_code=codes[0]).status_code == 401


@pytest.mark.real_database
def test_of_two_who_use_a_recovery_code_at_once_one_gets_in(app: Flask) -> None:
    api = Api(app)
    alice = make_person(app, "Alice")
    _, codes = enrolled(api, alice)
    tokens = [challenge(api, alice), challenge(api, alice)]
    statuses: list[int] = []

    def use(token: str) -> None:
        statuses.append(verify(Api(app), token, recovery_code=codes[0]).status_code)

    threads = [threading.Thread(target=use, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 401]


def test_new_recovery_codes_replace_the_former(api: Api, alice: Person) -> None:
    secret, former = enrolled(api, alice)
    token = verify(api, challenge(api, alice), code=code_of(secret)).json["data"]["access_token"]
    caller = Api(api.app, token)
    fresh = caller.post("/users/me/recovery-codes").json["data"]["recovery_codes"]
    assert caller.get("/users/me/recovery-codes").json["data"] == {"remaining": 10}
    assert verify(api, challenge(api, alice), recovery_code=former[0]).status_code == 401
    assert verify(api, challenge(api, alice), recovery_code=fresh[0]).status_code == 200


def test_switching_off_needs_a_code(api: Api, alice: Person) -> None:
    secret, _ = enrolled(api, alice)
    with time_machine.travel(now() + timedelta(seconds=60)):
        token = verify(api, challenge(api, alice), code=code_of(secret)).json["data"]["access_token"]
        caller = Api(api.app, token)
        wrong = f"{(int(code_of(secret)) + 1) % 10**6:06}"
        assert caller.delete("/users/me/totp", json={"code": wrong}).status_code == 422
    with time_machine.travel(now() + timedelta(seconds=120)):
        assert caller.delete("/users/me/totp", json={"code": code_of(secret)}).status_code == 200
        login = api.post("/auth/login", {"email": alice.email, "password": alice.password})
        assert login.json["data"]["status"] == "signed_in"


def test_what_is_sensitive_needs_a_confirmation_after_ten_minutes(api: Api, alice: Person) -> None:
    answer = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    caller = Api(api.app, answer["access_token"])
    with time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        refused = caller.post("/users/me/totp")
        assert refused.status_code == 403
        assert refused.json["error"]["code"] == "REAUTHENTICATION_REQUIRED"
        assert caller.post("/auth/reauthenticate", {"password": "wrong horse battery"}).status_code == 403
        assert caller.post("/users/me/totp").status_code == 403
        assert caller.post("/auth/reauthenticate", {"password": alice.password}).status_code == 200
        assert caller.post("/users/me/totp").status_code == 201


def test_a_reset_of_the_password_keeps_the_second_step(api: Api, alice: Person) -> None:
    enrolled(api, alice)
    api.post("/auth/password/forgot", {"email": alice.email})
    with api.app.app_context():
        mail = next(mail for mail in outbox_service.mailbox() if "reset-password?token=" in mail.text)
    token = mail.text.split("token=")[1].split()[0]
    password = "another lantern in rain"
    assert api.post("/auth/password/reset", {"token": token, "password": password}).status_code == 200
    login = api.post("/auth/login", {"email": alice.email, "password": password})
    assert login.json["data"]["status"] == "second_factor_required"


@pytest.mark.parametrize(("required", "free"), [("admins", True), ("all", False)])
def test_who_must_have_a_second_step_can_only_set_it_up(
    api: Api, ada: Person, alice: Person, monkeypatch: pytest.MonkeyPatch, required: str, free: bool
) -> None:
    monkeypatch.setitem(api.app.config, "REQUIRE_MFA", required)
    assert api.as_(alice).get("/users/me").status_code == (200 if free else 403)
    caller = api.as_(ada)
    refused = caller.get("/users")
    assert refused.status_code == 403
    assert refused.json["error"]["code"] == "SECOND_FACTOR_REQUIRED"
    secret = caller.post("/users/me/totp").json["data"]["secret"]
    assert caller.post("/users/me/totp/confirm", {"code": code_of(secret)}).status_code == 200
    assert caller.get("/users").status_code == 200


@pytest.mark.parametrize("permission", [*PERMISSIONS, None])
def test_whoever_may_anything_needs_a_second_step_whatever_his_role_is_called(
    api: Api, monkeypatch: pytest.MonkeyPatch, permission: str | None
) -> None:
    monkeypatch.setitem(api.app.config, "REQUIRE_MFA", "admins")
    role = make_role(api.app, "lookout", *([permission] if permission else []))
    caller = api.as_(make_person(api.app, "Lou", role=role))
    answer = caller.get("/users/me")
    if permission is None:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "SECOND_FACTOR_REQUIRED")


def test_a_role_that_comes_to_allow_something_asks_for_a_second_step_at_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(api.app.config, "REQUIRE_MFA", "admins")
    role = make_role(api.app, "lookout")
    caller = api.as_(make_person(api.app, "Lou", role=role))
    assert caller.get("/users/me").status_code == 200
    make_role(api.app, role, SYSTEM_READ)
    assert caller.get("/users/me").json["error"]["code"] == "SECOND_FACTOR_REQUIRED"


def test_the_seed_is_encrypted_where_it_is_kept(api: Api, alice: Person) -> None:
    from models import db
    from models.second_factor import TotpCredential

    secret, _ = enrolled(api, alice)
    with api.app.app_context():
        kept = db.session.get_one(TotpCredential, alice.id)
        assert secret.encode() not in kept.seed_encrypted
