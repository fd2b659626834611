"""Making a passkey: what is asked of the device, and which answers of it are refused (security cases A82, A84)."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import cbor2
import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.authenticator import BACKED_UP, BACKUP_ELIGIBLE, PRESENT, VERIFIED, Authenticator, b64, raw
from tests.clients import Api
from tests.factories import Person, make_person
from tests.integration.api.passkeys import actions, add, ask, begin, keep, owned, subjects
from tests.integration.api.test_second_factor import challenge, code_of, enrolled, verify
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("early_in_a_step")

Bend = Callable[[dict[str, Any]], None]


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
    refused = keep(caller, begin(caller)["challenge_token"], '{"id": "x"}')
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
