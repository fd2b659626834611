"""Access and refresh tokens: what is refused, and what dies with what (security cases A41 to A54)."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.clients import Api
from tests.factories import Person

ISSUER = "http://localhost"
AUDIENCE = "http://localhost/api"


@pytest.fixture
def signed_in(api: Api, alice: Person) -> dict[str, Any]:
    answer = api.post("/auth/login", {"email": alice.email, "password": alice.password})
    data: dict[str, Any] = answer.json["data"]
    return data


def me(api: Api, token: str) -> Any:
    return Api(api.app, token).get("/users/me")


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def forged(
    app: Flask, claims: dict[str, Any], *, headers: dict[str, Any] | None = None, key: str | None = None
) -> str:
    """A token with our own key unless another is given: right signature, wrong content."""
    return jwt.encode(
        claims,
        key or app.config["JWT_SECRET_KEY"],
        algorithm="HS256",
        headers={"typ": "at+jwt", **(headers or {})},
    )


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def refused(answer: Any, code: str = "INVALID_TOKEN") -> None:
    assert answer.status_code == 401
    assert answer.json["error"]["code"] == code
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", "HS512", "RS256", "ES256", "EdDSA"]
)
def test_another_algorithm_is_refused(api: Api, signed_in: dict[str, Any], algorithm: str) -> None:
    body = signed_in["access_token"].split(".")[1]
    for signature in ("", signed_in["access_token"].split(".")[2]):
        refused(me(api, f"{segment({'alg': algorithm, 'typ': 'at+jwt'})}.{body}.{signature}"))


def test_a_signature_of_another_token_is_refused(api: Api, signed_in: dict[str, Any], bob: Person) -> None:
    other = api.post("/auth/login", {"email": bob.email, "password": bob.password}).json["data"][
        "access_token"
    ]
    mine = signed_in["access_token"]
    refused(me(api, ".".join([*mine.split(".")[:2], other.split(".")[2]])))


@pytest.mark.parametrize(
    "headers",
    [
        {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"kid": "http://127.0.0.1:9/key"},
        {"kid": "k" * 3000},
        {"kid": 7},
        {"jku": "http://127.0.0.1:9/jwks"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5u": "http://127.0.0.1:9/cert"},
        {"x5c": ["AAAA"]},
        {"crit": ["exp"]},
        {"b64": False},
        {"typ": "JWT"},
        {"typ": None},
    ],
)
def test_a_header_we_never_write_is_refused(
    api: Api, signed_in: dict[str, Any], headers: dict[str, Any]
) -> None:
    head = {"alg": "HS256", "typ": "at+jwt", **headers}
    text = f"{segment(head)}.{signed_in['access_token'].split('.')[1]}"
    key = api.app.config["JWT_SECRET_KEY"].encode()
    signature = (
        base64.urlsafe_b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).rstrip(b"=").decode()
    )
    refused(me(api, f"{text}.{signature}"))


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"])
def test_a_missing_claim_is_refused(api: Api, signed_in: dict[str, Any], missing: str) -> None:
    claims = claims_of(signed_in["access_token"])
    del claims[missing]
    refused(me(api, forged(api.app, claims)))


@pytest.mark.parametrize(
    "change",
    [
        {"exp": "soon"},
        {"exp": 1e300},
        {"exp": None},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"sub": 1},
        {"sub": "one"},
        {"sub": "-1"},
        {"sid": "not-a-uuid"},
        {"sid": 7},
        {"sid": "00000000-0000-0000-0000-000000000000"},
        {"iss": "http://localhost.evil.example"},
        {"iss": "http://local"},
        {"aud": "http://localhost"},
        {"aud": ["http://elsewhere/api"]},
        {"aud": [AUDIENCE, "http://elsewhere/api"]},
    ],
)
def test_a_wrong_claim_is_refused(api: Api, signed_in: dict[str, Any], change: dict[str, Any]) -> None:
    refused(me(api, forged(api.app, {**claims_of(signed_in["access_token"]), **change})))


def test_a_token_of_one_user_with_the_session_of_another_is_refused(
    api: Api, signed_in: dict[str, Any], bob: Person
) -> None:
    refused(me(api, forged(api.app, {**claims_of(signed_in["access_token"]), "sub": str(bob.id)})))


def test_another_key_is_refused(api: Api, signed_in: dict[str, Any]) -> None:
    claims = claims_of(signed_in["access_token"])
    refused(me(api, forged(api.app, claims, key=api.app.config["SECRET_KEY"])))


def test_an_expired_token_says_so(api: Api, signed_in: dict[str, Any]) -> None:
    with time_machine.travel(now() + timedelta(seconds=629)):
        assert me(api, signed_in["access_token"]).status_code == 200
    with time_machine.travel(now() + timedelta(seconds=631)):
        refused(me(api, signed_in["access_token"]), "TOKEN_EXPIRED")


def test_tokens_do_not_stand_in_for_each_other(api: Api, signed_in: dict[str, Any]) -> None:
    refused(me(api, signed_in["refresh_token"]))
    refused(api.post("/auth/refresh", {"refresh_token": signed_in["access_token"]}))


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer a b",
        "Bearer ä",
        "Token x",
        "Bearer " + "x" * 5000,
        "Bearer a.b.c",
    ],
)
def test_a_malformed_authorization_is_refused(api: Api, header: str) -> None:
    refused(api.get("/users/me", headers={"Authorization": header}))


def test_no_authorization_asks_for_one(api: Api) -> None:
    refused(api.get("/users/me"), "AUTHENTICATION_REQUIRED")


def test_a_token_in_the_query_or_a_cookie_opens_nothing(api: Api, signed_in: dict[str, Any]) -> None:
    token = signed_in["access_token"]
    assert api.get(f"/users/me?access_token={token}").status_code == 401
    client = api.app.test_client()
    client.set_cookie("access_token", token)
    client.set_cookie("session", token)
    assert client.get("/api/v1/users/me").status_code == 401


def test_a_session_cookie_opens_no_api(app: Flask, alice: Person) -> None:
    client: Any = app.test_client()
    client.sign_in(alice)
    assert client.get("/dashboard").status_code == 200
    assert client.get("/api/v1/users/me").status_code == 401


def test_a_bearer_token_opens_no_page(app: Flask, signed_in: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {signed_in['access_token']}", "Accept": "text/html"}
    answer = app.test_client().get("/dashboard", headers=headers)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/auth/login")


def test_logout_ends_the_access_token_and_the_refresh_token(api: Api, signed_in: dict[str, Any]) -> None:
    assert Api(api.app, signed_in["access_token"]).post("/auth/logout").status_code == 200
    refused(me(api, signed_in["access_token"]))
    refused(api.post("/auth/refresh", {"refresh_token": signed_in["refresh_token"]}))


def test_logout_everywhere_ends_every_session_of_the_account_alone(
    api: Api, alice: Person, bob: Person, signed_in: dict[str, Any]
) -> None:
    second, other = api.as_(alice), api.as_(bob)
    assert second.post("/auth/logout-all").status_code == 200
    refused(me(api, signed_in["access_token"]))
    refused(second.get("/users/me"))
    assert other.get("/users/me").status_code == 200


def test_suspension_ends_tokens_at_once(
    api: Api, ada: Person, alice: Person, signed_in: dict[str, Any]
) -> None:
    api.as_(ada).post(f"/users/{alice.id}/suspend", {"reason": "Looking into something"})
    refused(me(api, signed_in["access_token"]))
    refused(api.post("/auth/refresh", {"refresh_token": signed_in["refresh_token"]}))


def test_a_changed_role_counts_at_the_next_call(api: Api, ada: Person, alice: Person) -> None:
    caller = api.as_(alice)
    assert caller.get("/users").status_code == 403
    api.as_(ada).patch(f"/users/{alice.id}", {"role": "admin"})
    assert caller.get("/users").status_code == 200
