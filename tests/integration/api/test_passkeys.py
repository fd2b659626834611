"""Passkeys over the API, with an authenticator in software (security cases A82 to A84 and their neighbours)."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import cbor2
import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from models import AuditEvent, db
from models.base import now
from models.passkey import Passkey
from services import outbox_service
from tests.authenticator import BACKED_UP, BACKUP_ELIGIBLE, PRESENT, VERIFIED, Authenticator, b64, raw
from tests.clients import Answer, Api
from tests.factories import Person, make_person
from tests.integration.api.test_second_factor import challenge, code_of, enrolled, verify
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("early_in_a_step")

Bend = Callable[[dict[str, Any]], None]


def begin(caller: Api) -> dict[str, Any]:
    answer = caller.post("/users/me/passkeys/options")
    assert answer.status_code == 200, answer.json
    return dict(answer.json["data"])


def add(caller: Api, device: Authenticator, name: str = "Laptop", **bent: Any) -> Answer:
    asked = begin(caller)
    credential = device.create(asked["options"], **bent)
    return keep(caller, asked["challenge_token"], credential, name)


def keep(caller: Api, token: str, credential: dict[str, Any], name: str = "Laptop") -> Answer:
    body = {"name": name, "challenge_token": token, "credential": credential}
    return caller.post("/users/me/passkeys", body)


def owned(api: Api, person: Person, **kwargs: Any) -> Authenticator:
    """A device with a passkey of this person."""
    device = Authenticator(**kwargs)
    answer = add(api.as_(person), device)
    assert answer.status_code == 201, answer.json
    return device


def ask(api: Api, **given: str) -> dict[str, Any]:
    answer = api.post("/auth/passkey/options", given)
    assert answer.status_code == 200, answer.json
    return dict(answer.json["data"])


def answer_with(api: Api, asked: dict[str, Any], credential: dict[str, Any], **more: str) -> Answer:
    body = {"challenge_token": asked["challenge_token"], "credential": credential, **more}
    return api.post("/auth/passkey", body)


def sign_in(api: Api, device: Authenticator, **bent: Any) -> Answer:
    asked = ask(api)
    return answer_with(api, asked, device.get(asked["options"], **bent))


def kept_count(app: Flask, device: Authenticator) -> int:
    with app.app_context():
        statement = select(Passkey.sign_count).where(Passkey.credential_id == device.credential_id)
        return db.session.scalars(statement).one()


def actions(app: Flask) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


def subjects(app: Flask) -> list[str]:
    with app.app_context():
        return [mail.subject for mail in outbox_service.mailbox()]


# ------------------------------------------------------------------------------------------------------ making one


def test_options_ask_for_a_passkey_that_finds_and_verifies_its_user(api: Api, alice: Person) -> None:
    options = begin(api.as_(alice))["options"]
    assert options["rp"] == {"name": "Portico", "id": "localhost"}
    assert options["user"]["name"] == alice.email
    assert str(alice.id).encode() not in raw(options["user"]["id"])
    assert len(raw(options["challenge"])) >= 32
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert options["timeout"] == 300_000


def test_the_site_comes_from_the_configuration_not_from_the_host_header(api: Api, alice: Person) -> None:
    options = api.as_(alice).post("/users/me/passkeys/options", headers={"Host": "evil.example"})
    assert options.status_code != 200 or options.json["data"]["options"]["rp"]["id"] == "localhost"
    asked = api.post("/auth/passkey/options", {}, headers={"Host": "evil.example"})
    assert asked.status_code != 200 or asked.json["data"]["options"]["rpId"] == "localhost"


def test_the_first_passkey_brings_recovery_codes_ends_other_sessions_and_is_mailed(
    api: Api, alice: Person
) -> None:
    other, caller = api.as_(alice), api.as_(alice)
    made = add(caller, Authenticator(), "Alice’s ThinkPad")
    assert made.status_code == 201
    data = made.json["data"]
    assert (data["name"], data["is_synced"], data["last_used_at"]) == ("Alice’s ThinkPad", False, None)
    assert len(set(data["recovery_codes"])) == 10
    assert other.get("/users/me").status_code == 401
    assert caller.get("/users/me").status_code == 200
    assert "A second step was added" in subjects(api.app)
    assert "account:factor:add" in actions(api.app)
    second = add(caller, Authenticator(), "Phone").json["data"]
    assert second["recovery_codes"] is None
    assert [row["name"] for row in caller.get("/users/me/passkeys").json["data"]] == [
        "Alice’s ThinkPad",
        "Phone",
    ]


def test_a_passkey_beside_an_app_brings_no_new_codes(api: Api, alice: Person) -> None:
    secret, codes = enrolled(api, alice)
    token = verify(api, challenge(api, alice), code=code_of(secret)).json["data"]["access_token"]
    assert add(Api(api.app, token), Authenticator()).json["data"]["recovery_codes"] is None
    assert verify(api, challenge(api, alice), recovery_code=codes[0]).status_code == 200


def test_a_synced_passkey_says_so(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    flags = PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP
    assert add(caller, Authenticator(), flags=flags).json["data"]["is_synced"] is True


def test_passkeys_of_one_account_share_their_handle_and_are_excluded(api: Api, alice: Person) -> None:
    caller, device = api.as_(alice), Authenticator()
    add(caller, device)
    options = begin(caller)["options"]
    assert raw(options["user"]["id"]) == device.user_handle
    assert [raw(known["id"]) for known in options["excludeCredentials"]] == [device.credential_id]


@pytest.mark.parametrize(
    "bent",
    [
        {"origin": "http://localhost.evil.example"},
        {"origin": "https://localhost"},
        {"origin": "http://localhost:8080"},
        {"site": "evil.example"},
        {"challenge": b64(b"x" * 64)},
        {"kind": "webauthn.get"},
        {"flags": VERIFIED},
        {"flags": PRESENT},
        {"flags": PRESENT | VERIFIED | BACKED_UP},
        {"crossOrigin": True},
    ],
)
def test_a_new_passkey_that_does_not_hold_is_refused(api: Api, alice: Person, bent: dict[str, Any]) -> None:
    caller = api.as_(alice)
    with unchanged(api.app):
        refused = add(caller, Authenticator(), **bent)
    assert (refused.status_code, refused.json["error"]["code"]) == (400, "BAD_REQUEST")
    assert caller.get("/users/me/passkeys").json["data"] == []


def test_a_registration_without_a_beginning_is_refused(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    credential = Authenticator().create(begin(caller)["options"])
    assert keep(caller, "x" * 43, credential).status_code == 400


def test_a_registration_with_the_challenge_of_somebody_else_is_refused(
    api: Api, alice: Person, bob: Person
) -> None:
    asked = begin(api.as_(alice))
    credential = Authenticator().create(asked["options"])
    assert keep(api.as_(bob), asked["challenge_token"], credential).status_code == 400


def test_a_registration_with_the_challenge_of_a_sign_in_is_refused(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    credential = Authenticator().create(begin(caller)["options"])
    assert keep(caller, ask(api)["challenge_token"], credential).status_code == 400


def test_a_challenge_makes_one_passkey_within_five_minutes(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    asked = begin(caller)
    assert keep(caller, asked["challenge_token"], Authenticator().create(asked["options"])).status_code == 201
    again = keep(caller, asked["challenge_token"], Authenticator().create(asked["options"]))
    assert again.status_code == 400
    late = begin(caller)
    with time_machine.travel(now() + timedelta(minutes=5, seconds=1)):
        credential = Authenticator().create(late["options"])
        assert keep(caller, late["challenge_token"], credential).status_code == 400


def test_a_refused_registration_uses_its_challenge_up(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    asked, device = begin(caller), Authenticator()
    wrong = device.create(asked["options"], origin="http://evil.example")
    assert keep(caller, asked["challenge_token"], wrong).status_code == 400
    assert keep(caller, asked["challenge_token"], device.create(asked["options"])).status_code == 400


def test_a_passkey_that_somebody_owns_is_a_conflict(api: Api, alice: Person, bob: Person) -> None:
    device = owned(api, alice)
    for caller in (api.as_(bob), api.as_(alice)):
        refused = add(caller, device)
        assert (refused.status_code, refused.json["error"]["code"]) == (409, "CONFLICT")
    assert api.as_(bob).get("/users/me/passkeys").json["data"] == []


@pytest.mark.real_database
def test_of_two_who_register_one_credential_at_once_one_gets_it(app: Flask) -> None:
    api, device = Api(app), Authenticator()
    callers = [api.as_(make_person(app, name)) for name in ("Alice", "Bob")]
    asked = [begin(caller) for caller in callers]
    statuses: list[int] = []

    def register(caller: Api, asked: dict[str, Any]) -> None:
        credential = device.create(asked["options"])
        statuses.append(keep(caller, asked["challenge_token"], credential).status_code)

    threads = [threading.Thread(target=register, args=pair) for pair in zip(callers, asked, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 409]


def test_the_eleventh_passkey_is_refused(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    spare = begin(caller)
    for number in range(10):
        assert add(caller, Authenticator(), f"Device {number}").status_code == 201
    assert caller.post("/users/me/passkeys/options").status_code == 409
    late = keep(caller, spare["challenge_token"], Authenticator().create(spare["options"]))
    assert late.status_code == 409
    assert len(caller.get("/users/me/passkeys").json["data"]) == 10


@pytest.mark.parametrize("name", ["", " ", "x" * 61, "a\nb", "a\x00", 5, None])
def test_a_name_that_is_none_is_refused(api: Api, alice: Person, name: Any) -> None:
    caller = api.as_(alice)
    asked = begin(caller)
    credential = Authenticator().create(asked["options"])
    refused = keep(caller, asked["challenge_token"], credential, name)
    assert refused.status_code == 422
    assert refused.json["error"]["details"]["field"] == "name"


def _set(path: str, value: Any) -> Bend:
    def bend(credential: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for name in outer:
            credential = credential[name]
        credential[last] = value

    return bend


@pytest.mark.parametrize(
    ("bend", "field"),
    [
        (_set("id", "not base64!"), "credential.id"),
        (_set("rawId", "A"), "credential.rawId"),
        (_set("rawId", "A" * 1365), "credential.rawId"),
        (_set("type", "password"), "credential.type"),
        (_set("response", []), "credential.response"),
        (_set("response.clientDataJSON", None), "credential.response.clientDataJSON"),
        (_set("response.attestationObject", "AAAAA"), "credential.response.attestationObject"),
        (_set("response.transports", ["<b>"]), "credential.response.transports.0"),
    ],
)
def test_a_credential_of_the_wrong_shape_is_refused_by_field(
    api: Api, alice: Person, bend: Bend, field: str
) -> None:
    caller = api.as_(alice)
    asked = begin(caller)
    credential = Authenticator().create(asked["options"])
    bend(credential)
    refused = keep(caller, asked["challenge_token"], credential)
    assert refused.status_code == 422
    assert refused.json["error"]["details"]["field"] == field


def test_a_credential_as_text_is_refused_over_the_api(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    refused = keep(caller, begin(caller)["challenge_token"], '{"id": "x"}')  # type: ignore[arg-type]  # that is it
    assert refused.json["error"]["details"]["field"] == "credential"


@pytest.mark.parametrize(
    "attestation",
    [
        b"",
        b"\xff" * 40,
        b"\x9f" * 4000,
        cbor2.dumps([]),
        cbor2.dumps({"fmt": "none"}),
        cbor2.dumps({"fmt": 1, "attStmt": [], "authData": "text"}),
        cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": bytes(36)}),
        cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": bytes(32) + b"\x45" + bytes(30)}),
        cbor2.dumps(
            {"fmt": "packed", "attStmt": {"alg": -7, "sig": b"", "x5c": [b"x"]}, "authData": bytes(60)}
        ),
        cbor2.dumps({"fmt": "tpm", "attStmt": {}, "authData": bytes(60)}),
    ],
)
def test_bytes_that_are_no_attestation_are_refused(api: Api, alice: Person, attestation: bytes) -> None:
    caller = api.as_(alice)
    asked = begin(caller)
    credential = Authenticator().create(asked["options"])
    credential["response"]["attestationObject"] = b64(attestation or b"\x00")
    assert keep(caller, asked["challenge_token"], credential).status_code == 400


def test_only_a_fresh_session_changes_passkeys(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    made = add(caller, Authenticator()).json["data"]["id"]
    device = Authenticator()
    credential = device.create(begin(caller)["options"])
    with time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        refused = [
            caller.post("/users/me/passkeys/options"),
            keep(caller, "x" * 43, credential),
            caller.patch(f"/users/me/passkeys/{made}", {"name": "Mine"}),
            caller.delete(f"/users/me/passkeys/{made}"),
        ]
    assert {answer.json["error"]["code"] for answer in refused} == {"REAUTHENTICATION_REQUIRED"}


def test_strangers_have_no_passkeys_to_see_or_make(api: Api) -> None:
    assert api.get("/users/me/passkeys").status_code == 401
    assert api.post("/users/me/passkeys/options").status_code == 401


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


# ------------------------------------------------------------------------------------------------ rename and remove


def test_a_passkey_is_renamed_and_removed_by_its_owner_alone(api: Api, alice: Person, bob: Person) -> None:
    caller, stranger = api.as_(alice), api.as_(bob)
    made = add(caller, Authenticator()).json["data"]["id"]
    assert stranger.patch(f"/users/me/passkeys/{made}", {"name": "Mine"}).status_code == 404
    assert stranger.delete(f"/users/me/passkeys/{made}").status_code == 404
    renamed = caller.patch(f"/users/me/passkeys/{made}", {"name": " Phone "})
    assert (renamed.status_code, renamed.json["data"]["name"]) == (200, "Phone")
    assert caller.delete(f"/users/me/passkeys/{made}").status_code == 200
    assert caller.get("/users/me/passkeys").json["data"] == []
    assert caller.delete(f"/users/me/passkeys/{made}").status_code == 404
    assert "A second step was removed" in subjects(api.app)
    assert {"account:passkey:rename", "account:factor:remove"} <= set(actions(api.app))


def test_with_the_last_passkey_go_the_recovery_codes_and_the_second_step(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    made = add(caller, Authenticator()).json["data"]["id"]
    assert caller.get("/users/me/recovery-codes").json["data"] == {"remaining": 10}
    caller.delete(f"/users/me/passkeys/{made}")
    assert caller.get("/users/me/recovery-codes").json["data"] == {"remaining": 0}
    login = api.post("/auth/login", {"email": alice.email, "password": alice.password})
    assert login.json["data"]["status"] == "signed_in"


def test_removing_a_passkey_ends_other_sessions(api: Api, alice: Person) -> None:
    caller, device = api.as_(alice), Authenticator()
    made = add(caller, device).json["data"]["id"]
    other = Api(api.app, sign_in(api, device).json["data"]["access_token"])
    assert other.get("/users/me").status_code == 200
    caller.delete(f"/users/me/passkeys/{made}")
    assert other.get("/users/me").status_code == 401


def test_where_a_second_step_is_required_the_last_one_stays(
    api: Api, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(api.app.config, "REQUIRE_MFA", "admins")
    caller = api.as_(ada)
    assert caller.get("/users").json["error"]["code"] == "SECOND_FACTOR_REQUIRED"
    first = add(caller, Authenticator()).json["data"]["id"]
    assert caller.get("/users").status_code == 200
    with unchanged(api.app):
        refused = caller.delete(f"/users/me/passkeys/{first}")
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "FORBIDDEN")
    add(caller, Authenticator())
    assert caller.delete(f"/users/me/passkeys/{first}").status_code == 200
    assert caller.get("/users").status_code == 200


def test_an_app_may_go_where_a_passkey_stays(api: Api, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(api.app.config, "REQUIRE_MFA", "admins")
    caller = api.as_(ada)
    secret = caller.post("/users/me/totp").json["data"]["secret"]
    caller.post("/users/me/totp/confirm", {"code": code_of(secret, steps=-1)})
    assert caller.delete("/users/me/totp", json={"code": code_of(secret)}).status_code == 403
    add(caller, Authenticator())
    assert caller.delete("/users/me/totp", json={"code": code_of(secret)}).status_code == 200
    assert caller.get("/users").status_code == 200


def test_a_reset_of_the_password_keeps_the_passkey(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    api.post("/auth/password/forgot", {"email": alice.email})
    with api.app.app_context():
        mail = next(mail for mail in outbox_service.mailbox() if "reset-password?token=" in mail.text)
    token = mail.text.split("token=")[1].split()[0]
    password = "another lantern in rain"
    assert api.post("/auth/password/reset", {"token": token, "password": password}).status_code == 200
    login = api.post("/auth/login", {"email": alice.email, "password": password})
    assert login.json["data"]["status"] == "second_factor_required"
    assert sign_in(api, device).status_code == 200
