"""What the tests of passkeys share: making one, being asked for it, answering with it."""

from typing import Any

from flask import Flask
from sqlalchemy import select

from models import AuditEvent, db
from models.passkey import Passkey
from services import outbox_service
from tests.authenticator import Authenticator
from tests.clients import Answer, Api
from tests.factories import Person


def begin(caller: Api) -> dict[str, Any]:
    """The options to make a passkey with, and the challenge that goes with them."""
    answer = caller.post("/users/me/passkeys/options")
    assert answer.status_code == 200, answer.json
    return dict(answer.json["data"])


def add(caller: Api, device: Authenticator, name: str = "Laptop", **bent: Any) -> Answer:
    """Make a passkey, each field of the device's answer bent as told."""
    asked = begin(caller)
    credential = device.create(asked["options"], **bent)
    return keep(caller, asked["challenge_token"], credential, name)


def keep(caller: Api, token: str, credential: dict[str, Any] | str, name: str = "Laptop") -> Answer:
    """Send what a device made; `credential` is text only where that is refused."""
    body = {"name": name, "challenge_token": token, "credential": credential}
    return caller.post("/users/me/passkeys", body)


def owned(api: Api, person: Person, **kwargs: Any) -> Authenticator:
    """A device with a passkey of this person."""
    device = Authenticator(**kwargs)
    answer = add(api.as_(person), device)
    assert answer.status_code == 201, answer.json
    return device


def ask(api: Api, **given: str) -> dict[str, Any]:
    """The options to answer with a passkey."""
    answer = api.post("/auth/passkey/options", given)
    assert answer.status_code == 200, answer.json
    return dict(answer.json["data"])


def answer_with(api: Api, asked: dict[str, Any], credential: dict[str, Any], **more: str) -> Answer:
    """Answer what was asked with a credential."""
    body = {"challenge_token": asked["challenge_token"], "credential": credential, **more}
    return api.post("/auth/passkey", body)


def sign_in(api: Api, device: Authenticator, **bent: Any) -> Answer:
    """Be asked and answer, each field bent as told."""
    asked = ask(api)
    return answer_with(api, asked, device.get(asked["options"], **bent))


def kept_count(app: Flask, device: Authenticator) -> int:
    """The signature counter that is kept of a device."""
    with app.app_context():
        statement = select(Passkey.sign_count).where(Passkey.credential_id == device.credential_id)
        return db.session.scalars(statement).one()


def actions(app: Flask) -> list[str]:
    """What the audit log says, the oldest first."""
    with app.app_context():
        return list(db.session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


def subjects(app: Flask) -> list[str]:
    """Of every mail, in order."""
    with app.app_context():
        return [mail.subject for mail in outbox_service.mailbox()]
