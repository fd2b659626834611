"""The passkeys of an account: who may see, rename and remove them, and what goes and stays with them."""

from datetime import timedelta

import pytest
import time_machine

from models.base import now
from services import outbox_service
from tests.authenticator import Authenticator
from tests.clients import Api
from tests.factories import Person
from tests.integration.api.passkeys import actions, add, begin, keep, owned, sign_in, subjects
from tests.integration.api.test_second_factor import code_of
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("early_in_a_step")


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
