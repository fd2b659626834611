"""Keys change while people have accounts: no session, second step or recovery code is lost (A35, ASVS 11.2.2)."""

import json

import pyotp
import pytest
from cryptography.fernet import Fernet
from flask import Flask

from models import db
from models.second_factor import TotpCredential
from services import crypto, worker
from services.base_service import unit_of_work
from tests.clients import Api, PageClient
from tests.factories import Person
from tests.integration.api.test_second_factor import challenge, code_of, enrolled, verify
from tests.integration.commands.conftest import Run
from tests.integration.pages.desk import is_signed_in

pytestmark = [pytest.mark.usefixtures("early_in_a_step")]

NEW_KEY = "a-new-cookie-signing-key-that-is-long-enough-0123"


@pytest.fixture
def run(app: Flask) -> Run:
    """Commands."""
    return lambda *words: app.test_cli_runner().invoke(args=[str(word) for word in words])


def change_secret_key(app: Flask, monkeypatch: pytest.MonkeyPatch, *, keep: bool) -> None:
    former = app.config["SECRET_KEY"]
    monkeypatch.setitem(app.config, "SECRET_KEY", NEW_KEY)
    monkeypatch.setitem(app.config, "SECRET_KEY_FALLBACKS", [former] if keep else [])


@pytest.mark.parametrize("keep", [True, False])
def test_a_session_lives_as_long_as_its_key_is_a_fallback(
    app: Flask, client: PageClient, alice: Person, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    client.sign_in(alice)
    change_secret_key(app, monkeypatch, keep=keep)
    assert is_signed_in(client) is keep
    assert client.sign_in(alice).status_code == 303
    monkeypatch.setitem(app.config, "SECRET_KEY_FALLBACKS", [])
    assert is_signed_in(client), "what is signed now is signed with the new key"


@pytest.mark.parametrize(("keep", "status"), [(True, 200), (False, 401)])
def test_a_recovery_code_lives_as_long_as_its_key_is_a_fallback(
    api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch, keep: bool, status: int
) -> None:
    _, codes = enrolled(api, alice)
    change_secret_key(api.app, monkeypatch, keep=keep)
    assert verify(api, challenge(api, alice), recovery_code=codes[0]).status_code == status
    assert verify(api, challenge(api, alice), recovery_code=codes[0]).status_code == 401, "once, as ever"


def two_keys(app: Flask, monkeypatch: pytest.MonkeyPatch) -> str:
    """A newer encryption key before the one there is; returns it."""
    newer = Fernet.generate_key().decode()
    monkeypatch.setitem(app.config, "FIELD_ENCRYPTION_KEY", f"{newer}, {app.config['FIELD_ENCRYPTION_KEY']}")
    return newer


def former_keys(run: Run) -> str:
    found = {row["name"]: row["status"] for row in json.loads(run("doctor", "--json").stdout)}
    return str(found.get("former keys"))


@pytest.mark.real_database
def test_an_encryption_key_can_go_once_the_doctor_says_so(
    app: Flask, api: Api, run: Run, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = enrolled(api, alice)
    assert former_keys(run) == "None"
    newer = two_keys(app, monkeypatch)
    assert former_keys(run) == "warn"
    with app.app_context():
        assert worker.purge()["seeds_renewed"] == 1
        assert worker.purge()["seeds_renewed"] == 0
        with unit_of_work():
            db.session.execute(db.text("DELETE FROM outbox"))
    assert former_keys(run) == "pass"
    monkeypatch.setitem(app.config, "FIELD_ENCRYPTION_KEY", newer)
    assert verify(api, challenge(api, alice), code=code_of(secret)).status_code == 200


@pytest.mark.real_database
def test_a_seed_under_a_lost_key_is_left_alone(
    app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(api, alice)
    lost = Fernet(Fernet.generate_key()).encrypt(pyotp.random_base32().encode())
    with app.app_context(), unit_of_work():
        db.session.get_one(TotpCredential, alice.id).seed_encrypted = lost
    two_keys(app, monkeypatch)
    with app.app_context():
        assert worker.purge()["seeds_renewed"] == 0
        assert db.session.get_one(TotpCredential, alice.id).seed_encrypted == lost


@pytest.mark.parametrize("place", [0, 9, 20, 60, 90])
def test_a_changed_byte_is_refused(app: Flask, place: int) -> None:
    """Encryption is authenticated (ASVS 11.3.3)."""
    with app.app_context():
        encrypted = bytearray(crypto.encrypt(b"JBSWY3DPEHPK3PXP"))
        encrypted[place] ^= 1
        with pytest.raises(crypto.Undecipherable):
            crypto.decrypt(bytes(encrypted))
