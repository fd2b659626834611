"""Access tokens signed with Ed25519, and what stands at /.well-known (security cases A42, A43, A53)."""

from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from flask import Flask

from config import ConfigurationError, TestingConfig
from services import signing_keys
from tests.clients import Api
from tests.factories import Person


def pem_of(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem_of(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def with_keys(app: Flask) -> Iterator[Any]:
    """Give the application other keys for the length of a test."""
    kept = app.extensions["signing_keys"]
    former = dict(app.config)

    def use(private: Ed25519PrivateKey, *public: Ed25519PrivateKey) -> None:
        app.config["JWT_PRIVATE_KEY"] = pem_of(private)
        app.config["JWT_PUBLIC_KEYS"] = "\n".join(public_pem_of(key) for key in public)
        signing_keys.init_app(app)

    yield use
    app.extensions["signing_keys"] = kept
    app.config.update(former)


def sign_in(api: Api, person: Person) -> str:
    answer: Any = api.post("/auth/login", {"email": person.email, "password": person.password})
    return str(answer.json["data"]["access_token"])


def test_a_token_is_signed_with_the_key_that_stands_at_the_well_known_address(
    api: Api, alice: Person, with_keys: Any
) -> None:
    with_keys(Ed25519PrivateKey.generate())
    token = sign_in(api, alice)
    assert Api(api.app, token).get("/users/me").status_code == 200
    answer = api.app.test_client().get("/.well-known/jwks.json")
    published: Any = answer.get_json()
    assert answer.mimetype == "application/jwk-set+json"
    assert set(published["keys"][0]) == {"kty", "crv", "x", "kid", "alg", "use"}
    key = jwt.PyJWK(published["keys"][0])
    assert jwt.get_unverified_header(token)["kid"] == key.key_id
    assert jwt.decode(token, key.key, algorithms=["EdDSA"], audience="http://localhost/api")["sub"] == str(
        alice.id
    )


def test_a_former_key_is_accepted_until_it_is_removed(api: Api, alice: Person, with_keys: Any) -> None:
    first, second = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    with_keys(first)
    token = sign_in(api, alice)
    with_keys(second, first)
    assert Api(api.app, token).get("/users/me").status_code == 200
    assert len(api.app.test_client().get("/.well-known/jwks.json").get_json()["keys"]) == 2
    with_keys(second)
    assert Api(api.app, token).get("/users/me").status_code == 401


def test_the_public_key_is_no_secret_to_sign_with(api: Api, alice: Person, with_keys: Any) -> None:
    key = Ed25519PrivateKey.generate()
    with_keys(key)
    claims = jwt.decode(sign_in(api, alice), options={"verify_signature": False})
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    for secret in (raw, public_pem_of(key).encode(), api.app.config["JWT_SECRET_KEY"].encode()):
        try:
            forged = jwt.encode(claims, secret, algorithm="HS256", headers={"typ": "at+jwt"})
        except jwt.InvalidKeyError:
            continue  # the library itself refuses to take a public key for a secret
        assert Api(api.app, forged).get("/users/me").status_code == 401


def test_a_token_of_the_secret_is_refused_once_a_key_signs(api: Api, alice: Person, with_keys: Any) -> None:
    token = sign_in(api, alice)
    with_keys(Ed25519PrivateKey.generate())
    assert Api(api.app, token).get("/users/me").status_code == 401


def test_no_secret_is_published(app: Flask) -> None:
    assert app.test_client().get("/.well-known/jwks.json").json == {"keys": []}


@pytest.mark.parametrize("pem", ["nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_a_key_that_is_none_refuses_the_start(pem: str) -> None:
    with pytest.raises(ConfigurationError, match="JWT_PRIVATE_KEY") as refused:
        TestingConfig.load(JWT_PRIVATE_KEY=pem)
    assert "AAAA" not in str(refused.value)


def test_a_password_manager_finds_the_way_to_change_a_password(app: Flask) -> None:
    answer = app.test_client().get("/.well-known/change-password")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/account/password"


def test_reports_of_holes_have_an_address_once_it_is_set(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert app.test_client().get("/.well-known/security.txt").status_code == 404
    monkeypatch.setitem(app.config, "SECURITY_CONTACT", "mailto:security@example.com")
    text = app.test_client().get("/.well-known/security.txt").get_data(as_text=True)
    assert "Contact: mailto:security@example.com\n" in text
    assert "Expires: 20" in text
