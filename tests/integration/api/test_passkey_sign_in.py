"""Signing in with a passkey, as the only step, after an address or as the second, and being fresh again (A82, A83)."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.authenticator import PRESENT, VERIFIED, Authenticator, b64, raw
from tests.clients import Api
from tests.factories import Person, make_person
from tests.integration.api.passkeys import actions, add, answer_with, ask, begin, kept_count, owned, sign_in
from tests.integration.api.test_second_factor import challenge, code_of, enrolled, verify

pytestmark = pytest.mark.usefixtures("early_in_a_step")


# ------------------------------------------------------------------------------------------------ the only step


def test_a_passkey_alone_signs_in(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    asked = ask(api)
    assert asked["options"]["rpId"] == "localhost"
    assert asked["options"]["userVerification"] == "required"
    assert not asked["options"].get("allowCredentials")
    answer = answer_with(api, asked, device.get(asked["options"]), device_name="Build server")
    assert (answer.status_code, answer.json["data"]["status"]) == (200, "signed_in")
    caller = Api(api.app, answer.json["data"]["access_token"])
    assert caller.get("/users/me").json["data"]["email"] == alice.email
    assert caller.get("/users/me/sessions").json["data"][0]["device_name"] == "Build server"
    assert kept_count(api.app, device) == 1
    assert caller.get("/users/me/passkeys").json["data"][0]["last_used_at"] is not None


def test_a_passkey_alone_is_enough_where_an_app_is_set_up_too(api: Api, alice: Person) -> None:
    secret, _ = enrolled(api, alice)
    token = verify(api, challenge(api, alice), code=code_of(secret)).json["data"]["access_token"]
    device = Authenticator()
    assert add(Api(api.app, token), device).status_code == 201
    assert sign_in(api, device).json["data"]["status"] == "signed_in"


@pytest.mark.parametrize(
    "bent",
    [
        {"origin": "http://evil.example"},
        {"origin": "https://localhost"},
        {"origin": "http://localhost:5000"},
        {"origin": "null"},
        {"site": "evil.example"},
        {"challenge": b64(b"x" * 64)},
        {"challenge": "AAAA"},
        {"kind": "webauthn.create"},
        {"flags": VERIFIED},
        {"flags": PRESENT},
        {"user_handle": b"somebody else"},
        {"user_handle": b""},
        {"crossOrigin": True},
    ],
)
def test_an_answer_that_does_not_hold_is_refused(api: Api, alice: Person, bent: dict[str, Any]) -> None:
    device = owned(api, alice)
    refused = sign_in(api, device, **bent)
    assert (refused.status_code, refused.json["error"]["code"]) == (401, "INVALID_CREDENTIALS")
    assert kept_count(api.app, device) == 0
    assert actions(api.app)[-1] == "account:login:failure"


def test_a_signature_of_another_key_is_refused(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    thief = Authenticator(credential_id=device.credential_id, user_handle=device.user_handle, count=100)
    assert sign_in(api, thief).status_code == 401
    assert kept_count(api.app, device) == 0
    assert "account:passkey:copied" not in actions(api.app)


@pytest.mark.parametrize("signature", [b"", b"\x00", b"\x30\x06\x02\x01\x00\x02\x01\x00", b"\xff" * 72])
def test_what_is_no_signature_is_refused(api: Api, alice: Person, signature: bytes) -> None:
    device = owned(api, alice)
    asked = ask(api)
    credential = device.get(asked["options"])
    credential["response"]["signature"] = b64(signature or b"\x00\x00")
    assert answer_with(api, asked, credential).status_code == 401


def test_an_unknown_passkey_is_refused(api: Api) -> None:
    refused = sign_in(api, Authenticator(user_handle=b"nobody"))
    assert (refused.status_code, refused.json["error"]["code"]) == (401, "INVALID_CREDENTIALS")


def test_the_name_of_a_passkey_and_its_bytes_must_agree(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    asked = ask(api)
    credential = device.get(asked["options"]) | {"id": b64(b"another")}
    assert answer_with(api, asked, credential).status_code == 401


def test_a_challenge_is_answered_once_and_within_five_minutes(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    asked = ask(api)
    assert answer_with(api, asked, device.get(asked["options"])).status_code == 200
    again = answer_with(api, asked, device.get(asked["options"]))
    assert (again.status_code, again.json["error"]["code"]) == (401, "INVALID_TOKEN")
    late = ask(api)
    with time_machine.travel(now() + timedelta(minutes=5, seconds=1)):
        assert answer_with(api, late, device.get(late["options"])).status_code == 401
    assert kept_count(api.app, device) == 1


def test_a_wrong_answer_uses_its_challenge_up(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    asked = ask(api)
    assert answer_with(api, asked, device.get(asked["options"], flags=PRESENT)).status_code == 401
    assert answer_with(api, asked, device.get(asked["options"])).status_code == 401


def test_a_challenge_to_make_a_passkey_signs_nobody_in(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    asked = begin(api.as_(alice))
    assert answer_with(api, asked, device.get(asked["options"])).status_code == 401


@pytest.mark.real_database
def test_of_two_answers_at_once_to_one_challenge_one_counts(app: Flask) -> None:
    api = Api(app)
    device = owned(api, make_person(app, "Alice"))
    asked = ask(api)
    credentials = [device.get(asked["options"]), device.get(asked["options"])]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda c=c: statuses.append(answer_with(Api(app), asked, c).status_code))
        for c in credentials
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 401]


@pytest.mark.parametrize("step_back", [0, 3])
def test_a_counter_that_goes_back_is_refused_and_noted(api: Api, alice: Person, step_back: int) -> None:
    device = owned(api, alice, count=5)
    assert sign_in(api, device).status_code == 200
    device.count -= 1 + step_back  # `get` counts one up: the same number again, or one before it
    refused = sign_in(api, device)
    assert refused.status_code == 401
    assert kept_count(api.app, device) == 6
    assert actions(api.app)[-2:] == ["account:passkey:copied", "account:login:failure"]


def test_a_counter_that_drops_to_nothing_is_refused(api: Api, alice: Person) -> None:
    device = owned(api, alice, count=5)
    device.count, device.counts = 0, False
    assert sign_in(api, device).status_code == 401


def test_a_device_that_never_counts_signs_in_again_and_again(api: Api, alice: Person) -> None:
    device = owned(api, alice, counts=False)
    assert [sign_in(api, device).status_code for _ in range(2)] == [200, 200]


def test_a_suspended_account_is_refused_like_an_unknown_passkey(
    api: Api, alice: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(api.app.config, "REQUIRE_MFA", "none")
    device = owned(api, alice)
    assert api.as_(ada).post(f"/users/{alice.id}/suspend", {"reason": "Spam"}).status_code == 200
    refused = sign_in(api, device)
    unknown = sign_in(api, Authenticator(user_handle=b"nobody"))
    assert refused.status_code == unknown.status_code == 401
    assert refused.json["error"]["message"] == unknown.json["error"]["message"]


def test_a_removed_passkey_signs_nobody_in(api: Api, alice: Person) -> None:
    caller, device = api.as_(alice), Authenticator()
    made = add(caller, device).json["data"]["id"]
    asked = ask(api)
    assert caller.delete(f"/users/me/passkeys/{made}").status_code == 200
    assert answer_with(api, asked, device.get(asked["options"])).status_code == 401


# ----------------------------------------------------------------------------------------------------- with an address


def test_options_look_the_same_for_known_and_unknown_addresses(api: Api, alice: Person, bob: Person) -> None:
    owned(api, alice)
    shapes = []
    for email in (alice.email, bob.email, "nobody@example.com"):
        asked = ask(api, email=email)
        assert len(asked["challenge_token"]) == 43
        asked["options"]["challenge"] = asked["challenge_token"] = ""
        shapes.append(asked)
    assert shapes[0] == shapes[1] == shapes[2]


def test_with_an_address_only_its_passkeys_will_do(api: Api, alice: Person, bob: Person) -> None:
    of_alice, of_bob = owned(api, alice), owned(api, bob)
    for email, device, status in [
        (alice.email, of_alice, 200),
        (alice.email, of_bob, 401),
        ("nobody@example.com", of_alice, 401),
    ]:
        asked = ask(api, email=email)
        assert answer_with(api, asked, device.get(asked["options"])).status_code == status


def test_asking_again_and_again_has_to_wait(api: Api) -> None:
    statuses = [api.post("/auth/passkey/options", {}).status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]


# ------------------------------------------------------------------------------------------------------ second step


def test_after_the_password_a_passkey_is_the_second_step(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    login = api.post(
        "/auth/login", {"email": alice.email, "password": alice.password, "device_name": "Script"}
    ).json["data"]
    assert login["status"] == "second_factor_required"
    assert login["methods"] == ["passkey", "recovery_code"]
    asked = ask(api, challenge_token=login["challenge_token"])
    assert [raw(known["id"]) for known in asked["options"]["allowCredentials"]] == [device.credential_id]
    assert asked["options"]["userVerification"] == "preferred"
    # A touch is enough here, and a key that keeps no account need not say whose it is.
    answer = answer_with(api, asked, device.get(asked["options"], flags=PRESENT, user_handle=b""))
    assert (answer.status_code, answer.json["data"]["status"]) == (200, "signed_in")
    caller = Api(api.app, answer.json["data"]["access_token"])
    assert caller.get("/users/me/sessions").json["data"][0]["device_name"] == "Script"


def test_the_passkey_of_somebody_else_is_no_second_step(api: Api, alice: Person, bob: Person) -> None:
    owned(api, alice)
    of_bob = owned(api, bob)
    asked = ask(api, challenge_token=challenge(api, alice))
    assert answer_with(api, asked, of_bob.get(asked["options"])).status_code == 401


def test_a_sign_in_is_finished_once_whichever_way(api: Api, alice: Person) -> None:
    caller, device = api.as_(alice), Authenticator()
    codes = add(caller, device).json["data"]["recovery_codes"]
    token = challenge(api, alice)
    first, second = ask(api, challenge_token=token), ask(api, challenge_token=token)
    assert answer_with(api, first, device.get(first["options"])).status_code == 200
    assert answer_with(api, second, device.get(second["options"])).status_code == 401
    assert verify(api, token, recovery_code=codes[0]).status_code == 401


def test_a_touch_asked_for_after_a_password_is_not_enough_alone(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    assert sign_in(api, device, flags=PRESENT).status_code == 401


def test_a_second_step_begins_only_with_a_live_challenge(api: Api, alice: Person) -> None:
    owned(api, alice)
    assert api.post("/auth/passkey/options", {"challenge_token": "x" * 43}).status_code == 401
    token = challenge(api, alice)
    with time_machine.travel(now() + timedelta(minutes=5, seconds=1)):
        assert api.post("/auth/passkey/options", {"challenge_token": token}).status_code == 401
    both = api.post("/auth/passkey/options", {"challenge_token": token, "email": alice.email})
    assert both.status_code == 422


def test_a_passkey_asked_for_after_the_password_must_answer_in_the_sign_ins_time(
    api: Api, alice: Person
) -> None:
    device = owned(api, alice)
    token = challenge(api, alice)
    with time_machine.travel(now() + timedelta(minutes=4)):
        asked = ask(api, challenge_token=token)
    with time_machine.travel(now() + timedelta(minutes=6)):
        assert answer_with(api, asked, device.get(asked["options"])).status_code == 401


def test_a_challenge_alone_is_no_token(api: Api, alice: Person) -> None:
    owned(api, alice)
    token = challenge(api, alice)
    asked = ask(api, challenge_token=token)
    for given in (token, asked["challenge_token"]):
        caller = Api(api.app, given)
        assert caller.get("/users/me").status_code == 401
        assert caller.post("/users/me/passkeys/options").status_code == 401
        assert caller.post("/users/me/totp").status_code == 401


# ---------------------------------------------------------------------------------------------------- fresh again


def test_a_passkey_makes_a_session_fresh(api: Api, alice: Person) -> None:
    caller, device = api.as_(alice), Authenticator()
    add(caller, device)
    with time_machine.travel(now() + timedelta(minutes=9)):
        asked = caller.post("/auth/reauthenticate/options").json["data"]
        answer = {
            "challenge_token": asked["challenge_token"],
            "credential": device.get(asked["options"]),
        }
        assert caller.post("/auth/reauthenticate", answer).status_code == 200
        assert caller.post("/auth/reauthenticate", answer).status_code == 401
    with time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        assert caller.post("/users/me/passkeys/options").status_code == 200


@pytest.mark.parametrize("bent", [{"flags": PRESENT}, {"origin": "http://evil.example"}])
def test_a_bent_answer_makes_no_session_fresh(api: Api, alice: Person, bent: dict[str, Any]) -> None:
    caller, device = api.as_(alice), Authenticator()
    add(caller, device)
    asked = caller.post("/auth/reauthenticate/options").json["data"]
    body = {
        "challenge_token": asked["challenge_token"],
        "credential": device.get(asked["options"], **bent),
    }
    refused = caller.post("/auth/reauthenticate", body)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "REAUTHENTICATION_REQUIRED")


def test_an_answer_to_a_sign_in_or_of_another_session_makes_nothing_fresh(
    api: Api, alice: Person, bob: Person
) -> None:
    caller, device = api.as_(alice), Authenticator()
    add(caller, device)
    elsewhere = Api(api.app, sign_in(api, device).json["data"]["access_token"])
    of_bob = owned(api, bob)
    for asked, key in [
        (ask(api), device),
        (elsewhere.post("/auth/reauthenticate/options").json["data"], device),
        (caller.post("/auth/reauthenticate/options").json["data"], of_bob),
    ]:
        body = {"challenge_token": asked["challenge_token"], "credential": key.get(asked["options"])}
        assert caller.post("/auth/reauthenticate", body).status_code == 403
    asked = caller.post("/auth/reauthenticate/options").json["data"]
    assert answer_with(api, asked, device.get(asked["options"])).status_code == 401
